"""The stream between a worker and a connection's own process: length-prefixed pieces."""

from __future__ import annotations

import struct

__all__ = ["Frames"]

_LENGTH = struct.Struct("!I")


class Frames:
    """Cuts a byte stream into its pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @staticmethod
    def wrap(data: bytes) -> bytes:
        """One piece, ready to be sent."""
        return _LENGTH.pack(len(data)) + data

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces that ``data`` completes."""
        buffer = self._buffer
        buffer += data
        pieces: list[bytes] = []
        start = 0
        while len(buffer) - start >= 4:
            (size,) = _LENGTH.unpack_from(buffer, start)
            if len(buffer) - start - 4 < size:
                break
            pieces.append(bytes(buffer[start + 4 : start + 4 + size]))
            start += 4 + size
        del buffer[:start]
        return pieces
