"""Bodies of requests to the pages, as far as they are kept in memory. Pure."""

from __future__ import annotations

__all__ = ["MAX_BODY", "Body", "Held", "Unacceptable"]

#: Bytes of a request's or response's body.
MAX_BODY = 1024**3

#: Bytes of a body without a length, which is kept whole: the pages' server (wsgiref) needs one.
MAX_CHUNKED = 16 * 1024**2

#: Bytes of bodies in memory, of all requests together.
MAX_HELD = 64 * 1024**2

#: Bytes of a body that must have come before a thread is spent on the request.
AHEAD = 64 * 1024

#: Bytes of a body that must come between two checks.
PACE = 64 * 1024


class Unacceptable(Exception):
    """A request cannot be served.

    Args:
        status: of the answer.
        text: its body.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


class Held:
    """What all bodies have in memory.

    Attributes:
        size: in bytes.
    """

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = 0


class Body:
    """What has come of one request's body, and of that what nobody has taken yet.

    Args:
        length: in bytes; None if only its end will tell.
        held: shared with all others.

    Attributes:
        received: bytes that have come.
    """

    __slots__ = ("_chunks", "_due", "_held", "length", "received")

    def __init__(self, length: int | None, held: Held) -> None:
        self.length = length
        self.received = 0
        self._held = held
        self._chunks: list[bytes] = []
        #: Bytes that must have come by the next check; 0 before the first.
        self._due = 0

    def keep(self, chunk: bytes) -> None:
        """Keep what has come.

        Raises:
            Unacceptable: It is too much.
        """
        self._chunks.append(chunk)
        self._held.size += len(chunk)
        if self.length is None and self.received > MAX_CHUNKED:
            raise Unacceptable(413, "The body of this request is too long.\n")
        if self._held.size > MAX_HELD:
            raise Unacceptable(503, "This server has too many bodies to read.\n")

    def take(self) -> bytes:
        """What was kept, which is the caller's now."""
        data = b"".join(self._chunks)
        self._held.size -= len(data)
        self._chunks.clear()
        return data

    @property
    def suffices(self) -> bool:
        """Whether so much of it has come that the rest may be awaited elsewhere."""
        return self.length is not None and AHEAD <= self.received < self.length

    def is_late(self) -> bool:
        """Whether it has been too slow since the last time that somebody asked."""
        late = self.received < self._due
        self._due = self.received + PACE
        return late
