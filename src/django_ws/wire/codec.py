"""Batches to bytes and back.

A batch is what one side has to say in one go: one ZeroMQ message. Its acknowledgements stand for
everything that the batch and those before it say about a connection, so they come last.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from .messages import WIRE_VERSION, Event, Fenced, Handshake, Reply

__all__ = [
    "Batch",
    "EventBatch",
    "ReplyBatch",
    "WireError",
    "decode_events",
    "decode_fenced",
    "decode_handshake",
    "decode_replies",
    "encode",
]

M = TypeVar("M")


class WireError(Exception):
    """Bytes that are no batch of a version known here. The text never shows the payload."""


class Batch(msgspec.Struct, Generic[M], array_like=True):
    """One ZeroMQ message.

    Attributes:
        version: ``WIRE_VERSION`` of the sender.
        project: both ends must agree on it.
        sender: incarnation of the sending process.
        receiver: incarnation it is meant for; empty while not known yet (:class:`.Hello`).
        number: counts the batches from this sender to this receiver, from 1 without a gap;
            0 for those that stand outside the count (:class:`.Hello`, :class:`.Heartbeat`).
        received: number of the last batch that the sender had received from this receiver: returns
            credit.
        messages: in order.
        acks: connection to the seq of the last event handled.
    """

    version: int
    project: str
    sender: str
    receiver: str
    number: int
    received: int
    messages: list[M]
    acks: dict[int, int] = {}


EventBatch = Batch[Event]
ReplyBatch = Batch[Reply]


class _Version(msgspec.Struct, array_like=True):
    version: int


encode = msgspec.msgpack.Encoder().encode

_events = msgspec.msgpack.Decoder(EventBatch)
_replies = msgspec.msgpack.Decoder(ReplyBatch)
#: What decoding may raise; the last one for nesting without end.
_MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_version = msgspec.msgpack.Decoder(_Version)
_fenced = msgspec.msgpack.Decoder(Fenced)
_handshake = msgspec.msgpack.Decoder(Handshake)


def _explain(data: bytes, error: Exception) -> WireError:
    try:
        version = _version.decode(data).version
    except _MALFORMED:
        return WireError(f"{len(data)} bytes that are no message of django-ws")
    if version != WIRE_VERSION:
        return WireError(
            f"wire version {version}, but this process speaks {WIRE_VERSION}: "
            "run gateway and workers from releases that know each other"
        )
    return WireError(f"a malformed batch of {len(data)} bytes ({type(error).__name__})")


def decode_events(data: bytes) -> EventBatch:
    """Decode what a worker received.

    Raises:
        WireError: It is no batch of events, or one of another version.
    """
    try:
        batch = _events.decode(data)
    except _MALFORMED as error:
        raise _explain(data, error) from None
    if batch.version != WIRE_VERSION:
        raise _explain(data, ValueError())
    return batch


def decode_replies(data: bytes) -> ReplyBatch:
    """Decode what a gateway received.

    Raises:
        WireError: It is no batch of replies, or one of another version.
    """
    try:
        batch = _replies.decode(data)
    except _MALFORMED as error:
        raise _explain(data, error) from None
    if batch.version != WIRE_VERSION:
        raise _explain(data, ValueError())
    return batch


def decode_fenced(data: bytes) -> Fenced:
    """Decode a gateway's answer on the replies link.

    Raises:
        WireError: It is something else.
    """
    try:
        return _fenced.decode(data)
    except _MALFORMED:
        raise WireError(f"{len(data)} bytes that are no answer of a gateway") from None


def decode_handshake(data: bytes) -> Handshake:
    """Decode a handshake that this project's gateway encoded."""
    return _handshake.decode(data)
