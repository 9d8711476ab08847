"""Socket.IO 5: packets from messages of Engine.IO, and the other way round. Pure.

The rules are those of https://socket.io/docs/v4/socket-io-protocol/. Arguments stay the JSON that
they came as: it is checked, but only the worker makes objects of it. Bytes among them follow as
messages of their own, and stand in the JSON as ``{"_placeholder": true, "num": index}``.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

import msgspec

from ...wire.messages import BINARY, TEXT
from ...wire.socketio import MAX_ATTACHMENTS, RESERVED
from .engineio import Packet as Frame
from .engineio import Violation

__all__ = [
    "CONNECT",
    "DISCONNECT",
    "EVENT",
    "Decoder",
    "Kind",
    "Packet",
    "connected",
    "disconnect",
    "event",
    "refused",
    "reply",
    "to_json",
]

#: Bytes of a namespace, and digits of an acknowledgement's number.
MAX_PATH: Final = 256
MAX_ID: Final = 16


class Kind(enum.IntEnum):
    """The types of packets."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


_HEAD = re.compile(
    rb"([0-6])"
    rb"(?:([0-9]{1,%d})-)?"
    rb"(?:(/[^,]{0,%d})(?:,|\Z))?"
    rb"([0-9]{0,%d})" % (len(str(MAX_ATTACHMENTS)), MAX_PATH - 1, MAX_ID)
)
_KINDS = tuple(Kind)
CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = Kind

_json: msgspec.json.Decoder[msgspec.Raw] = msgspec.json.Decoder(msgspec.Raw)
_array: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw])
_name: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)
to_json = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Packet:
    """What a client says.

    Attributes:
        kind: ``EVENT`` and ``ACK`` also with attachments.
        path: of the namespace, ``/`` for the main one.
        name: of an event.
        data: JSON: an event's arguments as an array, or what came with ``CONNECT``.
        id: digits of the number under which an answer is waited for; empty for none.
        attachments: all of them.
    """

    kind: Kind
    path: str
    name: str = ""
    data: bytes = b""
    id: bytes = b""
    attachments: tuple[bytes, ...] = ()


class Decoder:
    """Puts packets together.

    Args:
        max_size: bytes of the largest packet, its attachments included.

    Attributes:
        missing: attachments that the packet in hand waits for.
    """

    __slots__ = ("_attachments", "_max_size", "_packet", "_size", "missing")

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._packet: Packet | None = None
        self._attachments: list[bytes] = []
        self._size = 0
        self.missing = 0

    def feed(self, opcode: int, data: bytes) -> Packet | None:
        """Take a message of Engine.IO, without its type.

        Returns:
            The packet that it completes.

        Raises:
            Violation: It breaks the rules.
        """
        if opcode == BINARY:
            return self._attach(data)
        if self.missing:
            raise Violation("a text among attachments")
        packet, count = _parse(data)
        if not count:
            return packet
        self._packet, self._size, self.missing = packet, len(data), count
        return None

    def _attach(self, data: bytes) -> Packet | None:
        packet = self._packet
        if packet is None:
            raise Violation("an attachment of nothing")
        self._size += len(data)
        if self._size > self._max_size:
            raise Violation("attachments too big")
        self._attachments.append(data)
        self.missing -= 1
        if self.missing:
            return None
        packet.attachments = tuple(self._attachments)
        self._packet = None
        self._attachments = []
        return packet


def _parse(data: bytes) -> tuple[Packet, int]:
    """A packet, and how many attachments it has."""
    if data[:2] == b"2[":  # nearly every one: of the main namespace, with nothing to say but itself
        name, arguments = _split(data[1:])
        return Packet(EVENT, "/", name, arguments), 0
    head = _HEAD.match(data)
    if head is None:
        raise Violation("no Socket.IO packet")
    kind = _KINDS[data[0] - 0x30]
    _, count, path, number = head.groups()
    if (count is not None) != (kind >= BINARY_EVENT):
        raise Violation("attachments where none belong, or none where some do")
    attachments = int(count or 0)
    if attachments > MAX_ATTACHMENTS:
        raise Violation("too many attachments")
    rest = data[head.end() :]
    # What follows the "?" is a query of older clients.
    packet = Packet(kind, "/" if path is None else path.partition(b"?")[0].decode())
    if kind is CONNECT:
        packet.data = _check(rest or b"{}", b"{")
    elif kind is DISCONNECT:
        if rest or number:
            raise Violation("DISCONNECT carries nothing")
    elif kind is CONNECT_ERROR:
        raise Violation("CONNECT_ERROR is the server's")
    else:
        packet.id = number
        if kind is ACK or kind is BINARY_ACK:
            if not number:
                raise Violation("an acknowledgement of nothing")
            packet.kind, packet.data = ACK, _check(rest, b"[")
        else:
            packet.kind = EVENT
            packet.name, packet.data = _split(rest)
    return packet, attachments


def _check(data: bytes, first: bytes) -> bytes:
    """Whether it is one JSON value that begins like this; returns it, well-formed."""
    try:
        _json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        if (better := _well_formed(data)) == data:
            raise Violation("invalid JSON") from None
        return _check(better, first)
    if data[:1] != first:
        raise Violation("another kind of JSON was expected")
    return data


def _split(data: bytes) -> tuple[str, bytes]:
    """An event's name and its arguments."""
    try:
        parts = _array.decode(data)
    except (msgspec.DecodeError, RecursionError):
        if (better := _well_formed(data)) == data:
            raise Violation("an event that is no JSON array") from None
        return _split(better)
    try:
        name = _name.decode(parts[0])
    except (msgspec.DecodeError, IndexError):
        raise Violation("an event without a name") from None
    if name in RESERVED:
        raise Violation("a reserved name")
    return name, b"[%b]" % (parts[1] if len(parts) == 2 else b",".join(parts[1:]))


#: Half of a surrogate pair, where no escaped backslash can be taken for the beginning of one.
_HALF = re.compile(
    rb"\\u[dD](?:"
    rb"[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)


def _well_formed(data: bytes) -> bytes:
    """JSON with U+FFFD for each half of a surrogate pair: what browsers make of them in text.

    A page that cuts a text within an emoji has one, which ``JSON.stringify`` escapes.
    """
    backslash = b"\xff"  # there is none in UTF-8
    return _HALF.sub(rb"\\ufffd", data.replace(rb"\\", backslash)).replace(backslash, rb"\\")


# -------------------------------------------------------------------- towards clients, as frames


def _head(kind: Kind, path: str, attachments: int = 0) -> str:
    count = f"{attachments}-" if kind >= BINARY_EVENT else ""
    return f"4{kind.value}{count}" + (f"{path}," if path != "/" else "")


def connected(path: str, sid: str, pid: str = "") -> Frame:
    """A namespace is open.

    Args:
        sid: names the client.
        pid: brings it back; empty if nothing can.
    """
    more = f',"pid":"{pid}"' if pid else ""
    return TEXT, f'{_head(CONNECT, path)}{{"sid":"{sid}"{more}}}'.encode()


def refused(path: str, message: str, status: int = 0) -> Frame:
    """A namespace stays closed.

    Args:
        message: why.
        status: as of HTTP; 0 to say nothing of it.
    """
    value: dict[str, object] = {"message": message}
    if status:
        value["data"] = {"status": status}
    return TEXT, _head(CONNECT_ERROR, path).encode() + to_json(value)


def disconnect(path: str) -> Frame:
    """A namespace is closed."""
    return TEXT, _head(DISCONNECT, path).encode()


def event(path: str, name: str, data: bytes, attachments: int = 0) -> bytes:
    """An event's text; its attachments follow as they are.

    Args:
        data: JSON, its arguments as an array without white space in front of the first.
        attachments: how many follow.
    """
    if attachments:
        head = _head(BINARY_EVENT, path, attachments).encode()
    else:
        head = b"42" if path == "/" else _head(EVENT, path).encode()
    if data == b"[]":
        return b"%b[%b]" % (head, to_json(name))
    return b"%b[%b,%b" % (head, to_json(name), data[1:])


def reply(path: str, number: bytes, data: bytes, attachments: int = 0) -> bytes:
    """An acknowledgement's text; its attachments follow as they are.

    Args:
        number: as the client gave it.
        data: JSON, an array.
        attachments: how many follow.
    """
    kind = BINARY_ACK if attachments else ACK
    return _head(kind, path, attachments).encode() + number + data
