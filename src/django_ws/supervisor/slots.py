"""Places of the process tree, and how what is in them is replaced."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from .child import Child, Role, State

__all__ = ["GRACE", "Backoff", "Rolling", "Slot"]

#: Seconds that a child has beyond what it was told, before it is killed.
GRACE = 1.0


class Backoff:
    """How long to wait before something that died is started again."""

    FIRST = 0.1
    LAST = 5.0
    #: Seconds, its start included, after which a child counts as having run well: then its end is
    #: an accident of its own, and the service is back at once.
    STEADY = 2.0

    def __init__(self) -> None:
        self._delay = self.FIRST

    def next(self, alive: float) -> float:
        """Seconds to wait now, given how many it was alive: 0.1, doubling to 5."""
        if alive >= self.STEADY:
            self.reset()
        delay = self._delay
        self._delay = min(2 * delay, self.LAST)
        return delay

    def reset(self) -> None:
        """Begin anew."""
        self._delay = self.FIRST


#: Seconds between two replacements of the same worker for what it has handled or takes.
RECYCLE_INTERVAL = 10.0


class Slot:
    """A place for one child and, while it is being replaced, for its successor.

    Attributes:
        index: 0 for the first of its role.
        start_at: when to start a child if there is none; on the monotonic clock.
        replace_after: not to be recycled earlier than that.
    """

    def __init__(self, role: Role, index: int = 0, start_at: float = float("inf")) -> None:
        self.role = role
        self.index = index
        self.child: Child | None = None
        self.successor: Child | None = None
        self.start_at = start_at
        self.replace_after = 0.0
        self.backoff = Backoff()

    @property
    def ready(self) -> bool:
        """Whether its child works."""
        return self.child is not None and self.child.state is State.READY


class Rolling:
    """Replaces children one at a time: the new one is ready before the old one has to go.

    Args:
        start: starts a slot's successor; ``None`` if that is not possible.
    """

    def __init__(self, start: Callable[[Slot], Child | None]) -> None:
        self._start = start
        # Bounded by the number of slots: each is in it once at most.
        self._queue: deque[tuple[Slot, float]] = deque()
        self._retiring: Child | None = None
        self._again: tuple[Sequence[Slot], float] | None = None

    @property
    def busy(self) -> bool:
        """Whether something is being replaced."""
        return bool(self._queue) or self._retiring is not None

    def one(self, slot: Slot, seconds: float) -> None:
        """Replace one slot's child, which has so many seconds to hand over."""
        if all(slot is not queued for queued, _ in self._queue):
            self._queue.append((slot, seconds))

    def all(self, slots: Sequence[Slot], seconds: float) -> None:
        """Replace all; what is on its way is finished before."""
        if self.busy:
            self._again = (slots, seconds)
        else:
            self._queue.extend((slot, seconds) for slot in slots)

    def afresh(self, slots: Sequence[Slot], seconds: float) -> None:
        """Replace all, because a successor that is just starting is out of date already."""
        self.cancel()
        self._queue.extend((slot, seconds) for slot in slots)

    def cancel(self) -> None:
        """Replace nothing more; kill what is starting."""
        for slot, _ in self._queue:
            if slot.successor is not None:
                slot.successor.kill()
                slot.successor = None
        self._queue.clear()
        self._again = None

    def arrived(self, slot: Slot, now: float) -> None:
        """The slot's successor is ready: it takes over."""
        _, seconds = self._queue.popleft()
        old, slot.child, slot.successor = slot.child, slot.successor, None
        if old is not None:
            old.leave(now + seconds + GRACE, {"op": "retire", "seconds": seconds})
            self._retiring = old

    def failed(self, slot: Slot) -> None:
        """The slot's successor cannot start: the old ones stay."""
        slot.successor = None
        self._queue.clear()

    def step(self, now: float) -> None:
        """Go on as far as it goes."""
        if self._retiring is not None:
            if self._retiring.state is not State.GONE:
                return
            self._retiring = None
        if not self._queue and self._again is not None:
            slots, seconds = self._again
            self._again = None
            self.all(slots, seconds)
        while self._queue:
            slot, _ = self._queue[0]
            if slot.successor is not None:
                return
            if slot.ready:
                slot.successor = self._start(slot)
                if slot.successor is None:
                    self.failed(slot)
                return
            # Nothing that works is there to be kept.
            self._queue.popleft()
            if slot.child is not None:
                slot.child.kill()
                slot.child = None
            slot.start_at = now
