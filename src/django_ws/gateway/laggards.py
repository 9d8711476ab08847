"""Browsers that do not keep up with their groups.

Whoever reads as fast as it can is waited for: nothing more is taken from the workers, who then
wait, too. Whoever does not is closed, so that nobody waits for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Laggard", "Laggards"]

#: Seconds between looks at them.
LOOK = 0.02
#: Seconds without any progress after which nobody is waited for.
PATIENCE = 0.2
#: The same for who makes progress by what its client says: that has to come through the network.
REMOTE_PATIENCE = 1.0
#: What a browser has to read while it is waited for, in bytes per second, after the first second.
PACE = 1024 * 1024


class Laggard(Protocol):
    """What is needed of a connection.

    Attributes:
        lag: bytes of group messages that wait for its browser.
        behind: whether these are more than may be.
        backlog: bytes that its connection has; they change only by its reading while it lags.
        acknowledges: that shows by what its client says, and not by what the kernel takes.
    """

    @property
    def lag(self) -> int: ...
    @property
    def behind(self) -> bool: ...
    @property
    def backlog(self) -> int: ...
    @property
    def acknowledges(self) -> bool: ...
    def too_slow(self) -> None: ...


@dataclass(slots=True)
class _Watch:
    """The backlog at the last look and when it last changed; since when the browser is waited for,
    and how many bytes were to be read then."""

    backlog: int
    moved: float
    since: float = 0.0
    first: int = 0


class Laggards:
    """Watches those for whom group messages wait, and waits for those who are behind.

    Args:
        on_slow: called for each that is given up, before it is.
        on_none: called when nobody is waited for any more.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_slow: Callable[[], None],
        on_none: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._on_slow = on_slow
        self._on_none = on_none
        self._watched: dict[Laggard, _Watch] = {}
        self._behind: set[Laggard] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        """Whether somebody is waited for."""
        return bool(self._behind)

    def note(self, laggard: Laggard) -> None:
        """Its lag has changed."""
        watch = self._watched.get(laggard)
        if not laggard.lag:
            self.discard(laggard)
            return
        if watch is None:
            watch = self._watched[laggard] = _Watch(laggard.backlog, self._loop.time())
            if self._timer is None:
                self._timer = self._loop.call_later(LOOK, self._look)
        if not laggard.behind:
            self._reached(laggard)
        elif laggard not in self._behind:
            watch.since, watch.first = self._loop.time(), laggard.backlog + laggard.lag
            self._behind.add(laggard)

    def discard(self, laggard: Laggard) -> None:
        """Nothing waits for it any more."""
        self._watched.pop(laggard, None)
        self._reached(laggard)

    def close(self) -> None:
        """Watch nobody any more."""
        self._watched.clear()
        self._behind.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _reached(self, laggard: Laggard) -> None:
        if laggard in self._behind:
            self._behind.remove(laggard)
            if not self._behind:
                self._on_none()

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for laggard, watch in list(self._watched.items()):
            if laggard.backlog != watch.backlog:
                watch.backlog, watch.moved = laggard.backlog, now
            if laggard in self._behind and _is_too_slow(watch, laggard, now):
                self._on_slow()
                laggard.too_slow()
                self.discard(laggard)
        if self._watched:
            self._timer = self._loop.call_later(LOOK, self._look)


def _is_too_slow(watch: _Watch, laggard: Laggard, now: float) -> bool:
    """Whether a browser has read nothing lately, or too little since it is waited for."""
    read = watch.first - laggard.backlog - laggard.lag
    patience = REMOTE_PATIENCE if laggard.acknowledges else PATIENCE
    return now - watch.moved > patience or now - watch.since > 1.0 + read / PACE
