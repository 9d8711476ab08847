"""Messages that arrive in fragments (RFC 6455 §5.4)."""

from __future__ import annotations

import codecs

from ...wire.messages import TEXT
from .framing import Violation

__all__ = ["Assembly"]

#: A message may have one fragment for so many bytes of the message limit, and at least
#: ``MIN_FRAGMENTS``. Fragments cost time even if they are empty.
BYTES_PER_FRAGMENT = 16
MIN_FRAGMENTS = 1024


class Assembly:
    """One message of which not all is there yet.

    Args:
        opcode: ``TEXT`` or ``BINARY``, from the first frame.
        limit: bytes of the largest message.

    Attributes:
        room: bytes that may still come.
    """

    __slots__ = ("_decoder", "_fragments_left", "data", "opcode", "room")

    def __init__(self, opcode: int, limit: int) -> None:
        self.opcode = opcode
        self.data = bytearray()
        self.room = limit
        self._decoder = codecs.getincrementaldecoder("utf-8")() if opcode == TEXT else None
        self._fragments_left = max(MIN_FRAGMENTS, limit // BYTES_PER_FRAGMENT)

    def add(self, data: bytes, final: bool) -> None:
        """Append a fragment.

        Raises:
            Violation: Too many of them or too much in them, or the text so far is not the beginning
                of valid UTF-8.
        """
        self.room -= len(data)
        if self.room < 0:
            raise Violation(1009, "message too big")
        if not self._fragments_left:
            raise Violation(1008, "too many fragments")
        self._fragments_left -= 1
        if self._decoder is not None:
            try:
                self._decoder.decode(data, final)
            except UnicodeDecodeError:
                raise Violation(1007, "invalid UTF-8") from None
        self.data += data
