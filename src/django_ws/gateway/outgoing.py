"""What waits for a browser that cannot take it yet."""

from __future__ import annotations

from collections import deque

from ..wire.messages import Emit, Reply, Send
from .shared import Shared

__all__ = ["Outgoing"]


class Outgoing:
    """Messages in order: the handler's own, bounded by its send window, and those of groups.

    Attributes:
        group_bytes: of group messages; all who wait for one share its payload.
        close: code and reason of a close that follows behind all of them; nothing comes after it.
    """

    __slots__ = ("_items", "close", "group_bytes")

    def __init__(self) -> None:
        self._items: deque[Send | Emit | Reply | Shared] = deque()
        self.group_bytes = 0
        self.close: tuple[int, str] | None = None

    def __bool__(self) -> bool:
        return bool(self._items)

    def add(self, message: Send | Emit | Reply) -> None:
        """Append a message of the connection's own handler."""
        if self.close is None:
            self._items.append(message)

    def add_shared(self, message: Shared) -> None:
        """Append a message of a group."""
        if self.close is None:
            self._items.append(message)
            self.group_bytes += len(message.data)

    def take(self) -> Send | Emit | Reply | Shared:
        """Remove the oldest."""
        item = self._items.popleft()
        if type(item) is Shared:
            self.group_bytes -= len(item.data)
        return item
