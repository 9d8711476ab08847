"""What a client's bytes say: whole messages and control frames. Pure: bytes in, events out."""

from __future__ import annotations

from ...wire.messages import BINARY, TEXT
from .assembly import Assembly
from .compression import Compression
from .framing import (
    CLOSE,
    CONTINUATION,
    PONG,
    Violation,
    apply_mask,
    extent,
    is_utf8,
)

__all__ = ["MAX_CONTROL", "PLAIN", "PLAIN_TEXT", "Event", "Reader"]

#: Bytes of the payload of a control frame (RFC 6455 §5.5).
MAX_CONTROL = 125

# First bytes of unfragmented, uncompressed frames (RFC 6455 §5.2).
PLAIN_TEXT = 0x80 | TEXT
PLAIN = (PLAIN_TEXT, 0x80 | BINARY)

#: An opcode and what came with it: ``TEXT`` and ``BINARY`` with a whole message, ``CONTINUATION``
#: with a fragment that completes none, and control frames with their payload.
Event = tuple[int, bytes]

#: Bytes of the shortest header that says how long a frame is.
_HEADER = 2


class Reader:
    """Takes bytes as they come and gives one event a time, so that its owner may stop anywhere.

    Args:
        max_size: bytes of the largest message.
        compression: None if none was negotiated.

    Attributes:
        idle: nothing is left over, and no message is in pieces.
    """

    __slots__ = (
        "_buffer",
        "_compression",
        "_max_size",
        "_message",
        "_need",
        "_position",
        "_small",
        "idle",
    )

    def __init__(self, max_size: int, compression: Compression | None = None) -> None:
        self.idle = True
        self._max_size = max_size
        self._small = min(MAX_CONTROL, max_size)
        self._compression = compression
        #: What is not read yet, from _position on; mutable only while a frame is incomplete.
        self._buffer: bytes | bytearray = b""
        self._position = 0
        #: Bytes that complete the frame in the buffer, as far as known.
        self._need = _HEADER
        self._message: Assembly | None = None

    @property
    def pending(self) -> int:
        """Bytes that are not read yet."""
        return len(self._buffer) - self._position

    def feed(self, data: bytes) -> None:
        """Take what came."""
        if not self._buffer:
            self._buffer = data
        else:
            self._mutable().extend(data)
        self.idle = False

    def read(self) -> Event | None:
        """The next event; None if it is not there yet.

        Raises:
            Violation: The peer broke the rules, for which the header of a frame may be enough.
        """
        data, pos = self._buffer, self._position
        start = pos + 6
        # Most frames are short, plain, and there.
        if (
            start <= len(data)
            and (first := data[pos]) in PLAIN
            and self._message is None
            and start <= (stop := start + data[pos + 1] - 0x80) <= len(data)
            and stop - start <= self._small
        ):
            payload = apply_mask(data[start:stop], data[pos + 2 : start])
            self._need = _HEADER  # of the next one: this one may have come in pieces
            if stop == len(data):
                self._buffer, self._position, self.idle = b"", 0, True
            else:
                self._position = stop
            if first == PLAIN_TEXT and not payload.isascii() and not is_utf8(payload):
                raise Violation(1007, "invalid UTF-8")
            return first & 0x0F, payload
        return self._read_any()

    def _read_any(self) -> Event | None:
        found = self._next_frame()
        if found is None:
            return None
        data, pos, start, stop = found
        first = data[pos]
        payload = apply_mask(data[start:stop], data[start - 4 : start])
        if stop == len(data):
            self._buffer, self._position = b"", 0
            self.idle = self._message is None
        else:
            self._position = stop
        if first in PLAIN and self._message is None:
            if first == PLAIN_TEXT and not payload.isascii() and not is_utf8(payload):
                raise Violation(1007, "invalid UTF-8")
            return first & 0x0F, payload
        if first & 0x08:
            return self._control(first, payload)
        return self._fragment(first, payload)

    def skip(self) -> int | None:
        """Pass over one frame, whatever it carries; its opcode, or None if it is not there yet.

        Raises:
            Violation: Where it ends will never be known, or is too far away.
        """
        found = self._next_frame()
        if found is None:
            return None
        data, pos, _, stop = found
        if stop == len(data):
            self._buffer, self._position = b"", 0
        else:
            self._position = stop
        return data[pos] & 0x0F

    def drop_message(self) -> None:
        """Forget the message that is in pieces."""
        self._message = None

    def clear(self) -> None:
        """Forget everything."""
        self._buffer, self._position, self._message = b"", 0, None

    # ------------------------------------------------------------------ frames

    def _next_frame(self) -> tuple[bytes, int, int, int] | None:
        """A complete frame: the bytes it stands in, where it begins, its payload, and its end."""
        buffer, pos = self._buffer, self._position
        size = len(buffer)
        if size - pos < self._need:
            return None
        data = buffer if type(buffer) is bytes else bytes(buffer)
        self._buffer = data
        start = pos + 6
        stop = start + data[pos + 1] - 0x80
        if not start <= stop < start + 126:
            start, stop = extent(data, pos)
            if not start:
                self._keep(size - pos + 1)
                return None
        if stop - start > MAX_CONTROL or stop - start > self._max_size:
            self._check_size(data[pos], stop - start)
        if stop > size:
            self._keep(stop - pos)
            return None
        self._need = _HEADER
        return data, pos, start, stop

    def _check_size(self, first: int, size: int) -> None:
        """Whether a frame may be so long is decided before it has arrived."""
        if not first & 0x08:
            if size > self._max_size:
                raise Violation(1009, "message too big")
        elif size > MAX_CONTROL:
            raise Violation(1002, "control frame too long")

    def _keep(self, need: int) -> None:
        """Wait until there are so many bytes."""
        self._need = need
        self._mutable()

    def _mutable(self) -> bytearray:
        """The buffer, without what was read, as one that can grow."""
        buffer = self._buffer
        if type(buffer) is not bytearray:
            buffer = self._buffer = bytearray(memoryview(buffer)[self._position :])
            self._position = 0
        return buffer

    # ------------------------------------------------------------------ what is not plain

    def _control(self, first: int, payload: bytes) -> Event:
        opcode = first & 0x0F
        if first & 0x70:
            raise Violation(1002, "reserved bits must be 0")
        if not first & 0x80:
            raise Violation(1002, "fragmented control frame")
        if not CLOSE <= opcode <= PONG:
            raise Violation(1002, "invalid opcode")
        return opcode, payload

    def _fragment(self, first: int, payload: bytes) -> Event:
        """A data frame that is compressed, or not a message by itself."""
        opcode = first & 0x0F
        message = self._message
        if opcode > BINARY:
            raise Violation(1002, "invalid opcode")
        if (opcode == CONTINUATION) == (message is None):
            raise Violation(1002, "continuation of nothing" if message is None else "message cut")
        compression = self._compression
        if first & (0x30 if compression is not None and message is None else 0x70):
            raise Violation(1002, "reserved bits must be 0")
        if message is None:
            message = self._message = Assembly(opcode, self._max_size)
        if compression is not None:
            payload = compression.inflate(first, payload, message.room)
        message.add(payload, bool(first & 0x80))
        if not first & 0x80:
            self.idle = False
            return CONTINUATION, payload
        self._message = None
        self.idle = not self._buffer
        return message.opcode, bytes(message.data)
