"""What a worker has to say to one gateway and has not said yet."""

from __future__ import annotations

import threading
from typing import Protocol

from ..options import MAX_BATCH
from ..wire.messages import (
    Emit,
    GroupSend,
    Released,
    Reply,
    SaveSnapshot,
    Send,
    WorkerMessage,
    size_of,
)

__all__ = ["Outbox", "Windowed", "cut"]

#: Messages that are sent without waiting for more.
PLENTY = 256

#: Bytes to count for a message besides its payload, so that empty ones are bounded, too.
OVERHEAD = 64


class Windowed(Protocol):
    """What an outbox needs of the connections that send.

    Attributes:
        unconfirmed: bytes sent and not confirmed; guarded by the outbox's lock.
    """

    unconfirmed: int


class Outbox:
    """Messages and acknowledgements, in order. Any thread may put; bounded by the connections' send
    windows.

    Attributes:
        lock: guards the outbox and the connections' send windows.
        max_pending: bytes that may be unconfirmed of a connection.
        handled: events that are done with; guarded by lock.
    """

    def __init__(self) -> None:
        self.max_pending = MAX_BATCH
        self.handled = 0
        self.lock = threading.Lock()
        self._messages: list[WorkerMessage] = []  # guarded by lock
        self._acks: dict[int, int] = {}  # guarded by lock
        self._size = 0  # guarded by lock

    def put(self, *messages: WorkerMessage) -> None:
        """Append to the outbox; leaves with the next flush of its link."""
        with self.lock:
            self.append(*messages)

    def append(self, *messages: WorkerMessage) -> None:
        """What :meth:`put` does, for callers that have ``lock``."""
        self._messages.extend(messages)
        for message in messages:
            self._size += _size(message)

    def pass_on(self, messages: list[WorkerMessage], acks: dict[int, int]) -> None:
        """Append a batch of a connection's own process, so that it stays one."""
        with self.lock:
            self.append(*messages)
            self._acks.update(acks)

    def put_send(self, connection: Windowed, message: Send | Emit | Reply, size: int) -> bool:
        """Append one message for a browser unless its send window is used up.

        Args:
            size: bytes of it, attachments included.

        Returns:
            False if the client has to read first; nothing was appended then.
        """
        lock = self.lock
        lock.acquire()  # half of what "with" costs, and this is done for each message
        try:
            used = connection.unconfirmed
            # Not "used + size": a message of any allowed size passes.
            if used >= self.max_pending:
                return False
            connection.unconfirmed = used + size
            self._messages.append(message)
            self._size += size + OVERHEAD
        finally:
            lock.release()
        return True

    def done(self, conn: int, seq: int, saved: SaveSnapshot | None) -> None:
        """An event is handled: acknowledge it, behind everything put before.

        Args:
            seq: 0 for an event that has none.
            saved: the snapshot that goes with it, if it changed.
        """
        lock = self.lock
        lock.acquire()
        try:
            self.handled += 1
            if saved is not None:
                self.append(saved)
            if seq:
                self._acks[conn] = seq
        finally:
            lock.release()

    @property
    def hurry(self) -> bool:
        """Whether more than acknowledgements is in the outbox."""
        return bool(self._messages)

    @property
    def plenty(self) -> bool:
        """Whether the outbox is worth a batch of its own by now."""
        return len(self._messages) >= PLENTY

    @property
    def congested(self) -> bool:
        """Whether so much is in the outbox that whoever adds to it has to wait."""
        return self._size > 4 * MAX_BATCH

    def _take(self) -> tuple[list[WorkerMessage], dict[int, int], int]:
        """Empty it: messages, acknowledgements, and about how many bytes."""
        with self.lock:
            taken = self._messages, self._acks, self._size
            if self._messages or self._acks:
                self._messages, self._acks, self._size = [], {}, 0
        return taken


def _size(message: WorkerMessage) -> int:
    """About the bytes that a message takes up."""
    if isinstance(message, (Send, GroupSend)):
        return len(message.data) + OVERHEAD
    if isinstance(message, (Emit, Reply)):
        return size_of(message) + OVERHEAD
    if isinstance(message, (SaveSnapshot, Released)):
        return len(message.snapshot.state) + OVERHEAD
    return OVERHEAD


def cut(messages: list[WorkerMessage]) -> list[list[WorkerMessage]]:
    """Cut into runs of at most ``MAX_BATCH`` bytes, or one larger message."""
    parts: list[list[WorkerMessage]] = [[]]
    room = MAX_BATCH
    for message in messages:
        size = _size(message)
        if size > room and parts[-1]:
            parts.append([])
            room = MAX_BATCH
        parts[-1].append(message)
        room -= size
    return parts
