"""Groups of connections, in this gateway's memory, and what is on its way to their members."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Protocol

from .shared import Shared

__all__ = ["Groups", "Member", "Turn"]

#: Bytes to count for a delivery besides its payload.
OVERHEAD = 64


class Member(Protocol):
    """What a group needs of a connection.

    Attributes:
        groups: of which it is a member; ``None`` for none.
    """

    groups: set[str] | None

    @property
    def conn(self) -> int: ...
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


class _Delivery:
    """A message on its way; ``done`` of its members have it."""

    __slots__ = ("done", "members", "message")

    def __init__(self, message: Shared, members: list[Member]) -> None:
        self.message = message
        self.members = members
        self.done = 0


class Groups:
    """Who is in which group. An empty group does not exist.

    Attributes:
        published: what has not reached all members yet. Bounded by whoever publishes: it delivers
            all before it takes anything more.
    """

    def __init__(self) -> None:
        self.published: deque[_Delivery] = deque()
        self._members: dict[str, dict[int, Member]] = {}

    def join(self, group: str, member: Member) -> None:
        """Make a connection a member."""
        if member.groups is None:
            member.groups = set()
        member.groups.add(group)
        self._members.setdefault(group, {})[member.conn] = member

    def leave(self, group: str, member: Member) -> None:
        """End a membership."""
        if member.groups is not None:
            member.groups.discard(group)
        self._remove(group, member)

    def leave_all(self, member: Member) -> None:
        """The connection has ended. What it was a member of stays written there, for others to
        read."""
        for group in member.groups or ():
            self._remove(group, member)

    def _remove(self, group: str, member: Member) -> None:
        members = self._members.get(group)
        if members is not None:
            members.pop(member.conn, None)
            if not members:
                del self._members[group]

    def members(self, group: str) -> Collection[Member]:
        """The connections in a group."""
        return self._members.get(group, {}).values()

    def publish(self, message: Shared, exclude: int = 0) -> None:
        """Send a message to every member; leaves with :meth:`deliver`.

        Args:
            exclude: the connection that does not get it; 0 for none.
        """
        members = self._members.get(message.group)
        if members:
            chosen = [member for conn, member in members.items() if conn != exclude]
            self.published.append(_Delivery(message, chosen))

    def deliver(self, turn: Turn) -> bool:
        """Deliver what was published, as far as the turn goes. False if some is left."""
        published = self.published
        while published:
            delivery = published[0]
            message, done = delivery.message, delivery.done
            count = turn.take(len(delivery.members) - done, len(message.data))
            for member in delivery.members[done : done + count]:
                member.send_shared(message)
            delivery.done += count
            if delivery.done < len(delivery.members):
                return False
            published.popleft()
        return True
