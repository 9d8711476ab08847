"""What waits for a browser that cannot take it yet."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ..wire.messages import Emit, Position, Reply, Send
from .shared import Shared

__all__ = ["Item", "Membership", "Outgoing"]


@dataclass(frozen=True, slots=True)
class Membership:
    """The news that a connection is in a group, or no more.

    Attributes:
        position: after which the group's publications follow; ``None`` if it has left.
        recovered: nothing is missing between what the client had and that position.
    """

    group: str
    position: Position | None
    recovered: bool = True


Item = Send | Emit | Reply | Shared | Membership


class Outgoing:
    """Messages in order: the handler's own, bounded by its send window, and those of groups.

    Attributes:
        group_bytes: of group messages; all who wait for one share its payload.
        close: code and reason of a close that follows behind all of them; nothing comes after it.
    """

    __slots__ = ("_items", "close", "group_bytes")

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self.group_bytes = 0
        self.close: tuple[int, str] | None = None

    def __bool__(self) -> bool:
        return bool(self._items)

    def add(self, message: Send | Emit | Reply | Membership) -> None:
        """Append what is the connection's own."""
        if self.close is None:
            self._items.append(message)

    def add_shared(self, message: Shared) -> None:
        """Append a message of a group."""
        if self.close is None:
            self._items.append(message)
            self.group_bytes += len(message.data)

    def take(self) -> Item:
        """Remove the oldest."""
        item = self._items.popleft()
        if type(item) is Shared:
            self.group_bytes -= len(item.data)
        return item
