"""What is on its way to many connections, a part in each turn of the loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from .shared import Shared

__all__ = ["Deliveries", "Delivery", "Receiver", "Turn"]

#: Bytes to count for a delivery besides its payload.
OVERHEAD = 64


class Receiver(Protocol):
    """Whoever gets what many get."""

    def send_shared(self, message: Shared) -> None: ...


class Turn:
    """What may be delivered before other things in the loop get theirs.

    Args:
        deliveries: how many messages.
        size: bytes.
    """

    __slots__ = ("_deliveries", "_size")

    def __init__(self, deliveries: int, size: int) -> None:
        self._deliveries = deliveries
        self._size = size

    @property
    def over(self) -> bool:
        """Whether it is used up."""
        return self._deliveries <= 0 or self._size <= 0

    def spend(self, deliveries: int, size: int) -> None:
        """Use some of it."""
        self._deliveries -= deliveries
        self._size -= size

    def take(self, most: int, size: int) -> int:
        """Use it up for up to ``most`` deliveries of ``size`` bytes each; returns how many."""
        if self.over:
            return 0
        count = min(most, self._deliveries, -(-self._size // (size + OVERHEAD)))
        self.spend(count, count * (size + OVERHEAD))
        return count


class Delivery:
    """A message on its way; ``done`` of its members have it."""

    __slots__ = ("done", "members", "message")

    def __init__(self, message: Shared, members: Sequence[Receiver]) -> None:
        self.message = message
        self.members = members
        self.done = 0


class Deliveries:
    """Messages on their way, in the order in which they were added.

    Attributes:
        waiting: those that have not all left. Bounded by whoever adds: it delivers all before it
            takes anything more.
    """

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: deque[Delivery] = deque()

    def add(self, message: Shared, members: Sequence[Receiver]) -> None:
        """Send a message to these, whatever groups they are in."""
        if members:
            self.waiting.append(Delivery(message, members))

    def deliver(self, turn: Turn) -> bool:
        """Deliver as far as the turn goes. False if some is left."""
        waiting = self.waiting
        while waiting:
            delivery = waiting[0]
            message, done = delivery.message, delivery.done
            count = turn.take(len(delivery.members) - done, len(message.data))
            for member in delivery.members[done : done + count]:
                member.send_shared(message)
            delivery.done += count
            if delivery.done < len(delivery.members):
                return False
            waiting.popleft()
        return True
