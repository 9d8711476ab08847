"""All workers of a gateway: how they come, what they say, and how they go.

The rules are those of ``docs/reliability.md``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable

from ..options import GatewayConfig
from ..transport.addresses import EndpointError, may_connect
from ..transport.events import EventsSender
from ..transport.replies import RepliesReceiver
from ..wire.codec import ReplyBatch, WireError, decode_replies, encode
from ..wire.messages import (
    Accept,
    Close,
    Fenced,
    GroupSend,
    Handshake,
    Heartbeat,
    Hello,
    Join,
    Leave,
    PublisherMessage,
    Refuse,
    Release,
    Released,
    Retiring,
    SaveSnapshot,
    Send,
    Unknown,
    Welcome,
    WorkerMessage,
)
from ..wire.projects import foreign_home
from .counters import Counters
from .session import Session
from .sessions import Sessions
from .worker_link import Health, WorkerLink

__all__ = ["Registry"]

logger = logging.getLogger("django_ws.gateway.workers")

#: Batches of replies worked off in one turn of the loop, so that browsers get theirs.
BATCHES_A_TURN = 32
#: Seconds between looks at the workers' signs of life, and without one until a worker is in doubt.
LOOK = 0.25
DOUBT_AFTER = 1.0
#: Seconds that joining may take.
JOIN_TIMEOUT = 5.0
#: Dead incarnations to remember. They say Hello once more at most, so this is plenty.
REMEMBERED = 1000


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
        self._started = started
        self._compared: dict[str, str] = {}  # the last that were said to be other settings
        self._links: dict[str, WorkerLink] = {}
        self.sessions = Sessions(limits, self._links, loop, self.counters)
        self._dead: OrderedDict[str, None] = OrderedDict()
        self._replies: RepliesReceiver | None = None
        self._looked = loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._again = False

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Bind the replies link.

        Raises:
            EndpointError: It cannot be bound.
        """
        self._replies = RepliesReceiver(self.config.sub_socket)
        self._loop.add_reader(self._replies.fileno(), self._on_replies)
        self._loop.call_soon(self._on_replies)
        self._timer = self._loop.call_later(LOOK, self._look)

    async def drain(self, deadline: float) -> None:
        """Wait until the last ``on_close`` is acknowledged.

        Args:
            deadline: loop time at which to give up.
        """
        while self.sessions and self._links and self._loop.time() < deadline:
            self.sessions.emptied.clear()
            try:
                await asyncio.wait_for(self.sessions.emptied.wait(), deadline - self._loop.time())
            except TimeoutError:
                break
        if self.sessions:
            self.counters["on_close_abandoned"] += len(self.sessions)
            logger.warning("%d on_close not acknowledged in time", len(self.sessions))

    def close(self) -> None:
        """Close all sockets and remove their files."""
        if self._timer is not None:
            self._timer.cancel()
        for link in list(self._links.values()):
            self._drop_link(link)
        if self._replies is not None:
            self._loop.remove_reader(self._replies.fileno())
            self._replies.close()
            self._replies = None

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
        return sum(link.health is Health.READY and link.accepting for link in self._links.values())

    # ------------------------------------------------------------------ replies

    def _on_replies(self) -> None:
        self._again = False
        replies = self._replies
        if replies is None:
            return
        for _ in range(BATCHES_A_TURN):
            item = replies.receive()
            if item is None:
                return
            try:
                batch = decode_replies(item[1])
            except WireError as error:
                self.counters["replies_undecodable"] += 1
                logger.error("dropped what came on the replies link: %s", error)
                continue
            self._batch(item[0], batch)
        # The descriptor is edge-triggered and will not fire for what is already there.
        if not self._again:
            self._again = True
            self._loop.call_soon(self._on_replies)

    def _batch(self, identity: bytes, batch: ReplyBatch) -> None:
        link = self._links.get(batch.sender)
        if link is None:
            self._stranger(identity, batch)
            return
        if batch.receiver != self.incarnation:
            if batch.receiver == "":
                self._introduced_again(identity, link, batch)
            return
        number = batch.number
        if number:
            if number != link.expected:
                self._lose(link, f"batch {link.expected} is missing (got {number})", kill=True)
                self._fence(identity, batch.sender, "a batch of its replies is missing")
                return
            link.expected = number + 1
            link.received = number
            link.answered()
        link.heard = self._loop.time()
        if not link.confirmed:
            self._joined(link)
        link.credit(batch.received)
        sessions = link.sessions
        # A batch is one whole, so the order within it is ours: a connection that is given back
        # must not take along what is handled.
        for conn, seq in batch.acks.items():
            session = sessions.get(conn)
            if session is not None:
                session.handled(seq)
        for message in batch.messages:
            if type(message) is Send:
                session = sessions.get(message.conn)
                if session is not None:
                    session.send(message)
            else:
                self._other(link, message)

    def _other(self, link: WorkerLink, message: WorkerMessage | PublisherMessage | Unknown) -> None:
        if isinstance(message, Unknown):
            self.counters["messages_unknown"] += 1
            return
        if isinstance(message, Heartbeat):
            self._beat(link, message)
            return
        if isinstance(message, GroupSend):
            self.sessions.hub.publish(message)
            return
        if isinstance(message, Retiring):
            self._retire(link)
            return
        if isinstance(message, Hello):
            return
        if isinstance(message, PublisherMessage):
            return  # not a worker's to say
        session = link.sessions.get(message.conn)
        if session is None:
            return
        match message:
            case Accept():
                self.sessions.accept(link, session, message)
            case Refuse():
                session.refuse(message)
            case Close():
                session.close(message)
            case Join():
                self.sessions.hub.join(message.group, session)
            case Leave():
                self.sessions.hub.leave(message.group, session)
            case SaveSnapshot():
                session.snapshot = message.snapshot
            case Released():
                session.released(message.snapshot)

    # ------------------------------------------------------------------ workers come

    def _stranger(self, identity: bytes, batch: ReplyBatch) -> None:
        hello = batch.messages[0] if batch.messages else None
        if batch.sender in self._dead:
            if isinstance(hello, Hello):
                self._fence(identity, batch.sender, "it counts as dead here")
            return
        if not isinstance(hello, Hello):
            return  # a beat of a worker whose Hello is still to come, or a predecessor's
        if batch.project != self.config.project:
            self._remember(batch.sender)
            logger.error(
                "refused a worker of the project %r at this gateway of %r: give each project "
                "sockets of its own",
                batch.project,
                self.config.project,
            )
            self._fence(
                identity,
                batch.sender,
                f"this gateway serves {self.config.project!r}: give each project sockets of its "
                "own",
            )
            return
        if hello.home and self.config.home and hello.home != self.config.home:
            reason = foreign_home(hello.home, self.config.home)
            self._remember(batch.sender)
            logger.error("refused a worker: %s", reason)
            reason = foreign_home(self.config.home, hello.home)
            self._fence(identity, batch.sender, reason)
            return
        if not may_connect(hello.endpoint, self.config.push_socket):
            self._remember(batch.sender)
            logger.error(
                "refused a worker at %s, which is not of %s: give gateway and workers the same "
                "--push-socket",
                hello.endpoint,
                self.config.push_socket,
            )
            self._fence(
                identity,
                batch.sender,
                f"its endpoint is not of {self.config.push_socket}; give gateway and workers the "
                "same --push-socket",
            )
            return
        try:
            self._join(batch.sender, hello)
        except EndpointError as error:
            self._remember(batch.sender)
            logger.error("refused a worker: %s", error)
            self._fence(identity, batch.sender, str(error))

    def _join(self, incarnation: str, hello: Hello) -> None:
        sender = EventsSender(hello.endpoint, self._hang_timeout)
        link = WorkerLink(
            incarnation, hello, sender, self._loop, self.config.project, self.incarnation
        )
        self._links[incarnation] = link
        self._loop.add_reader(sender.monitor_fileno(), self._on_link, link)
        self._loop.add_reader(sender.fileno(), self._on_writable, link)
        self._on_link(link)
        self._welcome(link)

    def _welcome(self, link: WorkerLink) -> None:
        limits = self.config.limits
        link.post(
            Welcome(
                self.incarnation,
                link.hello.link,
                self.sessions.max_pending,
                limits.max_outgoing,
                self.config.home,
            )
        )

    def _introduced_again(self, identity: bytes, link: WorkerLink, batch: ReplyBatch) -> None:
        """A worker that is known here says Hello."""
        hello = batch.messages[0] if batch.messages else None
        if link.confirmed:
            self._lose(link, "it lost its link to this gateway")
            self._fence(identity, batch.sender, "its link to this gateway broke")
        elif isinstance(hello, Hello) and hello.link != link.hello.link:
            # Its link was down since the last one, so it does not take that one's Welcome.
            link.hello = hello
            self._welcome(link)

    def _joined(self, link: WorkerLink) -> None:
        link.confirmed = True
        link.health = Health.READY
        self._learn()
        logger.debug("worker %s (pid %d) is ready", link.incarnation, link.hello.pid)
        self._compare(link.hello)
        self.sessions.serve_waiting()

    def _learn(self) -> None:
        """The newest ready worker's namespaces are in force."""
        known = [link for link in self._links.values() if link.confirmed]
        if known:
            self.sessions.namespaces = max(
                known, key=lambda link: link.hello.started
            ).hello.namespaces

    def _compare(self, hello: Hello) -> None:
        """Say what a worker's settings have that this gateway was started without."""
        ours, theirs = self.config.fingerprints, hello.fingerprints
        if not ours or not theirs or hello.started < self._started:
            return
        outdated = sorted(
            name
            for name in {*ours, *theirs}
            # Empty: a flag decides.
            if ours.get(name) != theirs.get(name) and "" not in (ours.get(name), theirs.get(name))
        )
        if outdated and theirs != self._compared:
            self._compared = theirs
            logger.warning(
                "%s changed since this gateway was started: restart run_wsserver (or "
                "run_wsgateway) for it to take effect",
                ", ".join(outdated),
            )

    def _fence(self, identity: bytes, incarnation: str, reason: str) -> None:
        assert self._replies is not None
        self._replies.answer(identity, encode(Fenced(incarnation, reason)))
        self._loop.call_soon(self._on_replies)  # answering may have consumed the edge

    # ------------------------------------------------------------------ workers go

    def worker_died(self, incarnation: str) -> None:
        """The supervisor reaped a worker."""
        link = self._links.get(incarnation)
        if link is not None:
            self._drain_replies()
            self._lose(link, "its process has ended")

    def _on_link(self, link: WorkerLink) -> None:
        """The worker's link came up or went down."""
        if link.health is Health.DEAD:
            return
        if not all(link.sender.changes()):
            self._drain_replies()  # what it said before counts
            self._lose(link, "its link is cut")
        else:
            link.flush()

    def _on_writable(self, link: WorkerLink) -> None:
        if link.health is not Health.DEAD and link.sender.writable() and link.pending:
            link.flush()

    def _drain_replies(self) -> None:
        for _ in range(64):
            self._on_replies()
            if not self._again:
                return

    def _retire(self, link: WorkerLink) -> None:
        """The worker hands everything over."""
        link.health = Health.RETIRING
        for session in list(link.sessions.values()):
            session.release()
        link.post(Release(0))

    def _drop_link(self, link: WorkerLink) -> None:
        if self._links.pop(link.incarnation, None) is not None:
            self._loop.remove_reader(link.sender.monitor_fileno())
            self._loop.remove_reader(link.sender.fileno())
            link.close()

    def _remember(self, incarnation: str) -> None:
        self._dead[incarnation] = None
        if len(self._dead) > REMEMBERED:
            self._dead.popitem(last=False)

    def _lose(self, link: WorkerLink, reason: str, *, kill: bool = False) -> None:
        """A worker is dead: resolve what it had."""
        if link.health is Health.DEAD:
            return
        unsent = link.unsent()
        sessions = list(link.sessions.values())
        expected = link.health is Health.RETIRING and not sessions
        self._drop_link(link)
        self._remember(link.incarnation)
        if kill:
            self._on_kill(link.incarnation)
        if link.confirmed and not expected:
            self.counters["workers_lost"] += 1
            logger.warning(
                "worker %s (pid %d) is lost: %s; %d connections",
                link.incarnation,
                link.hello.pid,
                reason,
                len(sessions),
            )
        for session in sessions:
            self.sessions.orphan(session, unsent.get(session.conn, session.seq + 1))
        for session in link.stalled:
            session.resume()
        if not self._links:
            self.sessions.emptied.set()  # there is nobody for drain() to wait for
        self._learn()
        self.sessions.dispatch()

    # ------------------------------------------------------------------ signs of life

    def _beat(self, link: WorkerLink, beat: Heartbeat) -> None:
        link.accepting = beat.accepting
        if link.health is Health.DOUBT:
            link.health = Health.READY
            logger.warning("worker %s is back", link.incarnation)
            self.sessions.serve_waiting()

    def _look(self) -> None:
        """Look for workers that are silent, and connections that nobody took over."""
        now = self._loop.time()
        late = now - self._looked > 2 * LOOK
        self._looked = now
        self._timer = self._loop.call_later(LOOK, self._look)
        if late:
            return  # it was this process that paused; what the workers said is still to be read
        for link in list(self._links.values()):
            silent = now - link.heard
            if link.health is Health.JOINING:
                if silent > JOIN_TIMEOUT:
                    self._drop_link(link)  # it may say Hello again
            elif silent > self._hang_timeout:
                self._lose(link, f"no sign of life for {silent:.0f} s", kill=True)
            elif silent > DOUBT_AFTER and link.health is Health.READY:
                link.health = Health.DOUBT
                self.counters["workers_in_doubt"] += 1
                logger.warning(
                    "worker %s (pid %d) is silent; it gets no new connections",
                    link.incarnation,
                    link.hello.pid,
                )
        self.sessions.expire()
