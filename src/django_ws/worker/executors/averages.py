"""Which hooks block: moving averages of what their calls take, for the pool."""

from __future__ import annotations

import time

__all__ = ["SLOW", "SUSPICIOUS", "Average", "Averages", "waiting"]

#: Seconds that a hook may wait, for a database say, before it counts as blocking. What it computes
#: does not count: other threads could not run meanwhile anyway, so handing them the lead would only
#: make them fight for the GIL.
SLOW = 0.0003
#: Seconds above which it is looked at how much of a hook's time is waiting (which costs 1 µs).
SUSPICIOUS = 0.0001
#: Samples are clipped here, so that it takes more than one to make a hook count as blocking: it may
#: just have been its process that was held up.
CLIP = 0.001
#: Seconds until a hook that counts as blocking runs inline once more, since it may have looked so
#: only because something else held up the process. Doubles with each probe that finds it blocking,
#: because that keeps the lead until the watchdog comes.
PROBE_FIRST = 0.01
PROBE_LAST = 0.3


class Average:
    """Moving averages of one hook's times; written without a lock: a lost sample does no harm.

    Attributes:
        wall: seconds that a call takes.
        blocked: seconds of them in which it waits rather than computes.
        probe_at: ``time.monotonic()`` from which one call runs inline although it counts as slow.
        patience: seconds until then, from the sample before.
    """

    __slots__ = ("blocked", "patience", "probe_at", "wall")

    def __init__(self) -> None:
        self.wall = 0.0
        self.blocked = 0.0
        self.probe_at = 0.0
        self.patience = PROBE_FIRST

    def probe(self) -> bool:
        """Whether the next call runs inline although the hook counts as blocking."""
        now = time.monotonic()
        if now < self.probe_at:
            return False
        self.probe_at = now + PROBE_LAST  # one at a time; its sample says when the next one is due
        return True

    def add(self, wall: float, blocked: float) -> None:
        """Take a sample of a call that ran inline. Of others none is taken: what they wait for is
        the GIL more than anything else."""
        self.wall += (min(wall, CLIP) - self.wall) * 0.5
        more = min(blocked, CLIP) - self.blocked
        self.blocked += more * (0.25 if more > 0 else 0.5)
        if self.blocked > SLOW:
            again = blocked > SLOW
            self.patience = min(2 * self.patience, PROBE_LAST) if again else PROBE_FIRST
            self.probe_at = time.monotonic() + self.patience


class Averages:
    """Those of one handler class, by what happens to a connection."""

    __slots__ = ("close", "connect", "message", "open")

    def __init__(self) -> None:
        self.connect = Average()
        self.open = Average()
        self.message = Average()
        self.close = Average()


def waiting(wall: float, computed: float) -> float:
    """Seconds of a hook's time in which it waited for something outside.

    Args:
        wall: seconds it took.
        computed: CPU seconds of the whole process meanwhile. If that was busy most of the time, the
            hook waited for the GIL, if for anything.
    """
    return 0.0 if computed > 0.7 * wall else wall - computed
