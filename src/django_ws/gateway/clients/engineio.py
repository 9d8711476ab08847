"""Engine.IO 4: what its packets look like, in WebSocket messages and in bodies of HTTP. Pure.

The rules are those of https://socket.io/docs/v4/engine-io-protocol/. In WebSocket messages a text
begins with its packet's type, and what is binary is a message. A body has several packets, with
what is binary in base64.
"""

from __future__ import annotations

import binascii
import json
import math
from collections.abc import Iterable

from ...options import Limits
from ...wire.messages import BINARY, TEXT

__all__ = [
    "AGAIN",
    "CLOSE",
    "MAX_PACKETS",
    "MESSAGE",
    "NOOP",
    "PING",
    "PONG",
    "PROBE",
    "PROBED",
    "UPGRADE",
    "Packet",
    "Payload",
    "Violation",
    "encode_payload",
    "max_body",
    "max_payload",
    "opening",
]

# The types of packets, as texts begin with them.
CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP = b"1", b"2", b"3", b"4", b"5", b"6"

#: What tries a WebSocket before an upgrade, and its answer.
PROBE, PROBED = b"2probe", b"3probe"

#: Packets in one body. Each costs as much of the message rate as a WebSocket message.
MAX_PACKETS = 4096

#: Codes of ends that a client's library should answer with a new connection.
AGAIN = frozenset({1001, 1006, 1011, 1012, 1013, *range(3000, 3500)})

#: Bytes of a body where messages have no limit.
MAX_BODY = 2**30

#: Milliseconds that stand for "never": two of them are what a browser's timer can count.
_NEVER = 10**9

_SEPARATOR = b"\x1e"
_BASE64 = ord("b")

#: As in a WebSocket message: an opcode and its payload.
Packet = tuple[int, bytes]


class Violation(Exception):
    """The peer broke the rules; the text says how."""


class Payload:
    """The packets of one body, one at a time, so that its reader may stop anywhere.

    Args:
        body: as it came.
    """

    __slots__ = ("_body", "_count", "_position")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._position = 0
        self._count = 0

    def read(self) -> Packet | None:
        """The next packet; None behind the last one.

        Raises:
            Violation: It is none, or one too many.
        """
        body, start = self._body, self._position
        if start > len(body):
            return None
        end = body.find(_SEPARATOR, start)
        if end < 0:
            end = len(body)
        self._position = end + 1
        self._count += 1
        if self._count > MAX_PACKETS:
            raise Violation("too many packets in a payload")
        if start == end:
            raise Violation("a packet without a type")
        if body[start] == _BASE64:
            try:
                return BINARY, binascii.a2b_base64(body[start + 1 : end], strict_mode=True)
            except binascii.Error:
                raise Violation("invalid base64") from None
        packet = body[start:end]
        try:
            packet.decode()
        except UnicodeDecodeError:
            raise Violation("invalid UTF-8") from None
        return TEXT, packet


def encode_payload(packets: Iterable[Packet]) -> bytes:
    """The body with these packets."""
    return _SEPARATOR.join(
        data if opcode == TEXT else b"b" + binascii.b2a_base64(data, newline=False)
        for opcode, data in packets
    )


def max_payload(limits: Limits) -> int:
    """Bytes of a body, of which the client is told."""
    return limits.max_message_size or MAX_BODY


def max_body(limits: Limits) -> int:
    """Bytes of a body that is taken: the largest message is one, also in base64."""
    return 1 + 4 * math.ceil(max_payload(limits) / 3)


def opening(sid: str, limits: Limits, *, upgrades: bool) -> bytes:
    """The packet that begins a session.

    Args:
        sid: by which the client names it.
        upgrades: it may go on over a WebSocket.
    """
    pings = limits.ping_interval > 0
    value = {
        "sid": sid,
        "upgrades": ["websocket"] if upgrades else [],
        "pingInterval": round(limits.ping_interval * 1000) if pings else _NEVER,
        "pingTimeout": round(limits.ping_timeout * 1000)
        if pings and limits.ping_timeout
        else _NEVER,
        "maxPayload": max_payload(limits),
    }
    return b"0" + json.dumps(value, separators=(",", ":")).encode()
