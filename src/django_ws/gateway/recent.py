"""What has happened in the last minute, for connections that were on their way meanwhile."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["MAX_RECENT", "Recent"]

#: Words to remember; beyond that the oldest are forgotten.
MAX_RECENT = 10_000


class Recent:
    """Remembers words for some time, each with a number.

    Args:
        seconds: for how long.
        now: seconds of some clock.
    """

    def __init__(self, seconds: float, now: Callable[[], float], limit: int = MAX_RECENT) -> None:
        self._seconds = seconds
        self._now = now
        self._limit = limit
        self._found: dict[str, tuple[float, int]] = {}  # in the order of their ends

    def add(self, word: str, number: int = 0) -> None:
        """Remember a word, from now on."""
        self._found.pop(word, None)
        now = self._now()
        found = self._found
        while found:
            first = next(iter(found))
            if len(found) < self._limit and found[first][0] > now:
                break
            del found[first]
        found[word] = (now + self._seconds, number)

    def find(self, word: str) -> int | None:
        """The number of a word; ``None`` if it is not known (any more)."""
        end, number = self._found.get(word, (0.0, 0))
        return number if end > self._now() else None
