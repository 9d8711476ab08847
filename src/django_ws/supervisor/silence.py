"""Children that have fallen silent: that report no more, or have never got ready."""

from __future__ import annotations

from collections.abc import Iterable

from .child import Child, State

__all__ = ["Lateness", "Silence"]

#: Seconds between two looks.
LOOK = 1.0

#: Seconds beyond the timeout, so that a gateway, which hears from workers four times a second, is
#: the first to know: it resolves what the worker had before the process is gone.
LATER = 2.0


class Silence:
    """Finds children that report no more: stopped, or kept by an extension from running any Python.
    Those that have never reported still start.

    Args:
        timeout: seconds without a report; 0 for any time.

    Attributes:
        look_at: when to look again, on the monotonic clock.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout + LATER if timeout else float("inf")
        self.look_at = 0.0 if timeout else float("inf")

    def look(self, children: Iterable[Child], now: float) -> list[Child]:
        """The children that are silent for too long. To be called after all was read."""
        if now < self.look_at:
            return []
        # It may be this process that was stopped, and the children with it: a new chance for all.
        late = now - self.look_at > LOOK
        self.look_at = now + LOOK
        silent = []
        for child in children:
            if not child.reported or child.killed:
                continue
            if late:
                child.reported = now
            elif now - child.reported > self._timeout:
                silent.append(child)
        return silent


class Lateness:
    """Finds children that are not ready in time, each once.

    Args:
        timeout: seconds from the start of the process; 0 for any time.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout or float("inf")
        self._told: set[str] = set()  # incarnations; only of children that still start

    def look(self, children: Iterable[Child], now: float) -> list[Child]:
        """The children whose time is over."""
        starting = [child for child in children if child.state is State.STARTING]
        self._told.intersection_update(child.incarnation for child in starting)
        late = [child for child in self._waiting(starting) if now >= child.started + self._timeout]
        self._told.update(child.incarnation for child in late)
        return late

    def next(self, children: Iterable[Child]) -> float:
        """When to look again, on the monotonic clock."""
        waiting = self._waiting(child for child in children if child.state is State.STARTING)
        return min((child.started + self._timeout for child in waiting), default=float("inf"))

    def _waiting(self, starting: Iterable[Child]) -> list[Child]:
        return [child for child in starting if child.incarnation not in self._told]
