"""One worker incarnation as a gateway sees it: its events link and what is pinned to it."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from typing import TYPE_CHECKING

from ..options import MAX_BATCH
from ..transport.events import EventsSender
from ..wire.codec import Batch, encode
from ..wire.messages import (
    WIRE_VERSION,
    Connect,
    Disconnect,
    Event,
    Hello,
    Message,
    Restore,
    Role,
)

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Health", "WorkerLink"]

#: What a worker may have been sent without having received it: batches, and bytes.
CREDIT_BATCHES = 256
CREDIT_BYTES = 8 * MAX_BATCH

#: Batches that are sent without an answer, and seconds until the next one goes out all the same.
AHEAD = 2
NO_ANSWER = 0.001


class Health(enum.Enum):
    """``JOINING`` to ``READY`` to ``RETIRING``, any to ``DEAD``; ``DOUBT`` and back from ``READY``.

    Only ``READY`` gets new connections.
    """

    JOINING = enum.auto()
    READY = enum.auto()
    DOUBT = enum.auto()
    RETIRING = enum.auto()
    DEAD = enum.auto()


class WorkerLink:
    """Sends events to one worker incarnation, everything of one loop turn in one batch.

    Attributes:
        expected: number of the next batch of replies.
        heard: loop time of its last sign of life.
        confirmed: it has sent something that was meant for this gateway.
        sessions: pinned to it, by number.
        handshakes: sessions that wait for its verdict.
        pending: events that are not sent yet. Bounded: while the link is blocked, sessions stop
            reading after the message at hand.
        blocked: out of credit, or ZeroMQ's queue is full.
        stalled: sessions to resume when it is no longer blocked.
    """

    def __init__(
        self,
        incarnation: str,
        hello: Hello,
        sender: EventsSender,
        loop: asyncio.AbstractEventLoop,
        project: str,
        gateway: str,
    ) -> None:
        self.incarnation = incarnation
        self.hello = hello
        self.sender = sender
        self.health = Health.JOINING
        self.accepting = True
        self.expected = 1
        self.heard = loop.time()
        self.confirmed = False
        self.sessions: dict[int, Session] = {}
        self.handshakes = 0
        self.pending: list[Event] = []
        self.blocked = False
        self.stalled: set[Session] = set()
        self.received = 0  # batches of replies that arrived here
        self._loop = loop
        self._project = project
        self._gateway = gateway
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._unanswered = 0  # batches sent since the last one of replies
        self._number = 0
        self._unreceived: deque[tuple[int, int]] = deque()  # number and bytes of batches under way
        self._unreceived_bytes = 0

    def post(self, event: Event) -> None:
        """Send an event with the batch of this turn, or with the next one.

        While the worker has not answered the last few batches, more would only cost: what comes
        meanwhile waits for its answer, but never longer than a millisecond.
        """
        self.pending.append(event)
        if not self._scheduled:
            self._scheduled = True
            if self._unanswered < AHEAD:
                self._loop.call_soon(self.flush)
            else:
                self._timer = self._loop.call_later(NO_ANSWER, self.flush)

    def answered(self) -> None:
        """A batch of replies has come."""
        self._unanswered = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what is pending, as far as credit and the socket go."""
        self._scheduled = False
        self._timer = None
        while self.pending and self.health is not Health.DEAD:
            if (
                len(self._unreceived) >= CREDIT_BATCHES
                or self._unreceived_bytes >= CREDIT_BYTES
                or not self._send()
            ):
                self.blocked = True
                return
        self._unblock()

    def _send(self) -> bool:
        events = self.pending
        rest: list[Event] = []
        data = self._encode(events)
        if len(data) > MAX_BATCH and len(events) > 1:
            # Rare enough that looking at every size beforehand would cost more.
            cut = _cut(events)
            events, rest = events[:cut], events[cut:]
            data = self._encode(events)
        if not self.sender.send(data):
            return False
        self.pending = rest
        self._number += 1
        self._unanswered += 1
        self._unreceived.append((self._number, len(data)))
        self._unreceived_bytes += len(data)
        return True

    def _encode(self, events: list[Event]) -> bytes:
        return encode(
            Batch(
                min(WIRE_VERSION, self.hello.wire),
                self._project,
                self._gateway,
                self.incarnation,
                self._number + 1,
                self.received,
                events,
                {},
                Role.GATEWAY,
            )
        )

    def credit(self, received: int) -> None:
        """The worker has received every batch up to ``received``."""
        unreceived = self._unreceived
        while unreceived and unreceived[0][0] <= received:
            self._unreceived_bytes -= unreceived.popleft()[1]
        if self.blocked:
            self.flush()

    def _unblock(self) -> None:
        if self.blocked:
            self.blocked = False
            stalled, self.stalled = self.stalled, set()
            for session in stalled:
                session.resume()

    def unsent(self) -> dict[int, int]:
        """Connections with the seq of their first event that has not left this gateway."""
        first: dict[int, int] = {}
        for event in self.pending:
            if isinstance(event, (Connect, Message, Disconnect, Restore)):
                first.setdefault(event.conn, event.seq)
        return first

    def close(self) -> None:
        """Close the socket; the link is dead."""
        self.health = Health.DEAD
        self.pending = []
        self.sender.close()


def _cut(events: list[Event]) -> int:
    """How many events make up a batch of ``MAX_BATCH`` bytes of payload, at least one."""
    room = MAX_BATCH
    for index, event in enumerate(events):
        room -= _size(event)
        if room < 0 and index:
            return index
    return len(events)


def _size(event: Event) -> int:
    if isinstance(event, Message):
        return len(event.data)
    if isinstance(event, Connect):
        return len(event.handshake)
    if isinstance(event, Restore):
        return len(event.handshake) + len(event.snapshot.state)
    return 0
