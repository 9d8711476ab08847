"""When children are replaced: new code, SIGHUP, many messages, much memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from .child import Child
from .plan import Output, Plan
from .reload import INTERVAL, Watcher
from .slots import RECYCLE_INTERVAL, Rolling, Slot

__all__ = ["Renewal"]

logger = logging.getLogger("django_ws.supervisor")

#: Seconds between two looks at the workers' memory.
_MEMORY_INTERVAL = 1.0


class Renewal:
    """Decides what is replaced; :class:`.Rolling` does it.

    Args:
        slots: what can be replaced.
        workers: those of them whose messages and memory count.
        start: starts a slot's successor; ``None`` if that is not possible.
    """

    def __init__(
        self,
        plan: Plan,
        output: Output,
        slots: Sequence[Slot],
        workers: Sequence[Slot],
        start: Callable[[Slot], Child | None],
    ) -> None:
        self.rolling = Rolling(start)
        self._plan = plan
        self._output = output
        self._slots = slots
        self._workers = workers
        self._watcher = Watcher()
        self._look_at = 0.0 if plan.reload else float("inf")
        self._measure_at = 0.0 if plan.max_rss else float("inf")
        self._last_failure = ""

    @property
    def next(self) -> float:
        """When there is something to look at, on the monotonic clock."""
        return min(self._look_at, self._measure_at)

    def step(self, now: float) -> None:
        """Look whether files or memory call for it."""
        if now >= self._look_at:
            self._look_at = now + INTERVAL
            path = self._watcher.changed()
            if path is not None:
                self._changed(path)
        if now >= self._measure_at:
            self._measure_at = now + _MEMORY_INTERVAL
            self._measure(now)

    # ------------------------------------------------------------ code

    def watch(self, child: Child, files: Sequence[object]) -> None:
        """A child has loaded these files."""
        self._watcher.watch(map(str, files), child.started_at)

    def edited(self, path: str) -> None:
        """A child says that a file has changed that it cannot take up itself."""
        if self._plan.reload and self._watcher.heard(path):
            self._changed(path)

    def all(self) -> None:
        """Replace everything, in good order."""
        self._last_failure = ""
        self.rolling.all(self._slots, self._plan.drain_timeout)

    def arrived(self, slot: Slot) -> None:
        """A successor is ready."""
        self.rolling.arrived(slot, time.monotonic())
        self._watcher.settle()
        self._last_failure = ""

    def cannot_start(self, child: Child, text: str, files: object) -> None:
        """New code does not start: say so, and look for what mends it."""
        if isinstance(files, list):
            self.watch(child, files)
            self._watcher.watch_around(map(str, files))
        if text != self._last_failure:  # not again with every attempt
            self._last_failure = text
            self._output.failed(text)

    def _changed(self, path: str) -> None:
        logger.info("%s changed; replacing the workers.", path)
        self._last_failure = ""
        for slot in self._slots:
            slot.backoff.reset()
        self.rolling.afresh(self._slots, self._plan.reload_timeout)

    # ------------------------------------------------------------ wear

    def handled(self, slot: Slot, child: Child) -> None:
        """A worker has told how many messages it has handled."""
        if self._plan.max_requests and child.handled >= self._plan.max_requests:
            self._recycle(slot, child, f"has handled {child.handled} messages")

    def _measure(self, now: float) -> None:
        for slot in self._workers:
            if slot.child is None or now - slot.child.started < RECYCLE_INTERVAL:
                continue  # one that is over the limit from its start would never serve
            mib = slot.child.memory() / 2**20
            if mib > self._plan.max_rss:
                self._recycle(slot, slot.child, f"takes {mib:.0f} MiB")

    def _recycle(self, slot: Slot, child: Child, reason: str) -> None:
        now = time.monotonic()
        if not slot.ready or slot.successor or now < slot.replace_after:
            return
        slot.replace_after = now + RECYCLE_INTERVAL
        logger.info("The %s %s; replacing it.", child, reason)
        self.rolling.one(slot, self._plan.drain_timeout)
