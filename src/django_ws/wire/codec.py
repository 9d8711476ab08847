"""Batches to bytes and back.

A batch is what one side has to say in one go: one ZeroMQ message. Its acknowledgements stand for
everything that the batch and those before it say about a connection, so they come last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, get_args

import msgspec

from .messages import (
    READABLE,
    WIRE_VERSION,
    Event,
    GatewayAnswer,
    Handshake,
    PublisherMessage,
    Role,
    Unknown,
    WorkerMessage,
)

__all__ = [
    "Batch",
    "EventBatch",
    "ReplyBatch",
    "WireError",
    "WorkerBatch",
    "decode_answer",
    "decode_events",
    "decode_handshake",
    "decode_replies",
    "encode",
]

M = TypeVar("M", covariant=True)
T = TypeVar("T")


class WireError(Exception):
    """Bytes that are no batch of a version known here. The text never shows the payload."""


class Batch(msgspec.Struct, Generic[M], array_like=True):
    """One ZeroMQ message.

    Attributes:
        version: of the wire; the newest that both ends read.
        project: both ends must agree on it.
        sender: incarnation of the sending process.
        receiver: incarnation it is meant for; empty while not known yet (:class:`.Hello`).
        number: counts the batches from this sender to this receiver, from 1 without a gap;
            0 for those that stand outside the count (:class:`.Hello`, :class:`.Heartbeat`).
        received: number of the last batch that the sender had received from this receiver: returns
            credit.
        messages: in order.
        acks: connection to the seq of the last event handled.
        role: what the sender is (:class:`.Role`, or one that only a newer peer knows).
    """

    version: int
    project: str
    sender: str
    receiver: str
    number: int
    received: int
    messages: Sequence[M]
    acks: dict[int, int] = {}
    role: int = Role.UNNAMED


EventBatch = Batch[Event | Unknown]
WorkerBatch = Batch[WorkerMessage]
ReplyBatch = Batch[WorkerMessage | PublisherMessage | Unknown]


class _Version(msgspec.Struct, array_like=True):
    version: int


encode = msgspec.msgpack.Encoder().encode

_events: msgspec.msgpack.Decoder[EventBatch] = msgspec.msgpack.Decoder(Batch[Event])
_replies: msgspec.msgpack.Decoder[ReplyBatch] = msgspec.msgpack.Decoder(
    Batch[WorkerMessage | PublisherMessage]
)
_event = msgspec.msgpack.Decoder(Event)
_reply = msgspec.msgpack.Decoder(WorkerMessage | PublisherMessage)
#: What decoding may raise; the last one for nesting without end.
_MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_raw = msgspec.msgpack.Decoder(Batch[msgspec.Raw])
_head = msgspec.msgpack.Decoder(list[msgspec.Raw])
_tag = msgspec.msgpack.Decoder(int)
_version = msgspec.msgpack.Decoder(_Version)
_answer: msgspec.msgpack.Decoder[GatewayAnswer] = msgspec.msgpack.Decoder(GatewayAnswer)
_handshake = msgspec.msgpack.Decoder(Handshake)

_EVENT_TAGS = frozenset(kind.__struct_config__.tag for kind in get_args(Event))
_REPLY_TAGS = frozenset(
    kind.__struct_config__.tag for kind in get_args(WorkerMessage | PublisherMessage)
)


def _explain(data: bytes, error: Exception) -> WireError:
    try:
        version = _version.decode(data).version
    except _MALFORMED:
        return WireError(f"{len(data)} bytes that are no message of django-ws")
    if version not in READABLE:
        return WireError(
            f"wire version {version}, but this process speaks {WIRE_VERSION}: "
            "run gateway and workers from releases that know each other"
        )
    return WireError(f"a malformed batch of {len(data)} bytes ({type(error).__name__})")


def _leniently(
    data: bytes, known: frozenset[object], decode: Callable[[msgspec.Raw], T]
) -> Batch[T | Unknown]:
    """Decode a batch that may have messages with tags that only a newer peer knows."""
    batch = _raw.decode(data)
    if batch.version not in READABLE or batch.version < 2:
        raise ValueError
    messages: list[T | Unknown] = []
    for raw in batch.messages:
        parts = _head.decode(raw)
        if not parts:
            raise ValueError
        tag = _tag.decode(parts[0])
        messages.append(decode(raw) if tag in known else Unknown(tag))
    fields = {name: getattr(batch, name) for name in batch.__struct_fields__}
    return Batch(**{**fields, "messages": messages})


def decode_events(data: bytes) -> EventBatch:
    """Decode what a worker received.

    Raises:
        WireError: It is no batch of events, or one of another version.
    """
    batch: EventBatch
    try:
        try:
            batch = _events.decode(data)
        except msgspec.ValidationError:
            batch = _leniently(data, _EVENT_TAGS, _event.decode)
    except (*_MALFORMED, ValueError) as error:
        raise _explain(data, error) from None
    if batch.version not in READABLE:
        raise _explain(data, ValueError())
    return batch


def decode_replies(data: bytes) -> ReplyBatch:
    """Decode what a gateway received.

    Raises:
        WireError: It is no batch of replies, or one of another version.
    """
    batch: ReplyBatch
    try:
        try:
            batch = _replies.decode(data)
        except msgspec.ValidationError:
            batch = _leniently(data, _REPLY_TAGS, _reply.decode)
    except (*_MALFORMED, ValueError) as error:
        raise _explain(data, error) from None
    if batch.version not in READABLE:
        raise _explain(data, ValueError())
    return batch


def decode_answer(data: bytes) -> GatewayAnswer:
    """Decode what a gateway answers on the replies link.

    Raises:
        WireError: It is something else.
    """
    try:
        return _answer.decode(data)
    except _MALFORMED:
        raise WireError(f"{len(data)} bytes that are no answer of a gateway") from None


def decode_handshake(data: bytes) -> Handshake:
    """Decode a handshake that this project's gateway encoded."""
    return _handshake.decode(data)
