"""Frames of RFC 6455 §5.2 as bytes: how long they are, what they carry, and how ours are made.

Pure functions. What a sequence of frames means is read in :mod:`.reading`.
"""

from __future__ import annotations

import struct

from websockets.exceptions import ProtocolError
from websockets.frames import Close

from ...wire.messages import BINARY, TEXT

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the C extension
    from websockets.utils import apply_mask

__all__ = [
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PING_FRAME",
    "PONG",
    "Violation",
    "apply_mask",
    "close_frame",
    "extent",
    "frame",
    "is_utf8",
    "parse_close",
    "pong_frame",
]

# Opcodes besides TEXT and BINARY (RFC 6455 §11.8).
CONTINUATION, CLOSE, PING, PONG = 0, 8, 9, 10

#: A ping without payload.
PING_FRAME = b"\x89\x00"

#: Bytes of a close frame's reason (RFC 6455 §5.5: 125 bytes, two of them the code).
MAX_REASON = 123

_SHORT = {
    opcode: [bytes((0x80 | opcode, size)) for size in range(126)] for opcode in (TEXT, BINARY, PONG)
}
_MEDIUM = struct.Struct("!BBH").pack
_LONG = struct.Struct("!BBQ").pack


class Violation(Exception):
    """The peer broke the rules.

    Args:
        code: what the connection is to be closed with (RFC 6455 §7.4.1).
        reason: why.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


def frame(opcode: int, data: bytes) -> bytes:
    """A whole message as one unmasked frame, as a server sends it.

    Args:
        opcode: ``TEXT`` or ``BINARY``.
        data: the payload.
    """
    size = len(data)
    if size < 126:
        return _SHORT[opcode][size] + data
    if size < 65536:
        return _MEDIUM(0x80 | opcode, 126, size) + data
    return _LONG(0x80 | opcode, 127, size) + data


def pong_frame(data: bytes) -> bytes:
    """The answer to a ping.

    Args:
        data: the ping's payload, up to 125 bytes.
    """
    return _SHORT[PONG][len(data)] + data


def close_frame(code: int, reason: str) -> bytes:
    """A close frame.

    Args:
        code: what cannot be sent (RFC 6455 §7.4.1: 1004 to 1006, 1015) goes out as a frame without
            a code.
        reason: cut to :data:`MAX_REASON` bytes, never inside a character.
    """
    if not 1000 <= code <= 4999 or code in (1004, 1005, 1006, 1015):
        return b"\x88\x00"
    text = reason.encode(errors="replace")[:MAX_REASON].decode(errors="ignore").encode()
    return bytes((0x88, len(text) + 2)) + code.to_bytes(2) + text


def parse_close(data: bytes) -> tuple[int, str]:
    """Code and reason in the payload of a close frame; 1005 if it has none.

    Raises:
        Violation: It is no such payload, or the code must not be sent.
    """
    try:
        close = Close.parse(data)
        if data:
            close.check()
    except ProtocolError as error:
        raise Violation(1002, str(error)) from None
    except UnicodeDecodeError:
        raise Violation(1007, "invalid UTF-8") from None
    return int(close.code), close.reason


def extent(data: bytes, pos: int) -> tuple[int, int]:
    """Find out how long a client's frame is.

    Args:
        data: what was received.
        pos: where the frame begins.

    Returns:
        Where its payload starts and where it stops, which may be after the end of ``data``;
        ``(0, 0)`` if not even its length has arrived.

    Raises:
        Violation: It is not masked, or the length has more bytes than it needs (RFC 6455 §5.1,
            §5.2).
    """
    left = len(data) - pos
    if left < 2:
        return 0, 0
    second = data[pos + 1]
    if not second & 0x80:
        raise Violation(1002, "frame is not masked")
    size = second & 0x7F
    start = pos + 6
    if size == 126:
        if left < 4:
            return 0, 0
        size = data[pos + 2] << 8 | data[pos + 3]
        start += 2
        least = 126
    elif size == 127:
        if left < 10:
            return 0, 0
        size = int.from_bytes(data[pos + 2 : pos + 10])
        start += 8
        least = 65536
    else:
        least = 0
    if size < least:
        raise Violation(1002, "length is not minimal")
    return start, start + size


def is_utf8(data: bytes) -> bool:
    """Whether ``data`` is valid UTF-8 (RFC 6455 §8.1)."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
