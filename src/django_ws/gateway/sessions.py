"""All connections of a gateway: which worker each is pinned to, and what becomes of it without.

The rules are those of ``docs/reliability.md``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from ..options import Limits
from ..wire.codec import encode
from ..wire.messages import (
    Accept,
    Handshake,
    Join,
    Joined,
    NamespaceInfo,
    Position,
    Refuse,
    Revalidate,
)
from .counters import Counters
from .deliveries import Turn
from .groups import Groups, Joining
from .index import Index
from .laggards import Laggards
from .outgoing import Membership
from .recent import Recent
from .session import Session, Windows
from .session_state import State
from .waiting import Waiting
from .worker import Health, Worker

__all__ = ["Saturated", "Sessions", "UnknownNamespace"]

logger = logging.getLogger("django_ws.gateway.workers")

#: Workers that may die over the events of one connection; with the next one it is given up.
ATTEMPTS = 2
#: Seconds for which it is remembered, beyond what a handshake takes or a connection is without a
#: worker, whose sessions have ended and whose users may have changed.
REMEMBERED = 10.0
#: Seconds after which the end of a worker is no longer put down to a connection's on_restore.
SUSPICIOUS = 5.0


class UnknownNamespace(Exception):
    """No worker has a handler for it."""


class Saturated(Exception):
    """No worker has a thread or process left for a new connection."""


def _least(workers: Iterable[Worker], namespace: str) -> Worker | None:
    """Of those that have a handler for the namespace the one with the fewest connections."""
    able = (worker for worker in workers if namespace in worker.hello.namespaces)
    return min(able, key=lambda worker: len(worker.sessions), default=None)


def _preferred(workers: list[Worker]) -> list[Worker]:
    """Those with threads or processes left; if there are none, the others say what is wrong."""
    return [worker for worker in workers if worker.accepting] or workers


class Sessions:
    """See the module. Everything here runs on the event loop.

    A session tells when something is to be done for it, which is done in the loop's next turn: so
    neither calls the other while that is in the middle of something.

    Args:
        workers: by incarnation; the registry's own dict.
        on_room: called when no browser is waited for any more, or group messages are to leave.
        groups: their memberships.

    Attributes:
        by_conn: those that are not over yet.
        by_user, by_key: of these those that are accepted, by :attr:`.Session.user` and
            :attr:`.Session.key`.
        groups: their memberships.
        published: what has not reached all members yet.
        laggards: browsers that do not keep up with their groups.
        namespaces: of the newest ready worker.
        waiting: handshakes without a worker.
        emptied: set when there is no session left.
    """

    def __init__(
        self,
        limits: Limits,
        workers: Mapping[str, Worker],
        loop: asyncio.AbstractEventLoop,
        counters: Counters,
        on_room: Callable[[], None],
        groups: Groups,
    ) -> None:
        self.counters = counters
        self.groups = groups
        self._go_on = on_room
        self.published = groups.deliveries.waiting
        self.laggards = Laggards(loop, self._closed_slow, on_room)
        self.by_conn: dict[int, Session] = {}
        self.by_user = Index()
        self.by_key = Index()
        self.namespaces: dict[str, NamespaceInfo] = {}
        self.waiting = Waiting()
        self.emptied = asyncio.Event()
        self.max_pending = limits.max_pending or 2**62
        self._windows = Windows(
            limits.window_messages, limits.window_bytes, self.max_pending // 4, self.max_pending
        )
        self._max_handshakes = limits.max_pending_handshakes or 2**31
        self._max_per_user = limits.max_connections_per_user
        self._hang_timeout = limits.hang_timeout or 1e9
        remembered = REMEMBERED + max(limits.handshake_timeout or 60.0, limits.hang_timeout or 60.0)
        self._over = Recent(remembered, loop.time)  # sessions of the web site, by their digests
        self._rechecked = Recent(remembered, loop.time)  # users, with the newest connection by then
        self._workers = workers
        self._loop = loop
        self._homeless: dict[int, Session] = {}  # accepted connections that wait for a worker
        # To be looked at in the next turn; bounded by the sessions there are.
        self._changed: dict[int, Session] = {}
        self._last_conn = 0

    def __len__(self) -> int:
        return len(self.by_conn)

    # ------------------------------------------------------------------ for sessions

    def changed(self, session: Session) -> None:
        """See :class:`.session.Owner`."""
        if not self._changed:
            self._loop.call_soon(self._settle)
        self._changed[session.conn] = session

    def lag_changed(self, session: Session) -> None:
        """See :class:`.session.Owner`."""
        self.laggards.note(session)

    @property
    def held_up(self) -> bool:
        """Whether some browser is waited for, so that nothing more is to be taken on."""
        return bool(self.laggards)

    def deliver(self, turn: Turn) -> bool:
        """See :meth:`.Deliveries.deliver`."""
        return self.groups.deliveries.deliver(turn)

    def _closed_slow(self) -> None:
        self.counters["closed_slow"] += 1

    # ------------------------------------------------------------------ handshakes

    def connect(self, handshake: Handshake) -> Session:
        """Begin a session; its ``verdict`` is the worker's answer.

        Raises:
            UnknownNamespace: The workers have no such handler.
            Saturated: None of them has room.
        """
        if self.namespaces and handshake.namespace not in self.namespaces:
            raise UnknownNamespace(handshake.namespace)
        ready = self._ready()
        if ready and not any(worker.accepting for worker in ready):
            raise Saturated
        self._last_conn += 1
        session = Session(
            self._last_conn,
            handshake.namespace,
            encode(handshake),
            handshake.client[0],
            self._loop.create_future(),
            self._windows,
            self,
        )
        self.by_conn[session.conn] = session
        self.waiting.add(session)
        self.dispatch()
        return session

    def dispatch(self) -> None:
        """Give waiting handshakes to workers that have room; namespaces take turns, too."""
        if not self.waiting:
            return
        room = [worker for worker in self._ready() if len(worker.handshakes) < self._max_handshakes]
        room = _preferred(room)
        namespaces = self.waiting.namespaces
        while room and namespaces:
            for namespace in list(namespaces):
                worker = _least(room, namespace)
                session = self.waiting.take(namespace) if worker is not None else None
                if worker is None or session is None:
                    namespaces.remove(namespace)
                    continue
                if session.state is not State.WAITING:
                    continue
                session.place(worker, self._loop.time())
                if len(worker.handshakes) >= self._max_handshakes:
                    room.remove(worker)

    def accept(self, worker: Worker, session: Session, accept: Accept) -> None:
        """A worker accepted a handshake."""
        session.accept(accept)
        worker.handshakes.discard(session.conn)
        self.identify(session, accept.user, accept.session)
        self.groups.changed(session)  # what it has joined in on_connect
        if worker.health is Health.RETIRING:
            session.ask_back()
        self.dispatch()

    def identify(self, session: Session, user: str, key: str) -> None:
        """Learn whose connection it is.

        Args:
            user, key: as in :class:`.Accept`, whose ``session`` is the key.
        """
        if user != session.user:
            self.by_user.discard(session.user, session)
            self.by_user.add(user, session)
            session.user = user
            self.groups.changed(session)
            limit = self._max_per_user
            if user and limit and self.by_user.count(user) > limit and not session.ending:
                self.counters["closed_limit"] += 1
                session.give_up(3504, "too many connections of this user")
            self._look_again(session)
        if key != session.key:
            self.by_key.discard(session.key, session)
            self.by_key.add(key, session)
            session.key = key
            if self._over.find(key) is not None and not session.ending:
                session.give_up(4401, "logged out")  # while it was being let in

    def over(self, key: str) -> None:
        """A session of the web site has ended: close what turns out to be of it, too."""
        self._over.add(key)

    def recheck(self, user: str) -> int:
        """Let workers look whether the connections of a user may stay. Returns how many it has."""
        self._rechecked.add(user, self._last_conn)
        found = [session for session in self.by_user.find(user) if session.live]
        for session in found:
            self._revalidate(session)
        return len(found)

    def recheck_all(self) -> None:
        """Let workers look whether all connections that are somebody's may stay."""
        for session in list(self.by_conn.values()):
            if session.user and session.live:
                self._revalidate(session)

    def _look_again(self, session: Session) -> None:
        """Its user may have changed while it was let in, or between two workers."""
        newest = self._rechecked.find(session.user) if session.user else None
        if newest is not None and session.conn <= newest:
            self._revalidate(session)

    @staticmethod
    def _revalidate(session: Session) -> None:
        # One without a worker is looked at by the next one, when it takes it over.
        if isinstance(session.worker, Worker) and session.worker.hello.wire >= 2:
            session.worker.post(Revalidate(session.conn))

    def join(self, session: Session, join: Join) -> None:
        """Make a connection a member; one that has ended only knows by name."""
        worker, request = session.worker, join.request

        def joined(position: Position, complete: bool) -> None:
            if request and worker is not None:
                worker.post(Joined(session.conn, request, position.offset, position.epoch))

        session.expect()
        group, since, guess = join.group, join.since, False
        began: Joining | None = None
        if session.wanted is not None:
            kept = self.groups.has_history(group)
            if kept and since is None:
                since, guess = session.wanted.take(group)

            def began(position: Position, complete: bool) -> None:
                told = position if kept else Position(0, "")
                session.tell(Membership(group, told, complete or not kept))

        self.groups.join(group, session, since, joined, began, guess=guess)
        if session.ending:
            self.groups.leave_all(session)

    def leave(self, session: Session, group: str) -> None:
        """End a membership."""
        self.groups.leave(group, session)
        if session.wanted is not None:
            session.tell(Membership(group, None))

    def show(self, session: Session, info: bytes) -> None:
        """Take what presence is to show of a connection."""
        session.info = info
        self.groups.changed(session)

    def find(self, user: str, key: str, group: str, conn: int) -> list[Session]:
        """The open connections to which all of what is not empty applies.

        Args:
            user, key: as in :meth:`identify`.
            group: of which they are members.
            conn: its number; 0 for any.
        """
        if conn:
            session = self.by_conn.get(conn)
            found = [] if session is None else [session]
        elif key:
            found = self.by_key.find(key)
        elif user:
            found = self.by_user.find(user)
        else:
            members = (self.by_conn.get(conn) for conn in self.groups.members(group))
            found = [session for session in members if session is not None]
        return [
            session
            for session in found
            if session.live
            and (not user or session.user == user)
            and (not key or session.key == key)
            and (not group or group in (session.groups or ()))
        ]

    # ------------------------------------------------------------------ what sessions have told

    def _settle(self) -> None:
        changed, self._changed = self._changed, {}
        for session in changed.values():
            if session.conn not in self.by_conn:
                continue
            if session.ending or session.state is State.OVER:
                self.groups.leave_all(session)
                self.laggards.discard(session)
            if session.state is State.OVER:
                self._forget(session)
            elif session.state is State.WAITING:
                self.groups.leave_all(session)
                session.forget_groups()
                self.waiting.add(session)
            else:
                self._place(session)
        self.dispatch()
        if self.published:  # of those who have left
            self._go_on()

    def _forget(self, session: Session) -> None:
        del self.by_conn[session.conn]
        self._homeless.pop(session.conn, None)
        self.waiting.discard(session)
        self.by_user.discard(session.user, session)
        self.by_key.discard(session.key, session)
        if not self.by_conn:
            self.emptied.set()

    def _place(self, session: Session) -> None:
        """Find a worker for an accepted connection that needs one; else it waits for one."""
        if session.state is not State.ADRIFT and session.state is not State.ENDING_ADRIFT:
            return
        now = self._loop.time()
        worker = _least(_preferred(self._ready()), session.namespace)
        if worker is not None and not session.refused:
            self._homeless.pop(session.conn, None)
            session.place(worker, now)
            if session.live:
                self._look_again(session)
        elif session.namespace not in self.namespaces and self.namespaces and not session.ending:
            session.give_up(1012, "service restart")
        else:
            session.refused = False  # the next look may find a worker that has room for it
            session.adrift_since = session.adrift_since or now
            self._homeless[session.conn] = session

    def _ready(self) -> list[Worker]:
        return [worker for worker in self._workers.values() if worker.health is Health.READY]

    # ------------------------------------------------------------------ workers come and go

    def serve_waiting(self) -> None:
        """A worker has come, or come back."""
        self._serve_homeless()
        self.dispatch()
        for session in [s for s in self.waiting if s.namespace not in self.namespaces]:
            if session.state is State.WAITING:
                session.refuse(Refuse(session.conn, 404, "unknown namespace"))

    def _serve_homeless(self) -> None:
        for session in list(self._homeless.values()):
            self._place(session)

    def orphan(self, session: Session, first_unsent: int) -> None:
        """Decide about a connection whose worker died.

        Args:
            first_unsent: seq of the first event that had not left this gateway.
        """
        if not session.accepted:
            self._orphan_handshake(session)
            return
        in_flight = session.lost(first_unsent)
        info = self.namespaces.get(session.namespace, NamespaceInfo())
        # It may be this connection that kills workers; the others shall not go on paying for it.
        restored = session.restoring and self._loop.time() - session.restoring < SUSPICIOUS
        doubtful = in_flight or restored or session.returning
        session.attempts = session.attempts + 1 if doubtful else 0
        if session.ending:
            if session.attempts > ATTEMPTS:
                logger.error("%d workers died over one on_close; abandoned", session.attempts)
                self._abandon(session)
            elif in_flight and info.on_worker_lost != "redeliver":
                session.give_up(1012, "the worker was lost")
        elif session.state is State.CLOSING_ADRIFT:
            session.give_up(1012, "service restart")
        elif session.attempts > ATTEMPTS:
            self._close_lost(session, "workers were lost over it")
        elif in_flight and info.on_worker_lost != "redeliver":
            self._close_lost(session, "the worker was lost")
        elif not session.snapshot.movable:
            self._close_lost(session, "service restart")

    def _orphan_handshake(self, session: Session) -> None:
        session.lost(0)
        session.attempts += 1
        if session.attempts > 1 and session.state is State.WAITING:
            # It may well be this handshake that kills workers.
            session.refuse(Refuse(session.conn, 503, "no worker survived the handshake"))

    def _close_lost(self, session: Session, reason: str) -> None:
        self.counters["worker_lost_closed"] += 1
        session.give_up(1012, reason)

    def _abandon(self, session: Session) -> None:
        self.counters["on_close_abandoned"] += 1
        session.abandon()

    def look(self) -> None:
        """Give up those that have been without a worker too long, and try to place the others."""
        now = self._loop.time()
        for session in list(self._homeless.values()):
            if now - session.adrift_since < self._hang_timeout:
                continue
            del self._homeless[session.conn]
            session.adrift_since = 0.0
            if session.state is State.ENDING_ADRIFT:
                self._abandon(session)
            elif session.state is State.ADRIFT:
                session.give_up(1012, "no worker")
        if self._homeless and self._ready():
            self._serve_homeless()
