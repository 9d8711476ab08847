"""All connections of a gateway: which worker each is pinned to, and what becomes of it without.

The rules are those of ``docs/reliability.md``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Mapping

from ..options import Limits
from ..wire.codec import encode
from ..wire.messages import Accept, Handshake, NamespaceInfo, Refuse
from .counters import Counters
from .groups import Hub
from .session import Session
from .worker_link import Health, WorkerLink

__all__ = ["Saturated", "Sessions", "UnknownNamespace"]

logger = logging.getLogger("django_ws.gateway.workers")

#: Workers that may die over the events of one connection; with the next one it is given up.
ATTEMPTS = 2
#: Seconds after which the end of a worker is no longer put down to a connection's on_restore.
SUSPICIOUS = 5.0


class UnknownNamespace(Exception):
    """No worker has a handler for it."""


class Saturated(Exception):
    """No worker has a thread or process left for a new connection."""


def _least(links: Iterable[WorkerLink], namespace: str) -> WorkerLink | None:
    """Of those that have a handler for the namespace the one with the fewest connections."""
    able = (link for link in links if namespace in link.hello.namespaces)
    return min(able, key=lambda link: len(link.sessions), default=None)


class Sessions:
    """See the module. Everything here runs on the event loop.

    Args:
        links: the workers, by incarnation; the registry's own dict.

    Attributes:
        by_conn: those that are not over yet.
        namespaces: of the newest ready worker.
        waiting: handshakes without a worker; bounded by the connection cap, and each ended by its
            deadline.
        emptied: set when there is none left.
    """

    def __init__(
        self,
        limits: Limits,
        links: Mapping[str, WorkerLink],
        loop: asyncio.AbstractEventLoop,
        counters: Counters,
    ) -> None:
        self.counters = counters
        self.hub = Hub()
        self.by_conn: dict[int, Session] = {}
        self.namespaces: dict[str, NamespaceInfo] = {}
        self.waiting: deque[Session] = deque()
        self.emptied = asyncio.Event()
        self.window_messages = limits.window_messages
        self.window_bytes = limits.window_bytes
        self.max_pending = limits.max_pending or 2**62
        self.confirm_step = self.max_pending // 4
        self._max_handshakes = limits.max_pending_handshakes or 2**31
        self._max_per_user = limits.max_connections_per_user
        self._hang_timeout = limits.hang_timeout or 1e9
        self._links = links
        self._loop = loop
        self._users: Counter[str] = Counter()
        # Accepted connections without a worker, with the time at which they came.
        self._homeless: OrderedDict[int, float] = OrderedDict()
        self._last_conn = 0

    def __len__(self) -> int:
        return len(self.by_conn)

    def now(self) -> float:
        """Loop time."""
        return self._loop.time()

    def connect(self, handshake: Handshake) -> Session:
        """Begin a session; its ``verdict`` is the worker's answer.

        Raises:
            UnknownNamespace: The workers have no such handler.
            Saturated: None of them has room.
        """
        if self.namespaces and handshake.namespace not in self.namespaces:
            raise UnknownNamespace(handshake.namespace)
        ready = [link for link in self._links.values() if link.health is Health.READY]
        if ready and not any(link.accepting for link in ready):
            raise Saturated
        self._last_conn += 1
        session = Session(
            self._last_conn,
            handshake.namespace,
            encode(handshake),
            self,
            self._loop.create_future(),
        )
        self.by_conn[session.conn] = session
        self.waiting.append(session)
        self.dispatch()
        return session

    def forget(self, session: Session) -> None:
        """The session is over."""
        if self.by_conn.pop(session.conn, None) is None:
            return
        self._homeless.pop(session.conn, None)
        worker = session.worker
        if worker is not None and not session.accepted:
            worker.handshakes -= 1
        session.detach()
        if session.user:
            self._users[session.user] -= 1
            if not self._users[session.user]:
                del self._users[session.user]
        self.hub.leave_all(session)
        if not self.by_conn:
            self.emptied.set()
        if self.waiting:
            self.dispatch()

    def place(self, session: Session) -> None:
        """Find a worker for an accepted connection; without one it waits for one to come."""
        if session.worker is not None:
            return  # being closed for the loss of its worker, it ended and found another one
        if session.closing and not session.ended:
            return  # nothing to run until its browser is gone
        worker = self._pick(session.namespace)
        if worker is not None:
            self._homeless.pop(session.conn, None)
            session.settle(worker)
            session.resume()
        elif session.namespace not in self.namespaces and self.namespaces and not session.ended:
            session.give_up(1012, "service restart")
        else:
            self.shelter(session)

    def shelter(self, session: Session) -> None:
        """Keep an accepted connection until a worker comes (back), or for ``hang_timeout``."""
        self._homeless.setdefault(session.conn, self._loop.time())

    def _ready(self) -> list[WorkerLink]:
        return [link for link in self._links.values() if link.health is Health.READY]

    def _pick(self, namespace: str) -> WorkerLink | None:
        """The ready worker with the fewest connections."""
        return _least(self._ready(), namespace)

    def dispatch(self) -> None:
        """Give waiting handshakes, in order, to workers that have room."""
        waiting = self.waiting
        while waiting and (waiting[0].ended or waiting[0].verdict.done()):
            waiting.popleft()
        free = [link for link in self._ready() if link.handshakes < self._max_handshakes]
        # Those with threads or processes left come first; the others say themselves what is wrong.
        free = [link for link in free if link.accepting] or free
        others: list[Session] = []  # of namespaces that have no room
        while waiting and free:
            session = waiting.popleft()
            if session.ended or session.verdict.done():
                continue
            worker = _least(free, session.namespace)
            if worker is None:
                others.append(session)
                continue
            worker.handshakes += 1
            if worker.handshakes >= self._max_handshakes:
                free.remove(worker)
            session.settle(worker)
        waiting.extendleft(reversed(others))

    def accept(self, link: WorkerLink, session: Session, accept: Accept) -> None:
        """A worker accepted a handshake."""
        link.handshakes -= 1
        limit = self._max_per_user
        if accept.user:
            self._users[accept.user] += 1
        session.accept(accept)
        if accept.user and limit and self._users[accept.user] > limit and not session.ended:
            self.counters["closed_limit"] += 1
            session.give_up(3504, "too many connections of this user")
        if link.health is Health.RETIRING:
            session.release()
        if self.waiting:
            self.dispatch()

    def serve_waiting(self) -> None:
        """A worker has come, or come back."""
        for conn in list(self._homeless):
            session = self.by_conn.get(conn)
            if session is None:
                self._homeless.pop(conn, None)
            else:
                self.place(session)
        self.dispatch()
        for session in [s for s in self.waiting if s.namespace not in self.namespaces]:
            session.refuse(Refuse(session.conn, 404, "unknown namespace"))

    def orphan(self, session: Session, first_unsent: int) -> None:
        """Decide about a connection whose worker died.

        Args:
            first_unsent: seq of the first event that had not left this gateway.
        """
        if session.held_from:
            first_unsent = min(first_unsent, session.held_from)
        session.detach()
        if not session.accepted:
            self._orphan_handshake(session)
            return
        info = self.namespaces.get(session.namespace, NamespaceInfo())
        in_flight = bool(session.unacked) and session.unacked[0].seq < first_unsent
        # It may be this connection that kills workers; the others shall not go on paying for it.
        restored = session.restoring and self.now() - session.restoring < SUSPICIOUS
        if in_flight or restored:
            session.attempts += 1
        if session.attempts > ATTEMPTS and session.ended:
            self.counters["on_close_abandoned"] += 1
            logger.error("%d workers died over one connection; abandoned", session.attempts)
            self.forget(session)
            return
        if session.closing:
            session.give_up(1012, "service restart")
        elif session.attempts > ATTEMPTS:
            self.counters["worker_lost_closed"] += 1
            session.give_up(1012, "workers were lost over it")
        elif in_flight and info.on_worker_lost != "redeliver":
            self.counters["worker_lost_closed"] += 1
            session.give_up(1012, "the worker was lost")
        elif not session.snapshot.movable and not session.ended:
            self.counters["worker_lost_closed"] += 1
            session.give_up(1012, "service restart")
        self.place(session)

    def _orphan_handshake(self, session: Session) -> None:
        if session.ended:
            self.forget(session)
            return
        session.attempts += 1
        if session.attempts > 1:
            # It may well be this handshake that kills workers.
            session.refuse(Refuse(session.conn, 503, "no worker survived the handshake"))
        else:
            self.waiting.append(session)

    def expire(self) -> None:
        """Give up connections that nobody took over in time."""
        now = self.now()
        while self._homeless:
            conn, since = next(iter(self._homeless.items()))
            if now - since < self._hang_timeout:
                break
            del self._homeless[conn]
            session = self.by_conn.get(conn)
            if session is None:
                continue
            if session.ended:
                self.counters["on_close_abandoned"] += 1
                self.forget(session)
            else:
                session.give_up(1012, "no worker")
