"""Publications that wait until members have taken those before them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from ...store.forms import Entry

__all__ = ["Backlog"]

#: Publications that wait, and bytes of them. Policy: what comes then is dropped, and the group is
#: healed from its history, or its members are told.
MAX_WAITING = 20_000
MAX_BYTES = 32 * 1024 * 1024

#: Seconds between looks whether there is room, and publications handed on in one turn of the loop.
LOOK = 0.005
TURN = 200


class Backlog:
    """See the module.

    Args:
        room: whether members have taken nearly all that was published.
        take: takes what is due.
        dropped: called with the group of what was dropped.
        after: called when some have been handed on later than they came.
    """

    def __init__(
        self,
        room: Callable[[], bool],
        take: Callable[[str, Entry], None],
        dropped: Callable[[str], None],
        after: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._room = room
        self._take = take
        self._dropped = dropped
        self._after = after
        self._loop = loop
        # Callbacks are bounded by the operations on their way.
        self._waiting: deque[tuple[str, Entry] | Callable[[], None]] = deque()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def room(self) -> bool:
        """Whether what comes now is handed on at once."""
        return not self._waiting and self._room()

    @property
    def load(self) -> float:
        """How full it is, from 0 to 1."""
        return max(len(self._waiting) / MAX_WAITING, self._bytes / MAX_BYTES)

    def add(self, group: str, entry: Entry) -> None:
        """Hand a publication on, when it is due."""
        if self.room:
            self._take(group, entry)
        elif len(self._waiting) >= MAX_WAITING or self._bytes >= MAX_BYTES:
            self._dropped(group)
        else:
            self._waiting.append((group, entry))
            self._bytes += len(entry.publication.data)
            if self._timer is None:
                self._timer = self._loop.call_later(LOOK, self._work_off)

    def behind(self, callback: Callable[[], None]) -> None:
        """Call behind the publications that have come before."""
        if self._waiting:
            self._waiting.append(callback)
        else:
            callback()

    def close(self) -> None:
        """Hand nothing on any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _work_off(self) -> None:
        self._timer = None
        for _ in range(TURN):
            if not self._waiting or not self._room():
                break
            item = self._waiting.popleft()
            if isinstance(item, tuple):
                group, entry = item
                self._bytes -= len(entry.publication.data)
                self._take(group, entry)
            else:
                item()
        if self._waiting:
            self._timer = self._loop.call_later(LOOK, self._work_off)
        self._after()
