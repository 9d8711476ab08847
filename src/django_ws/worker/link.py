"""One gateway as a worker sees it: the replies link, and the connections on it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from typing import Generic, Protocol, TypeVar

from ..options import MAX_BATCH
from ..wire.codec import Batch, WorkerBatch, encode
from ..wire.messages import Heartbeat, Hello, Role, WorkerMessage
from .outbox import Outbox, Windowed, cut

__all__ = ["GatewayLink", "ReplySocket"]

logger = logging.getLogger("django_ws.worker")

#: Credit goes back at once when so many batches, or bytes, have come in unmentioned.
CREDIT_BATCHES = 16
CREDIT_BYTES = MAX_BATCH

#: Seconds that a gateway may take nothing, until it counts as gone.
STUCK_AFTER = 30.0


class ReplySocket(Protocol):
    """What carries the batches: a DEALER, or the stream of a connection's own process."""

    def send(self, data: bytes, timeout: float = 0.0) -> bool:
        """Queue one batch; False if that was not possible within ``timeout`` seconds."""

    def receive(self) -> bytes | None:
        """An answer of the gateway; ``None`` if there is none."""

    def connect(self, *, lost: bool = False) -> None:
        """Look whether there is something to connect to; see :meth:`.RepliesSender.connect`."""

    def close(self) -> None:
        """Close, with a moment for what is queued."""


C = TypeVar("C", bound=Windowed)


class GatewayLink(Outbox, Generic[C]):
    """Replies to one incarnation of a gateway. Any thread may put and flush.

    Two locks, so that handlers never wait for a send that is under way: ``lock`` guards the
    outbox, ``_send_lock`` the socket and the numbering, taken in the order send lock, lock. Once
    the gateway is lost, the link swallows what is put: nobody could read it.

    Args:
        number: what :class:`.Hello` calls this link; another one each time it was down, so that
            the Welcome of a gateway that is gone again can be told from its successor's.
        socket: the connected DEALER, which a successor of this link takes over.
        project, incarnation: go into every batch.

    Attributes:
        gateway: incarnation of the gateway; empty until it says Welcome.
        version: of the wire, as agreed with the gateway; the receiving thread's until the Welcome.
        connections: by number. Inserted by the receiving thread, removed by the thread that ran
            the last hook; each a single dict operation. Iterate over a copy.
        expected, received, seen: number of the next batch of events, of the last one, and when
            it came; the receiving thread's.
        gone: the monitor says that the gateway went away; set once, by the main thread.
        told: the gateway has been told that this worker retires; the main thread's.
        drained: it has answered that nothing new is on its way; the receiving thread's.
        lost: nothing is sent any more; set once, by the receiving thread.
        flushing: a flush is already arranged for; the gevent executor's.
        handed_out: events given to the executor; the receiving thread's.
    """

    def __init__(self, number: int, socket: ReplySocket, project: str, incarnation: str) -> None:
        super().__init__()
        self.number = number  # raised by the main thread
        self.project = project
        self.incarnation = incarnation
        self.gateway = ""
        self.version = 1  # of the wire; an unknown gateway reads at least that
        self.connections: dict[int, C] = {}
        self.expected = 1
        self.received = 0
        self.seen = 0.0
        self.gone = False
        self.given_up = False
        self.told = False
        self.drained = False
        self.lost = False
        self.flushing = False
        self.handed_out = 0
        self.socket = socket  # guarded by _send_lock
        self._send_lock = threading.Lock()
        self._batches: deque[bytes] = deque()  # encoded; guarded by _send_lock
        self._number = 0  # guarded by _send_lock
        self._refused = 0.0  # since when the queue is full; guarded by _send_lock
        self._told = 0  # guarded by _send_lock
        self._unreturned = 0  # bytes; the receiving thread's
        self._accepting = True  # as of the last heartbeat; the main thread's

    def successor(self) -> GatewayLink[C]:
        """The link to whatever takes this gateway's place."""
        with self._send_lock:
            self.lost = True
        successor: GatewayLink[C] = GatewayLink(
            self.number, self.socket, self.project, self.incarnation
        )
        successor.given_up = self.given_up
        successor._send_lock = self._send_lock  # it guards the socket, which both have
        return successor

    # ------------------------------------------------------------------ receiving thread

    def welcome(self, gateway: str, max_pending: int, version: int) -> None:
        """The gateway has connected to our PULL socket, and speaks ``version`` of the wire."""
        self.version = version
        self.max_pending = max_pending
        self.gateway = gateway
        self.given_up = False
        logger.debug("gateway %s welcomed this worker", gateway)

    def arrived(self, number: int, size: int) -> None:
        """Note a batch of events, and return credit when enough has come in."""
        self.received = number
        self.expected = number + 1
        self._unreturned += size
        if self._unreturned >= CREDIT_BYTES or number - self._told >= CREDIT_BATCHES:
            self._unreturned = 0
            if self.gateway:
                # Whoever has the lock says it with its next batch.
                self._send_uncounted(Heartbeat(self._accepting), 0.0)

    # ------------------------------------------------------------------ any thread

    def flush(self) -> None:
        """Send what is in the outbox, without ever waiting.

        If another thread is at it, that one takes ours along; while the gateway's queue is full,
        the receiving thread sees to the rest.
        """
        while self._messages or self._acks or self._batches:
            if not self._send_lock.acquire(blocking=False):
                return
            try:
                self._send_outbox(0.0)
            finally:
                self._send_lock.release()
            if self._batches:
                return

    @property
    def up(self) -> bool:
        """Whether there is a gateway that takes what is put."""
        return bool(self.gateway) and not self.gone and not self.lost

    @property
    def full(self) -> bool:
        """Whether batches wait for the gateway to take some."""
        return bool(self._batches)

    def wait_for_room(self, timeout: float) -> None:
        """Send what waits for the gateway to take some; waits at most ``timeout`` seconds, be it
        for another thread that is at it."""
        if self._send_lock.acquire(timeout=timeout):
            try:
                self._send_outbox(timeout)
            finally:
                self._send_lock.release()
            self.flush()

    def flush_all(self) -> None:
        """Like :meth:`flush`, but returns only when our own part is on its way."""
        with self._send_lock:
            self._send_outbox(math.inf)
        self.flush()  # what others put meanwhile and left to us

    def flush_by(self, deadline: float) -> None:
        """Send all that is in the outbox, but do not wait for anything after ``deadline``.

        Args:
            deadline: of ``time.monotonic()``.
        """
        left = max(0.0, deadline - time.monotonic())
        if not self._send_lock.acquire(timeout=left):
            return  # a hook that does not end waits for the gateway
        try:
            while self._messages or self._acks or self._batches:
                self._send_outbox(min(0.1, left))
                left = max(0.0, deadline - time.monotonic())
                if not left:
                    return
        finally:
            self._send_lock.release()

    def hello(self, hello: Hello) -> None:
        """Announce this worker; skipped while the link is not up."""
        self._send_uncounted(hello)

    def beat(self, accepting: bool) -> None:
        """Send a heartbeat, which returns credit, too."""
        self._accepting = accepting
        if self.gateway:
            self._send_uncounted(Heartbeat(accepting))

    def _send_uncounted(self, message: WorkerMessage, patience: float = 0.2) -> None:
        # Whoever has the lock for long waits for the gateway, so another batch would not help.
        if self._send_lock.acquire(timeout=patience):
            try:
                self._told = self.received
                self.socket.send(encode(self._batch(0, [message], {})))
            finally:
                self._send_lock.release()
            self.flush()  # what others put meanwhile and left to us

    def _send_outbox(self, patience: float) -> None:
        if not self._send_waiting(patience):
            return  # what is in the outbox gathers there
        messages, acks, size = self._take()
        if size > MAX_BATCH:
            *parts, messages = cut(messages)
            for part in parts:
                self._encode(part, {})
        if messages or acks:
            self._encode(messages, acks)
            self._send_waiting(patience)

    def _send_waiting(self, patience: float) -> bool:
        """Send the encoded batches. False if some are left."""
        while self._batches:
            if not self._send(self._batches[0], patience):
                return False
            self._batches.popleft()
        return True

    def _encode(self, messages: list[WorkerMessage], acks: dict[int, int]) -> None:
        if not self.gateway or self.lost:
            return
        try:
            data = encode(self._batch(self._number + 1, messages, acks))
        except Exception:
            # Each is checked where it is put. But what slips through must not take others along.
            logger.exception("dropped a reply that cannot be encoded")
            messages = [message for message in messages if _can_be_encoded(message)]
            data = encode(self._batch(self._number + 1, messages, acks))
        self._number += 1
        self._told = self.received
        self._batches.append(data)

    def _send(self, data: bytes, patience: float) -> bool:
        """Send one batch. False if the queue is full; what nobody can read counts as sent."""
        if self.lost:
            return True
        while not self.socket.send(data, 0.0 if self.gone else min(0.5, patience)):
            if self.gone:
                return True
            now = time.monotonic()
            self._refused = self._refused or now
            if now - self._refused > STUCK_AFTER:
                logger.error("the gateway takes no replies for %g s; giving it up", STUCK_AFTER)
                self.gone = self.given_up = True
            elif patience != math.inf:
                return False
        self._refused = 0.0
        return True

    def _batch(
        self, number: int, messages: list[WorkerMessage], acks: dict[int, int]
    ) -> WorkerBatch:
        return Batch(
            self.version,
            self.project,
            self.incarnation,
            self.gateway,
            number,
            self.received,
            messages,
            acks,
            Role.WORKER,
        )

    # ------------------------------------------------------------------ main thread

    def answer(self) -> bytes | None:
        """What the gateway answered on the replies link."""
        if not self._send_lock.acquire(timeout=0.2):
            return None
        try:
            return self.socket.receive()
        finally:
            self._send_lock.release()
            self.flush()

    def connect(self, lost: bool) -> None:
        """Look whether there is a gateway to connect to.

        Args:
            lost: the link was cut since the last time.
        """
        if self._send_lock.acquire(timeout=0.2):
            try:
                self.socket.connect(lost=lost)
            finally:
                self._send_lock.release()

    def close(self) -> None:
        """Close the socket, with a moment for what is queued; unless a thread still waits in it."""
        if self._send_lock.acquire(timeout=0.1):
            try:
                self.socket.close()
            finally:
                self._send_lock.release()


def _can_be_encoded(message: WorkerMessage) -> bool:
    try:
        encode(message)
    except Exception:
        return False
    return True
