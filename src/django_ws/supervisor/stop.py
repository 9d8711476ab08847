"""How the tree ends in order: first the gateway, which closes the browsers, then all others."""

from __future__ import annotations

import logging
import time

from .child import Child, Role, State
from .children import Children
from .plan import Plan
from .slots import GRACE

__all__ = ["Stop"]

logger = logging.getLogger("django_ws.supervisor")

#: Seconds of a stop until what it waits for is said, and until it is said again.
ASK_AFTER = 1.0
ASK_AGAIN = 3.0


class Stop:
    """A stop that has begun.

    Attributes:
        next: when to :meth:`step` again at the latest, on the monotonic clock.
        done: everything is gone.
    """

    def __init__(self, plan: Plan, children: Children, now: float) -> None:
        seconds = plan.drain_timeout
        if plan.stop_timeout:
            seconds = min(seconds, plan.stop_timeout)
        self.next = now + ASK_AFTER
        self.done = False
        self._children = children
        self._deadline = now + seconds
        self._drained = False
        # What the workers need after the gateway: their on_close hooks.
        seconds -= min(5.0, seconds / 4)
        for child in children:
            if child.state is State.STARTING:
                child.kill()
            elif child.role is Role.GATEWAY:
                child.leave(
                    now + seconds + min(GRACE, seconds / 4), {"op": "drain", "seconds": seconds}
                )

    def step(self, now: float) -> None:
        """Go on as far as it goes."""
        roles = {child.role for child in self._children}
        if not self._drained and Role.GATEWAY not in roles:
            self._drained = True
            left = max(0.0, self._deadline - now)
            for child in self._children:
                child.leave(self._deadline, {"op": "stop", "seconds": left - min(GRACE, left / 4)})
        if self._drained and not roles:
            self.done = True
        if now >= self.next:
            self.next = now + ASK_AGAIN
            self._ask()

    def _ask(self) -> None:
        """Whoever waits for the end wants to know for what."""
        for child in self._children:
            if child.asked:
                logger.warning("The %s does not answer; Ctrl-C once more kills it now.", child)
            if child.role is Role.WORKER:
                child.asked = child.channel.send({"op": "busy"})

    def busy(self, child: Child, hooks: str) -> None:
        """A worker has answered, perhaps that no hook runs."""
        child.asked = False
        if hooks:
            left = max(0.0, self._deadline - time.monotonic())
            text = "The %s waits for %s. It is killed in %.0f s; Ctrl-C once more kills it now."
            logger.warning(text, child, hooks, left)
