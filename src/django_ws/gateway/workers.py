"""All workers of a gateway: how they come, what they say, and how they go.

The rules are those of ``docs/reliability.md``.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from ..group_patterns import lookup
from ..options import GatewayConfig
from ..store.urls import parse
from ..transport.addresses import EndpointError
from ..transport.events import EventsSender
from ..transport.replies import RepliesReceiver
from ..wire.codec import ReplyBatch, encode
from ..wire.messages import (
    Fenced,
    GatewayAnswer,
    Handshake,
    Heartbeat,
    Hello,
    Release,
    Role,
    Welcome,
)
from .counters import Counters
from .dispatch import Dispatch
from .drift import Drift
from .engine.base import Engine
from .engine.memory import Memory
from .engine.redis import Redis
from .groups import Groups
from .introductions import Introductions
from .publishers import Requests
from .replies import Batch, Replies
from .session import Session
from .sessions import Sessions
from .worker import Health, Worker

__all__ = ["Registry"]

logger = logging.getLogger("django_ws.gateway.workers")

#: Seconds between looks at the workers' signs of life, and without one until a worker is in doubt.
LOOK = 0.25
DOUBT_AFTER = 1.0
#: Seconds that joining may take, and workers that may be at it; then the oldest has to start anew.
JOIN_TIMEOUT = 5.0
MAX_JOINING = 64
#: Publications on their way to members beyond which the engine's next ones wait.
MAX_PUBLISHED = 256


class Registry:
    """See the module. Everything here runs on the event loop.

    Args:
        on_kill: called with the incarnation of a worker that counts as dead but may still run.
        started: when the settings were read, in seconds since the epoch: those of workers that
            started earlier are no news.
    """

    def __init__(
        self,
        config: GatewayConfig,
        incarnation: str,
        *,
        loop: asyncio.AbstractEventLoop,
        on_kill: Callable[[str], None],
        counters: Counters | None = None,
        started: float = 0.0,
    ) -> None:
        limits = config.limits
        self.config = config
        self.incarnation = incarnation
        self.counters: Counters = Counter() if counters is None else counters
        self._hang_timeout = limits.hang_timeout or 1e9
        self._loop = loop
        self._on_kill = on_kill
        self._drift = Drift(config.fingerprints, started)
        self._workers: dict[str, Worker] = {}
        began = time.time() - loop.time()
        options = lookup(config.groups)
        groups = Groups(incarnation, options, lambda: began + loop.time())
        self.sessions = Sessions(limits, self._workers, loop, self.counters, self._on_room, groups)
        requests = Requests(self.sessions, limits.max_outgoing, self._answer)
        self._engine_timeout = limits.engine_timeout or float("inf")
        self._engine: Engine
        if config.engine:
            self._engine = Redis(
                parse(config.engine),
                config.project,
                incarnation,
                options,
                requests,
                loop=loop,
                counters=self.counters,
                room=lambda: (
                    len(groups.deliveries.waiting) < MAX_PUBLISHED and not self.sessions.held_up
                ),
                on_published=self._on_room,
                on_crowded=self._hold,
            )
        else:
            self._engine = Memory(
                options, requests, clock=lambda: began + loop.time(), epoch=secrets.token_hex(8)
            )
        groups.engine = requests.engine = self._engine
        self._dispatch = Dispatch(
            config.project, self.sessions, self, requests, self._answer, self.counters
        )
        self._introductions = Introductions(config)
        self._link: RepliesReceiver | None = None
        self._replies: Replies | None = None
        self._looked = loop.time()
        self._timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Bind the replies link.

        Raises:
            EndpointError: It cannot be bound.
        """
        self._link = RepliesReceiver(self.config.sub_socket)
        self._replies = Replies(self._link, self._begin, self.sessions, self._loop, self.counters)
        self._timer = self._loop.call_later(LOOK, self._look)

    async def drain(self, deadline: float) -> None:
        """Wait until the last ``on_close`` is acknowledged.

        Args:
            deadline: loop time at which to give up.
        """
        while self.sessions and self._workers and self._loop.time() < deadline:
            self.sessions.emptied.clear()
            try:
                await asyncio.wait_for(self.sessions.emptied.wait(), deadline - self._loop.time())
            except TimeoutError:
                break
        if self.sessions:
            self.counters["on_close_abandoned"] += len(self.sessions)
            logger.warning("%d on_close not acknowledged in time", len(self.sessions))
        await self._engine.drain(min(1.0, max(0.1, deadline - self._loop.time())))

    def close(self) -> None:
        """Close all sockets and remove their files."""
        if self._timer is not None:
            self._timer.cancel()
        for worker in list(self._workers.values()):
            self._drop(worker)
        self.sessions.laggards.close()
        self._engine.close()
        if self._replies is not None:
            self._replies.close()

    def connect(self, handshake: Handshake) -> Session:
        """See :meth:`.Sessions.connect`."""
        return self.sessions.connect(handshake)

    @property
    def connections(self) -> int:
        """Sessions that are not over yet."""
        return len(self.sessions)

    @property
    def workers(self) -> int:
        """Workers that take new connections."""
        return sum(
            worker.health is Health.READY and worker.accepting for worker in self._workers.values()
        )

    @property
    def ready(self) -> bool:
        """Whether new connections would be served, and hear what is published."""
        return self.workers > 0 and self._engine.away < self._engine_timeout

    # ------------------------------------------------------------------ what comes

    def _begin(self, identity: bytes, batch: ReplyBatch) -> Batch | None:
        """Take a batch; its messages are the caller's to hand on."""
        if batch.role == Role.PUBLISHER:
            return self._dispatch.from_publisher(identity, batch)
        if batch.role not in (Role.WORKER, Role.UNNAMED):
            self.counters["replies_misplaced"] += 1
            return None
        worker = self._workers.get(batch.sender)
        if worker is None:
            self._stranger(identity, batch)
            return None
        if batch.receiver == "":
            self._introduced_again(identity, worker, batch)
            return None
        if batch.receiver != self.incarnation:
            return None
        if identity != worker.identity or batch.project != self.config.project:
            self.counters["replies_misplaced"] += 1
            return None
        number = batch.number
        if number:
            if number != worker.expected:
                self._lose(worker, f"batch {worker.expected} is missing (got {number})", kill=True)
                self._fence(identity, batch.sender, "a batch of its replies is missing")
                return None
            worker.expected = number + 1
            worker.received = number
            worker.answered()
        worker.heard = self._loop.time()
        if not worker.confirmed:
            self._joined(worker)
        worker.credit(batch.received)
        sessions = worker.sessions
        # A batch is one whole, so the order within it is ours: a connection that is given back
        # must not take along what is handled.
        for conn, seq in batch.acks.items():
            session = sessions.get(conn)
            if session is not None:
                session.handled(seq)
        return Batch(iter(batch.messages), sessions, partial(self._dispatch.worker_said, worker))

    def _answer(self, identity: bytes, answer: GatewayAnswer) -> None:
        assert self._link is not None
        assert self._replies is not None
        self._link.answer(identity, encode(answer))
        self._replies.go_on()  # answering may have consumed the edge

    def _fence(self, identity: bytes, incarnation: str, reason: str) -> None:
        self._answer(identity, Fenced(incarnation, reason))

    def _on_room(self) -> None:
        if self._replies is not None:
            self._replies.go_on()

    def _hold(self, held: bool) -> None:
        if self._replies is not None:
            self._replies.hold(held)

    # ------------------------------------------------------------------ workers come

    def _stranger(self, identity: bytes, batch: ReplyBatch) -> None:
        hello = batch.messages[0] if batch.messages else None
        if not isinstance(hello, Hello):
            return  # a beat of a worker whose Hello is still to come, or a predecessor's
        reason = self._introductions.objection(batch.sender, batch.project, hello)
        if reason is None:
            try:
                self._join(identity, batch.sender, hello)
            except EndpointError as error:
                self._introductions.refused(batch.sender, f"a worker: {error}")
                reason = str(error)
        if reason is not None:
            self._fence(identity, batch.sender, reason)

    def _join(self, identity: bytes, incarnation: str, hello: Hello) -> None:
        joining = [w for w in self._workers.values() if w.health is Health.JOINING]
        if len(joining) >= MAX_JOINING:
            self._drop(joining[0])
        sender = EventsSender(hello.endpoint, self._hang_timeout)
        worker = Worker(
            incarnation, hello, sender, self._loop, self.config.project, self.incarnation
        )
        worker.identity = identity
        self._workers[incarnation] = worker
        self._loop.add_reader(sender.monitor_fileno(), self._on_monitor, worker)
        self._loop.add_reader(sender.fileno(), self._on_writable, worker)
        self._loop.call_soon(self._on_monitor, worker)
        self._welcome(worker)

    def _welcome(self, worker: Worker) -> None:
        limits = self.config.limits
        worker.post(
            Welcome(
                self.incarnation,
                worker.hello.link,
                self.sessions.max_pending,
                limits.max_outgoing,
                self.config.home,
            )
        )

    def _introduced_again(self, identity: bytes, worker: Worker, batch: ReplyBatch) -> None:
        """Somebody says Hello by the name of a worker that is known here."""
        hello = batch.messages[0] if batch.messages else None
        if not isinstance(hello, Hello) or batch.project != self.config.project:
            return
        itself = identity == worker.identity
        if worker.confirmed:
            # If its link broke it comes by another one, and says no more on the old one. Until
            # then this may be anybody, and repeats itself if it is not.
            silent = self._loop.time() - worker.heard > DOUBT_AFTER
            if hello.link != worker.hello.link if itself else silent:
                self._lose(worker, "it lost its link to this gateway")
                self._fence(identity, batch.sender, "its link to this gateway broke")
        elif hello.endpoint != worker.hello.endpoint:
            self._drop(worker)
            self._stranger(identity, batch)
        elif hello.link != worker.hello.link or not itself:
            # Its link was down since the last one, so it does not take that one's Welcome.
            worker.hello = hello
            worker.identity = identity
            self._welcome(worker)

    def _joined(self, worker: Worker) -> None:
        worker.confirmed = True
        worker.health = Health.READY
        self._learn()
        logger.debug("worker %s (pid %d) is ready", worker.incarnation, worker.hello.pid)
        self._drift.compare(worker.hello.fingerprints, worker.hello.started)
        self.sessions.serve_waiting()

    def _learn(self) -> None:
        """The newest ready worker's namespaces are in force."""
        known = [worker for worker in self._workers.values() if worker.confirmed]
        if known:
            newest = max(known, key=lambda worker: worker.hello.started)
            self.sessions.namespaces = newest.hello.namespaces

    # ------------------------------------------------------------------ workers go

    def worker_died(self, incarnation: str) -> None:
        """The supervisor reaped a worker."""
        worker = self._workers.get(incarnation)
        if worker is not None:
            self._lose_afterwards(worker, "its process has ended")

    def _on_monitor(self, worker: Worker) -> None:
        """The link to the worker came up or went down."""
        if worker.health is Health.DEAD:
            return
        if not all(worker.sender.changes()):
            self._lose_afterwards(worker, "its link is cut")
        else:
            worker.flush()

    def _on_writable(self, worker: Worker) -> None:
        if worker.health is not Health.DEAD and worker.sender.writable() and worker.waiting:
            worker.flush()

    def _lose_afterwards(self, worker: Worker, reason: str) -> None:
        """A worker is dead; but what it said before counts."""
        assert self._replies is not None
        self._replies.afterwards(partial(self._lose, worker, reason))

    def retire(self, worker: Worker) -> None:
        """The worker hands everything over."""
        worker.health = Health.RETIRING
        for session in list(worker.sessions.values()):
            session.ask_back()
        worker.post(Release(0))

    def _drop(self, worker: Worker) -> None:
        if self._workers.pop(worker.incarnation, None) is not None:
            self._loop.remove_reader(worker.sender.monitor_fileno())
            self._loop.remove_reader(worker.sender.fileno())
            worker.close()

    def _lose(self, worker: Worker, reason: str, *, kill: bool = False) -> None:
        """A worker is dead: resolve what it had."""
        if worker.health is Health.DEAD:
            return
        unsent = worker.unsent()
        sessions = list(worker.sessions.values())
        expected = worker.health is Health.RETIRING and not sessions
        self._drop(worker)
        self._introductions.died(worker.incarnation)
        if kill:
            self._on_kill(worker.incarnation)
        if worker.confirmed and not expected:
            self.counters["workers_lost"] += 1
            logger.warning(
                "worker %s (pid %d) is lost: %s; %d connections",
                worker.incarnation,
                worker.hello.pid,
                reason,
                len(sessions),
            )
        for session in sessions:
            self.sessions.orphan(session, unsent.get(session.conn, session.seq + 1))
        for session in worker.stalled:
            session.resume()
        if not self._workers:
            self.sessions.emptied.set()  # there is nobody for drain() to wait for
        self._learn()
        self.sessions.dispatch()

    # ------------------------------------------------------------------ signs of life

    def beat(self, worker: Worker, beat: Heartbeat) -> None:
        """A worker lives."""
        worker.accepting = beat.accepting
        if worker.health is Health.DOUBT:
            worker.health = Health.READY
            logger.warning("worker %s is back", worker.incarnation)
            self.sessions.serve_waiting()

    def _look(self) -> None:
        """Look for workers that are silent, and connections that nobody took over."""
        now = self._loop.time()
        late = now - self._looked > 2 * LOOK
        self._looked = now
        self._timer = self._loop.call_later(LOOK, self._look)
        self._engine.expire()
        if late:
            return  # it was this process that paused; what the workers said is still to be read
        for worker in list(self._workers.values()):
            if self.sessions.held_up or (self._replies is not None and self._replies.held):
                worker.heard += LOOK  # we do not listen
            silent = now - worker.heard
            if worker.health is Health.JOINING:
                if silent > JOIN_TIMEOUT:
                    self._drop(worker)  # it may say Hello again
            elif silent > self._hang_timeout:
                self._lose(worker, f"no sign of life for {silent:.0f} s", kill=True)
            elif silent > DOUBT_AFTER and worker.health is Health.READY:
                worker.health = Health.DOUBT
                self.counters["workers_in_doubt"] += 1
                logger.warning(
                    "worker %s (pid %d) is silent; it gets no new connections",
                    worker.incarnation,
                    worker.hello.pid,
                )
        self.sessions.look()
