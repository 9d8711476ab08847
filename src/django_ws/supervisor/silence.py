"""Workers that have fallen silent: stopped, or kept by an extension from running any Python."""

from __future__ import annotations

from collections.abc import Iterable

from .child import Child

__all__ = ["Silence"]

#: Seconds between two looks.
LOOK = 1.0

#: Seconds beyond the timeout, so that a gateway, which hears from workers four times a second, is
#: the first to know: it resolves what the worker had before the process is gone.
LATER = 2.0


class Silence:
    """Finds children that report no more. Those that have never reported still start.

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
