"""Who is next in the pool, and whether one more thread may block: two kinds of events share it."""

from __future__ import annotations

from collections import deque

from ...wire.messages import Message
from ..connection import WorkerConnection

__all__ = ["Share", "Shares"]


class Share:
    """One kind of events.

    Attributes:
        ready: connections whose next event is of this kind, and that no thread has.
        active: threads in hooks of this kind that may block.
    """

    __slots__ = ("active", "ready")

    def __init__(self) -> None:
        self.ready: deque[WorkerConnection] = deque()
        self.active = 0


class Shares:
    """Messages, bounded by the windows, and whatever else happens to a connection.

    Of the threads beyond the limit each kind has its part: messages find one although all others
    are in ``on_connect`` or ``on_close``, and these although all others are in messages. Where both
    kinds wait they take turns. Everything is guarded by the pool's lock.

    Args:
        limit: threads in hooks that may block.

    Attributes:
        active: threads that are in such hooks.
    """

    __slots__ = ("_others_next", "active", "limit", "messages", "others", "reserve")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reserve = max(2, limit // 16)
        self.active = 0
        self.messages = Share()
        self.others = Share()
        self._others_next = False

    def add(self, connection: WorkerConnection) -> None:
        """The first event in the connection's queue is to be handled."""
        share = self.messages if type(connection.queue[0]) is Message else self.others
        share.ready.append(connection)

    def claim(self) -> WorkerConnection | None:
        """The connection to run next; ``None`` if there is none, or no room for it."""
        messages, others = self.messages, self.others
        if others.ready and (self._others_next or not messages.ready) and self._room(others):
            self._others_next = False
            return others.ready.popleft()
        if messages.ready and (self.active < self.limit or self._room(messages)):
            self._others_next = True
            return messages.ready.popleft()
        if others.ready and self._room(others):
            return others.ready.popleft()
        return None

    def enter(self, share: Share) -> None:
        """One more thread may block."""
        self.active += 1
        share.active += 1

    def leave(self, share: Share) -> None:
        """One fewer."""
        self.active -= 1
        share.active -= 1

    def _room(self, share: Share) -> bool:
        if self.active < self.limit:
            return True
        return share.active < self.reserve and self.active < self.limit + self.reserve
