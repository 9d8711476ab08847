"""Envelopes of the subprotocol ``django-ws.v1``, see docs/client-protocol.md. Pure.

What comes is decoded to small structs. What goes is made in two parts: a *tail*, which is the same
for every client that gets it, and before it the kind with the client's own two numbers, which
:class:`.numbering.Numbering` writes.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from ...wire.messages import BINARY, TEXT

__all__ = [
    "MAX_NUMBER",
    "SUBPROTOCOL",
    "Acknowledge",
    "Bytes",
    "BytesCall",
    "BytesEvent",
    "BytesRequest",
    "Call",
    "Event",
    "Hello",
    "Incoming",
    "Malformed",
    "Numbered",
    "Opening",
    "Probe",
    "Request",
    "Since",
    "Text",
    "Welcome",
    "answer",
    "answer_bytes",
    "bytes_tail",
    "decode",
    "event",
    "event_bytes",
    "failure",
    "joined",
    "left",
    "publication",
    "string",
    "text_tail",
    "welcome",
]

SUBPROTOCOL = "django-ws.v1"

#: Clients in JavaScript count exactly up to here.
MAX_NUMBER = 2**53 - 1

_Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]

_to_json = msgspec.json.Encoder().encode


class Malformed(Exception):
    """What came is no envelope, or not one that a client may send."""


class Since(msgspec.Struct, frozen=True):
    """A position that a client has reached in a group; of any group if ``group`` is empty."""

    offset: _Number
    epoch: str
    group: str = ""


class Opening(msgspec.Struct, frozen=True):
    """What a client says first.

    Attributes:
        auth: JSON of whatever the page gives; empty for nothing.
        token: of the session that it wants back; empty for a new one.
        had: number of the last envelope that it has of that session.
        since: positions from which on it wants its groups' publications.
    """

    auth: msgspec.Raw = msgspec.Raw()
    token: str = ""
    had: _Number = 0
    since: list[Since] = []


class _Numbered(msgspec.Struct, array_like=True, gc=False):
    """Begins with its number, and that of the last envelope that the sender has."""

    number: _Number
    had: _Number


class Hello(msgspec.Struct, array_like=True, gc=False, tag="hello"):
    """The first envelope of every connection."""

    opening: Opening


class Acknowledge(msgspec.Struct, array_like=True, gc=False, tag="a"):
    """``had`` and all before it has been taken."""

    had: _Number


class Probe(msgspec.Struct, array_like=True, gc=False, tag="p"):
    """The same, and an :class:`Acknowledge` is wanted back at once."""

    had: _Number


class Text(_Numbered, tag="m"):
    """A text message."""

    data: str


class Request(_Numbered, tag="r"):
    """A message that wants an answer; ``data`` is JSON."""

    data: msgspec.Raw


class Event(_Numbered, tag="e"):
    """A named event; ``args`` is a JSON array."""

    name: str
    args: msgspec.Raw


class Call(Event, tag="x"):
    """A named event that wants an acknowledgement."""


class Bytes(_Numbered, tag="m"):
    """A binary message."""

    data: bytes = b""


class BytesRequest(_Numbered, tag="r"):
    """A binary message that wants an answer."""

    data: bytes = b""


class BytesEvent(_Numbered, tag="e"):
    """A named event whose only argument is bytes."""

    name: str
    data: bytes = b""


class BytesCall(BytesEvent, tag="x"):
    """The same, which wants an acknowledgement."""


_InBinary = Bytes | BytesRequest | BytesEvent | BytesCall
_InText = Text | Acknowledge | Request | Event | Call | Probe | Hello
Numbered = Text | Request | Event | Call | _InBinary
Incoming = _InText | _InBinary

_decode_text = msgspec.json.Decoder(_InText).decode
_decode_head = msgspec.json.Decoder(_InBinary).decode


def decode(opcode: int, data: bytes) -> Incoming:
    """Read an envelope.

    Args:
        opcode: ``TEXT`` or ``BINARY``, as the frame's.
        data: its payload.

    Raises:
        Malformed: It is none, or of an unknown kind.
    """
    try:
        if opcode == TEXT:
            envelope: _InText = _decode_text(data)
            if isinstance(envelope, Event) and bytes(envelope.args)[:1] != b"[":
                raise Malformed("arguments are an array")
            return envelope
        head, feed, body = data.partition(b"\n")
        if not feed:
            raise Malformed("a binary envelope has a line feed behind its head")
        binary: _InBinary = _decode_head(head)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from None
    binary.data = body
    return binary


class Welcome(msgspec.Struct, omit_defaults=True):
    """The answer to :class:`Hello`; fields as in docs/client-protocol.md.

    Attributes:
        token: brings this session back.
        id: the connection's, as the handler knows it.
        resumed: it is the session that was asked for.
        had: number of the last envelope that the gateway has of it.
        silence: milliseconds after which a client that has heard nothing asks.
        ttl: milliseconds for which the session waits for its client to come back.
        max: bytes of the largest envelope that a client may send; 0 for any.
    """

    token: str
    id: str
    resumed: bool
    had: _Number
    silence: int
    ttl: int
    max: int = 0


def welcome(welcome: Welcome) -> bytes:
    """The first envelope that a client gets, as text."""
    return _to_json(("welcome", welcome))


# ---------------------------------------------------------------- tails


def string(text: bytes) -> bytes:
    """The JSON of a text in UTF-8."""
    return _to_json(text.decode())


def text_tail(data: bytes) -> bytes:
    """Of a text message, kind ``m``; ``data`` is UTF-8."""
    return b",%b]" % string(data)


def bytes_tail(data: bytes) -> bytes:
    """Of a binary message, kind ``m``."""
    return b"]\n" + data


def publication(
    group: str, offset: int, epoch: str, opcode: int, data: bytes, event: str, json: bool
) -> bytes:
    """Of a publication: kind ``g``, or ``h`` if it comes from history.

    Args:
        offset, epoch: its position; 0 and empty in a group without history.
        opcode: ``TEXT`` or ``BINARY``, also of the envelope.
        event: its name; empty for a plain message. Then ``data`` is its only argument.
        json: ``data`` is the JSON of a value that is no ``str``.
    """
    head = b",%b,%d,%b,%b" % (_to_json(group), offset, _to_json(epoch), _to_json(event))
    if opcode == BINARY:
        return b"%b]\n%b" % (head, data)
    if event:
        return b"%b,[%b]]" % (head, data if json else string(data))
    return b"%b,%b]" % (head, string(data))


def event(name: str, args: bytes) -> bytes:
    """Of a named event, kind ``e``; ``args`` is a JSON array."""
    return b",%b,%b]" % (_to_json(name), args)


def event_bytes(name: str, data: bytes) -> bytes:
    """Of a named event whose only argument is bytes, kind ``e``."""
    return b",%b]\n%b" % (_to_json(name), data)


def answer(call: int, value: bytes) -> bytes:
    """Of an answer, kind ``ok``.

    Args:
        call: number of the envelope that it answers.
        value: JSON; of an acknowledgement an array.
    """
    return b",%d,%b]" % (call, value)


def answer_bytes(call: int, data: bytes) -> bytes:
    """Of an answer that is bytes, kind ``ok``."""
    return b",%d]\n%b" % (call, data)


def failure(call: int, code: int, words: str) -> bytes:
    """Of an answer that is an error, kind ``err``."""
    return b",%d,%d,%b]" % (call, code, _to_json(words))


def joined(group: str, offset: int, epoch: str, recovered: bool) -> bytes:
    """Of the news that the client is in a group, kind ``j``.

    Args:
        offset, epoch: the position after which its publications follow.
        recovered: nothing is missing between what it had and that position.
    """
    words = (_to_json(group), offset, _to_json(epoch), b"true" if recovered else b"false")
    return b",%b,%d,%b,%b]" % words


def left(group: str) -> bytes:
    """Of the news that the client is in a group no more, kind ``l``."""
    return b",%b]" % _to_json(group)
