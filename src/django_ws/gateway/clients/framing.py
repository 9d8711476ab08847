"""Frames of RFC 6455 §5.2 as bytes: the short path for plain ones, and reassembly.

Pure functions. Frames that are anything but plain go through the core of the websockets package;
what leads there is decided in :mod:`.connection`.
"""

from __future__ import annotations

import codecs
import struct

from ...wire.messages import BINARY, TEXT

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the C extension
    from websockets.utils import apply_mask

__all__ = [
    "CLOSE",
    "PING_FRAME",
    "Assembly",
    "TooManyFragments",
    "close_frame",
    "extent",
    "frame",
    "is_utf8",
    "unmask",
]

#: Opcode of a close frame.
CLOSE = 8

#: A ping without payload.
PING_FRAME = b"\x89\x00"

#: Bytes of a close frame's reason (RFC 6455 §5.5: 125 bytes, two of them the code).
MAX_REASON = 123

#: A message may have one fragment for so many bytes of the message limit, and at least
#: ``MIN_FRAGMENTS``. Fragments cost time even if they are empty.
BYTES_PER_FRAGMENT = 16
MIN_FRAGMENTS = 1024

_SHORT = {
    opcode: [bytes((0x80 | opcode, size)) for size in range(126)] for opcode in (TEXT, BINARY)
}
_MEDIUM = struct.Struct("!BBH").pack
_LONG = struct.Struct("!BBQ").pack


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


def extent(data: bytes, pos: int) -> tuple[int, int]:
    """Find out how long a frame is.

    Args:
        data: what was received.
        pos: where the frame begins.

    Returns:
        Where its payload starts and where it stops, which may be after the end of ``data``;
        ``(0, 0)`` if not even its length has arrived.
    """
    left = len(data) - pos
    if left < 2:
        return 0, 0
    second = data[pos + 1]
    start = pos + (6 if second & 0x80 else 2)
    size = second & 0x7F
    if size < 126:
        return start, start + size
    if size == 126:
        if left < 4:
            return 0, 0
        return start + 2, start + 2 + (data[pos + 2] << 8 | data[pos + 3])
    if left < 10:
        return 0, 0
    return start + 8, start + 8 + int.from_bytes(data[pos + 2 : pos + 10])


def unmask(data: bytes, start: int, stop: int) -> bytes:
    """The payload between ``start`` and ``stop``; its mask stands before it."""
    return apply_mask(data[start:stop], data[start - 4 : start])


def is_utf8(data: bytes) -> bool:
    """Whether ``data`` is valid UTF-8 (RFC 6455 §8.1)."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class TooManyFragments(Exception):
    """A message in more fragments than its limit allows."""


class Assembly:
    """A message that arrives in fragments (RFC 6455 §5.4).

    Args:
        opcode: ``TEXT`` or ``BINARY``, from the first frame.
        limit: bytes of the largest message.
    """

    __slots__ = ("_decoder", "_fragments_left", "data", "opcode")

    def __init__(self, opcode: int, limit: int) -> None:
        self.opcode = opcode
        self.data = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")() if opcode == TEXT else None
        self._fragments_left = max(MIN_FRAGMENTS, limit // BYTES_PER_FRAGMENT)

    def add(self, data: bytes, final: bool) -> None:
        """Append a fragment.

        Raises:
            TooManyFragments: There were too many of them.
            UnicodeDecodeError: The text so far is not the beginning of valid UTF-8.
        """
        if not self._fragments_left:
            raise TooManyFragments
        self._fragments_left -= 1
        if self._decoder is not None:
            self._decoder.decode(data, final)
        self.data += data
