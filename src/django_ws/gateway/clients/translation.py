"""From envelopes of django-ws.v1 to what sessions take, and from publications to them. Pure."""

from __future__ import annotations

from typing import Protocol

from ...wire.messages import BINARY, TEXT, Kind
from ..shared import Shared
from . import v1

__all__ = ["Taker", "kind_of", "pass_on", "tail_of"]

#: How the wire has bytes, see :class:`.wire.messages.Call`.
_BYTES = b'{"_placeholder":true,"num":0}'


class Taker(Protocol):
    """What takes the envelopes of a client, as :class:`..session.Session` does."""

    def receive(self, opcode: int, data: bytes) -> bool: ...
    def call(
        self, kind: int, name: str, data: bytes, attachments: list[bytes], answer: bool
    ) -> tuple[int, bool]: ...


def pass_on(envelope: v1.Numbered, taker: Taker) -> bool:
    """Give an envelope to a session.

    Returns:
        As of :meth:`.Session.receive`.
    """
    match envelope:
        case v1.Text():
            return taker.receive(TEXT, envelope.data.encode())
        case v1.Bytes():
            return taker.receive(BINARY, envelope.data)
        case v1.Request():
            return taker.call(Kind.REQUEST, "", bytes(envelope.data), [], True)[1]
        case v1.BytesRequest():
            return taker.call(Kind.REQUEST, "", _BYTES, [envelope.data], True)[1]
        case v1.Event():
            wanted = isinstance(envelope, v1.Call)
            return taker.call(Kind.EVENT, envelope.name, bytes(envelope.args), [], wanted)[1]
        case v1.BytesEvent():
            wanted = isinstance(envelope, v1.BytesCall)
            attachments = [envelope.data]
            return taker.call(Kind.EVENT, envelope.name, b"[%b]" % _BYTES, attachments, wanted)[1]


def kind_of(message: Shared) -> bytes:
    """What a publication is to a client: one to a user is as if its handler had sent it."""
    if not message.group:
        return b"e" if message.event else b"m"
    return b"h" if message.past else b"g"


def tail_of(message: Shared) -> bytes:
    """The rest of a publication's envelope, the same for all."""
    opcode, data, event = message.opcode, message.data, message.event
    if message.group:
        return v1.publication(
            message.group, message.offset, message.epoch, opcode, data, event, message.json
        )
    if opcode == BINARY:
        return v1.event_bytes(event, data) if event else v1.bytes_tail(data)
    if not event:
        return v1.text_tail(data)
    return v1.event(event, b"[%b]" % (data if message.json else v1.string(data)))
