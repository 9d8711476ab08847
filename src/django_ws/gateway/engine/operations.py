"""Commands that wait for a server, and how they fail."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ...store.calls import Call
from .base import Failure
from .resp import pack

__all__ = ["AWAY", "BUSY", "PATIENCE", "UNKNOWN", "Operation", "Queue", "too_long"]

#: Seconds that a command may wait for the server to be there.
PATIENCE = 2.0

#: Commands that wait to be sent, and bytes of them. Policy: the newest is refused.
MAX_QUEUED = 20_000
MAX_QUEUED_BYTES = 64 * 1024 * 1024

AWAY = Failure("engine_away", "the engine is away")
UNKNOWN = Failure("engine_unknown", "the engine went away before it answered")
BUSY = Failure("engine_busy", "too much waits for the engine")


def too_long(since: float, now: float) -> bool:
    """Whether that is more than anybody waits for the server."""
    return now - since > PATIENCE


class Operation:
    """A command on its way.

    Attributes:
        done: called exactly once, with the value or a failure.
        began: loop time.
        in_full: the server does not know its script.
        asking: a server that does not have the keys yet is to answer.
    """

    __slots__ = ("asking", "began", "call", "done", "in_full", "size")

    def __init__(self, call: Call[Any], done: Callable[[Any], None], began: float) -> None:
        self.call = call
        self.done = done
        self.began = began
        self.size = sum(len(p) if isinstance(p, (bytes, str)) else 8 for p in call.parts)
        self.in_full = False
        self.asking = False

    def late(self, now: float) -> bool:
        """Whether it has waited for too long."""
        return too_long(self.began, now)

    def pack(self) -> bytes:
        """As bytes."""
        data = pack(self.call.command(in_full=self.in_full))
        return pack(("ASKING",)) + data if self.asking else data


class Queue:
    """Operations in order."""

    def __init__(self) -> None:
        self._waiting: deque[Operation] = deque()
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def answer(self) -> int:
        """See :attr:`.Call.answer`, of the oldest."""
        return self._waiting[0].call.answer

    @property
    def load(self) -> float:
        """How full it is, from 0 to 1."""
        return max(len(self._waiting) / MAX_QUEUED, self._bytes / MAX_QUEUED_BYTES)

    def add(self, operation: Operation) -> None:
        """Append one; it fails if there is no room."""
        if len(self._waiting) >= MAX_QUEUED or self._bytes >= MAX_QUEUED_BYTES:
            operation.done(BUSY)
        else:
            self._waiting.append(operation)
            self._bytes += operation.size

    def add_again(self, operation: Operation) -> None:
        """Put one back that was taken but not done: by its time, before all that came later."""
        index = 0
        while index < len(self._waiting) and self._waiting[index].began <= operation.began:
            index += 1
        self._waiting.insert(index, operation)
        self._bytes += operation.size

    def take(self) -> Operation:
        """Remove the oldest."""
        operation = self._waiting.popleft()
        self._bytes -= operation.size
        return operation

    def take_late(self, now: float) -> list[Operation]:
        """Remove those that have waited for too long."""
        found = []
        while self._waiting and self._waiting[0].late(now):
            found.append(self.take())
        return found

    def take_of(self, bucket: int) -> list[Operation]:
        """Remove those of a bucket."""
        found = [each for each in self._waiting if each.call.bucket == bucket]
        if found:
            self._waiting = deque(each for each in self._waiting if each.call.bucket != bucket)
            self._bytes -= sum(each.size for each in found)
        return found

    def take_all(self) -> list[Operation]:
        """Remove all."""
        found, self._waiting = list(self._waiting), deque()
        self._bytes = 0
        return found
