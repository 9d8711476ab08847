"""One worker incarnation as a gateway sees it: what goes to it, and what is pinned to it."""

from __future__ import annotations

import asyncio
import enum
from collections import deque

from ..options import MAX_BATCH
from ..transport.events import EventsSender
from ..wire.codec import Batch, encode
from ..wire.messages import (
    WIRE_VERSION,
    Call,
    Connect,
    Event,
    Hello,
    Message,
    Restore,
    Resume,
    Role,
    Sequenced,
    size_of,
)
from .session import Session

__all__ = ["Health", "Worker"]

#: What a worker may have been sent without having received it: batches, and bytes.
CREDIT_BATCHES = 256
CREDIT_BYTES = 8 * MAX_BATCH

#: Batches that are sent without an answer, and seconds until the next one goes out all the same.
AHEAD = 2
NO_ANSWER = 0.001

#: Bytes to count for an event besides its payload; its names and numbers are shorter.
OVERHEAD = 64

#: Events of one batch whose sizes need not be looked at before it is encoded.
FEW = 100


class Health(enum.Enum):
    """``JOINING`` to ``READY`` to ``RETIRING``, any to ``DEAD``; ``DOUBT`` and back from ``READY``.

    Only ``READY`` gets new connections.
    """

    JOINING = enum.auto()
    READY = enum.auto()
    DOUBT = enum.auto()
    RETIRING = enum.auto()
    DEAD = enum.auto()


class Worker:
    """Sends events to one worker incarnation, everything of one loop turn in one batch.

    Attributes:
        identity: of the DEALER that its replies come from; empty until it is confirmed.
        expected: number of the next batch of replies.
        heard: loop time of its last sign of life.
        confirmed: it has sent something that was meant for this gateway.
        accepting: it has a thread or process left for a new connection.
        sessions: pinned to it, by number.
        handshakes: numbers of those that wait for its verdict.
        pending: events that are not encoded yet. Bounded: while the worker is blocked, sessions
            stop reading after the message at hand.
        blocked: out of credit, or ZeroMQ's queue is full.
        stalled: sessions to resume when it is no longer blocked.
        received: batches of replies that arrived here.
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
        self.identity = b""
        self.accepting = True
        self.expected = 1
        self.heard = loop.time()
        self.confirmed = False
        self.sessions: dict[int, Session] = {}
        self.handshakes: set[int] = set()
        self.pending: list[Event] = []
        self.blocked = False
        self.stalled: set[Session] = set()
        self.received = 0
        self._loop = loop
        self._project = project
        self._gateway = gateway
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._unanswered = 0  # batches sent since the last one of replies
        self._parts: deque[list[Event]] = deque()  # pending events, cut into batches
        # The next batch as the socket has refused it, with its events.
        self._refused: tuple[bytes, list[Event]] | None = None
        self._number = 0
        self._unreceived: deque[tuple[int, int]] = deque()  # number and bytes of batches under way
        self._unreceived_bytes = 0

    @property
    def resumes(self) -> bool:
        """Whether it can be asked if a browser that is back may go on."""
        return self.hello.resumes

    def pin(self, session: Session) -> None:
        """A session belongs here from now on."""
        self.sessions[session.conn] = session
        if not session.accepted:
            self.handshakes.add(session.conn)

    def unpin(self, session: Session) -> None:
        """No longer."""
        self.sessions.pop(session.conn, None)
        self.handshakes.discard(session.conn)

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
        while self.waiting and self.health is not Health.DEAD:
            if (
                len(self._unreceived) >= CREDIT_BATCHES
                or self._unreceived_bytes >= CREDIT_BYTES
                or not self._send()
            ):
                self.blocked = True
                return
        self._unblock()

    @property
    def waiting(self) -> bool:
        """Whether something is still to be sent."""
        return bool(self.pending or self._parts or self._refused)

    def _send(self) -> bool:
        data, events = self._refused or self._next()
        if not self.sender.send(data):
            self._refused = data, events  # to encode it again at each try would cost ever more
            return False
        self._refused = None
        self._number += 1
        self._unanswered += 1
        self._unreceived.append((self._number, len(data)))
        self._unreceived_bytes += len(data)
        return True

    def _next(self) -> tuple[bytes, list[Event]]:
        """Encode the next batch."""
        if not self._parts:
            events, self.pending = self.pending, []
            if len(events) <= FEW:
                data = self._encode(events)
                if len(data) <= MAX_BATCH or len(events) == 1:
                    return data, events
            self._parts.extend(_cut(events))
        events = self._parts.popleft()
        return self._encode(events), events

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
        refused = self._refused[1] if self._refused else []
        for events in (refused, *self._parts, self.pending):
            for event in events:
                if isinstance(event, Sequenced | Restore):
                    first.setdefault(event.conn, event.seq)
        return first

    def close(self) -> None:
        """Close the socket; the worker is dead."""
        self.health = Health.DEAD
        self.pending = []
        self._parts.clear()
        self._refused = None
        self.sender.close()


def _cut(events: list[Event]) -> list[list[Event]]:
    """Parts of about ``MAX_BATCH`` bytes at most, or of one event."""
    parts: list[list[Event]] = [[]]
    room = MAX_BATCH
    for event in events:
        size = _size(event)
        if size > room and parts[-1]:
            parts.append([])
            room = MAX_BATCH
        room -= size
        parts[-1].append(event)
    return parts


def _size(event: Event) -> int:
    if isinstance(event, Message):
        return len(event.data) + OVERHEAD
    if isinstance(event, Call):
        return len(event.name) + size_of(event) + OVERHEAD
    if isinstance(event, (Connect, Resume)):
        return len(event.handshake) + OVERHEAD
    if isinstance(event, Restore):
        return len(event.handshake) + len(event.snapshot.state) + OVERHEAD
    return OVERHEAD
