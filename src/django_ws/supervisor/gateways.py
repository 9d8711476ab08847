"""The gateways of a supervisor: they share a port, and are renewed one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from ..options import GatewayConfig
from .child import Child
from .slots import GRACE, Slot

__all__ = ["Relay", "shared"]


def shared(config: GatewayConfig, sub_sockets: Sequence[str]) -> tuple[GatewayConfig, ...]:
    """The configurations of gateways that listen on one port.

    Args:
        config: what they have in common.
        sub_sockets: the replies endpoint of each.
    """
    if len(sub_sockets) == 1:
        return (msgspec.structs.replace(config, sub_socket=sub_sockets[0]),)
    # Only the first one sees to it that the port is nobody else's, so the others wait for it.
    return tuple(
        msgspec.structs.replace(config, sub_socket=endpoint, sharing="more" if index else "first")
        for index, endpoint in enumerate(sub_sockets)
    )


class Relay:
    """Renews gateways one after the other: each drains and ends, and the next one has its turn when
    another is ready in its place. So all but one serve at any time.

    A gateway cannot wait for its successor as a worker does, since both have the same endpoint.

    Args:
        slots: of the gateways.
        seconds: that each has for its drain.
    """

    def __init__(self, slots: Sequence[Slot], seconds: float) -> None:
        self._slots = slots
        self._seconds = seconds
        # Bounded by the number of slots: each is in it once at most.
        self._queue: deque[Slot] = deque()
        self._current: Slot | None = None
        self._leaving: Child | None = None

    def begin(self) -> None:
        """Renew all; those whose turn has not come yet have it once."""
        self._queue = deque(self._slots)

    def renews(self, child: Child) -> bool:
        """Whether a gateway ends because it was told to, here."""
        return child is self._leaving

    def step(self, now: float) -> None:
        """Go on as far as it goes."""
        if self._current is not None:
            if self._current.child is self._leaving or not self._current.ready:
                return
            self._current = self._leaving = None
        while self._queue:
            slot = self._queue.popleft()
            if slot.child is None or not slot.ready:
                continue  # what starts is new already
            self._current, self._leaving = slot, slot.child
            slot.child.leave(
                now + self._seconds + GRACE,
                {"op": "drain", "seconds": self._seconds, "renewal": True},
            )
            return
