"""A browser's connection as its worker sees it."""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from .. import conf, tickets
from ..base import WebSocketHandler
from ..deferral import defer, in_transaction
from ..exceptions import ConnectionClosed, MessageTooBig, SendTimeout
from ..publications import Position
from ..staying import LOGGED_OUT
from ..wire import messages as wire
from ..wire.codec import decode_handshake
from ..wire.messages import (
    BINARY,
    TEXT,
    Accept,
    Close,
    Disconnect,
    Emit,
    Event,
    GroupSend,
    Handshake,
    Identity,
    Info,
    Join,
    Joined,
    Leave,
    Publish,
    Refuse,
    Reply,
    Restore,
    Send,
    WorkerMessage,
    size_of,
)
from ..wire.socketio import MAX_ATTACHMENTS, RESERVED
from . import hygiene
from .handover import Handover
from .lifecycle import Lifecycle, Stranger
from .link import GatewayLink
from .payloads import Payload, pack, pack_info
from .request import HandshakeRequest

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

__all__ = ["Link", "Runner", "WorkerConnection"]

#: Seconds to wait for a gateway that makes a connection a member.
JOIN_TIMEOUT = 1.0


class Runner(Protocol):
    """What a connection needs of the executor that runs its hooks.

    Attributes:
        max_outgoing: bytes of the largest message a handler may send.
        send_timeout: seconds ``send`` waits for a client that does not read; 0 for ever.
        stopping: hooks that loop are to come to an end.
        shared: gateways share an engine.
    """

    max_outgoing: int
    send_timeout: float
    stopping: bool
    shared: bool

    def sent(self, link: Link) -> None:
        """Something was put into the outbox from a hook or another thread."""

    def parked(self) -> AbstractContextManager[None]:
        """Around what lets a hook wait for its browser or for time to pass."""

    def here(self) -> object:
        """What the running thread is called in :attr:`WorkerConnection.thread`."""

    def frame_of(self, thread: object) -> FrameType | None:
        """The innermost frame of the thread that runs a connection's hook."""

    def enter(self, link: Link | None) -> None:
        """A hook of a connection on ``link`` begins here, or has ended; if they are shared."""

    def publish(self, link: Link, message: GroupSend) -> None:
        """Hand a publication to every gateway; ``link`` is the one of the connection."""

    def publish_elsewhere(self, link: Link, message: GroupSend) -> None:
        """The same, but without that of the connection, which gets it by itself."""

    def has_history(self, group: str) -> bool:
        """Whether publications of a group have offsets."""

    def cannot_move(self, handler_class: type[WebSocketHandler], reason: str) -> None:
        """Say once per class why its connections are closed when a worker is replaced."""


class WorkerConnection:
    """One connection: what its handler talks to (``base.Connection``), and what belongs to it.

    One thread at a time runs its hooks (:func:`.turn.handle`); the executor sees to that. ``send``
    and ``wait`` may be called from any thread.

    Attributes:
        busy, queue: the pool's, under its lock: whether a thread has or will have this
            connection, and the events that wait for it. Bounded by the gateway's window.
        runner: whatever else the executor keeps for the connection.
        closing: closed by either side; set by the receiving thread or a hook, never cleared.
        closed_here: closed by the handler, so that no further message reaches it.
        over: the last hook has run, so an event that comes all the same is dropped.
        unconfirmed: bytes sent and not confirmed; guarded by the link's lock.
        loaded_request: :attr:`request`, if anybody has asked for it.
        owner: user and session, as of :class:`.Accept`; empty while it is not accepted.
        user_seen: tells the state in which its user was seen last; the revalidation's.
        user_changes: ``on_user_changed`` is to run; set by whoever asks for that, cleared by the
            thread that runs it.
        thread: what the executor needs in order to find the stack of the running hook.
        hook_started: ``time.monotonic()`` at which the running hook began; 0 while none runs.
    """

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_buffered",
        "_handshake",
        "_identity",
        "_info",
        "_joins",
        "_kwargs",
        "_on_trial",
        "_positions",
        "_waker",
        "asked",
        "asked_event",
        "busy",
        "close_code",
        "close_reason",
        "closed_here",
        "closing",
        "conn",
        "executor",
        "groups",
        "handler_class",
        "handover",
        "hook_started",
        "lifecycle",
        "link",
        "loaded_request",
        "namespace",
        "over",
        "owner",
        "queue",
        "runner",
        "subprotocol",
        "thread",
        "unconfirmed",
        "user_changes",
        "user_seen",
    )

    def __init__(
        self,
        conn: int,
        namespace: str,
        handshake: bytes,
        handler_class: type[WebSocketHandler],
        link: Link,
        executor: Runner,
    ) -> None:
        self.conn = conn
        self.namespace = namespace
        self.handler_class = handler_class
        self.link = link
        self.executor = executor
        self.lifecycle = Lifecycle(handler_class, self)
        self.handover = Handover(handler_class)
        self.busy = False
        self.queue: list[Event] = []
        self.runner: object = None
        self.thread: object = None
        self.closing = False
        self.closed_here = False
        self.over = False
        self.owner = ("", "")
        self.user_seen = 0
        self.user_changes = False
        self.close_code: int | None = None
        self.close_reason = ""
        self.subprotocol: str | None = None
        self.groups: frozenset[str] = frozenset()
        self.unconfirmed = 0
        self.hook_started = 0.0
        self.asked = 0  # seq of the call that is to be answered
        self.asked_event = False  # it is an event
        self._info = b""
        self._joins = 0  # guarded by the link's lock
        self._positions: dict[int, Position] = {}  # by request; each a single dict operation
        self._handshake = handshake
        # User and session as the gateway knows them, if this worker has told it.
        self._identity: tuple[str, str] | None = None
        self._kwargs: Mapping[str, Any] | None = None
        self._on_trial = False  # the handshake may be somebody else's
        self.loaded_request: HandshakeRequest | None = None
        # What a hook sends before the connection is accepted; bounded by the largest message a
        # handler may send, guarded by the link's lock.
        self._buffer: list[WorkerMessage] | None = None
        self._buffered = 0  # bytes
        self._waker: threading.Condition | None = None  # made under the link's lock

    # ------------------------------------------------------------------ for handlers

    @property
    def id(self) -> str:
        return f"{self.link.gateway}-{self.conn}"

    @property
    def gateway(self) -> str:
        return self.link.gateway

    @property
    def handshake(self) -> Handshake:
        """Decoded at each call: it takes up more room than all else of an idle connection."""
        return decode_handshake(self._handshake)

    @property
    def kwargs(self) -> Mapping[str, Any]:
        if self._kwargs is None:
            captured = self.handshake.kwargs
            url = conf.namespace_url(self.namespace)
            self._kwargs = captured if url is None else url.kwargs(captured)
        return self._kwargs

    def come_back(self, handshake: bytes) -> tuple[bytes, HandshakeRequest]:
        """The browser is back with another handshake; returns what it had before.

        A user who does not come from the session's cookie stays: a ticket is used up.
        """
        before = self._handshake, self.request
        self._on_trial = True
        self._handshake = handshake
        self.loaded_request = before[1].continued(self.handshake)
        return before

    def undo(self, before: tuple[bytes, HandshakeRequest]) -> None:
        """It was somebody else's."""
        self._handshake, self.loaded_request = before

    def is_back(self) -> None:
        """What became of it is decided."""
        self._on_trial = False

    def recognize(self, user: str) -> None:
        """Check that a browser that is back is its user's.

        Args:
            user: whose connection it is, as gateways call them; empty for nobody.

        Raises:
            Stranger: It is another one's, or nobody's any more.
        """
        handshake = self.handshake
        ticket = tickets.find(handshake.query, handshake.auth)
        bearer = tickets.bearer(ticket) if ticket else ""
        found = self.request.identity()[0]
        if user and any(each and each != user for each in (bearer, found)):
            raise Stranger(403, "this session is another user's")
        if user and not found:
            raise Stranger(401, "not logged in any more")

    def resolves(self) -> bool:
        """Whether the URL's converters take what the gateway found by their patterns alone."""
        if conf.namespace_url(self.namespace) is not None:
            try:
                _ = self.kwargs
            except ValueError:
                return False
        return True

    @property
    def request(self) -> HandshakeRequest:
        if self.loaded_request is None:
            self.loaded_request = HandshakeRequest(self.handshake, self.handover.user)
        return self.loaded_request

    @property
    def user(self) -> AbstractBaseUser | AnonymousUser:
        return self.request.user

    @user.setter
    def user(self, user: AbstractBaseUser | AnonymousUser | None) -> None:
        self.request.user = user

    def refresh_user(self) -> None:
        self.request.refresh_user()

    def ticket_user(self) -> bool:
        if b"ticket" not in self._handshake:
            return False  # so nothing is decoded
        handshake = self.handshake
        ticket = tickets.find(handshake.query, handshake.auth)
        if ticket:
            self.request.use_ticket(ticket, tickets.use_up)
        return bool(ticket)

    @property
    def state(self) -> dict[str, Any]:
        return self.handover.state

    @property
    def closed(self) -> bool:
        return self.closing

    @property
    def stopping(self) -> bool:
        return self.executor.stopping

    def select_subprotocol(self, name: str | None) -> None:
        if not self.deciding:
            raise RuntimeError("a subprotocol can only be chosen in on_connect")
        if name is not None and name not in self.handshake.subprotocols:
            raise ValueError(f"the client does not offer the subprotocol {name!r}")
        self.subprotocol = name

    def send(self, message: str | bytes) -> None:
        if self.closing:
            raise ConnectionClosed(self.close_code or 1006, self.close_reason)
        if isinstance(message, str):
            data, opcode = message.encode(), TEXT
        else:
            data, opcode = message, BINARY
        limit = self.executor.max_outgoing
        if len(data) > limit:
            raise MessageTooBig(len(data), limit)
        self._send(Send(self.conn, opcode, data), len(data))

    def _send(self, message: Send | Emit | Reply, size: int) -> None:
        if self._buffer is not None and self._put_aside(message):
            return
        link = self.link
        if not link.put_send(self, message, size):
            self._send_when_read(message, size)
        self.executor.sent(link)
        if link.congested:
            link.flush_all()

    def emit(self, event: str, args: Sequence[object]) -> None:
        if self.closing:
            raise ConnectionClosed(self.close_code or 1006, self.close_reason)
        if event in RESERVED and self.handshake.kind == "socketio":
            raise ValueError(f"clients of Socket.IO break off over an event {event!r}")
        payload = pack(list(args))
        if payload.attachments:
            if self.handshake.kind == "plain":
                raise TypeError("bytes cannot be in an event for a plain client: use send()")
            self._check_bytes(payload, True)
        message = Emit(self.conn, event, *payload)
        size = size_of(message)
        if size > self.executor.max_outgoing:
            raise MessageTooBig(size, self.executor.max_outgoing)
        self._send(message, size)

    def answer(self, code: int, value: object) -> None:
        """Answer the call that is at hand, if an answer is wanted.

        Args:
            code: 0 for success; else ``value`` has words.
        """
        seq = self.asked
        if not seq or self.closing:
            return
        payload = Payload(str(value).encode(), []) if code else pack(value)
        if payload.attachments:
            self._check_bytes(payload, self.asked_event)
        message = Reply(self.conn, seq, code, *payload)
        size = size_of(message)
        if size > self.executor.max_outgoing:
            raise MessageTooBig(size, self.executor.max_outgoing, "an answer")
        self.asked = 0  # not before: what cannot be encoded is answered by an error
        self._send(message, size)

    def _check_bytes(self, payload: Payload, arguments: bool) -> None:
        kind = self.handshake.kind
        if kind == "v1" and payload.mixed(arguments):
            raise TypeError("bytes go alone to this client: as an event's only argument, or answer")
        if kind == "socketio" and len(payload.attachments) > MAX_ATTACHMENTS:
            raise ValueError(f"over {MAX_ATTACHMENTS} times bytes in one event or answer")

    def _put_aside(self, reply: WorkerMessage) -> bool:
        """Keep what is to follow the acceptance. False if that has just been said."""
        with self.link.lock:
            buffer = self._buffer
            if buffer is None:
                return False
            if isinstance(reply, (Send, Emit, GroupSend)):
                size = self._buffered + len(reply.data)
                if size > self.executor.max_outgoing:
                    limit = self.executor.max_outgoing
                    raise MessageTooBig(size, limit, "what on_connect sends in all")
                self._buffered = size
                if type(reply) is Send:
                    self.unconfirmed += len(reply.data)
                elif type(reply) is Emit:
                    self.unconfirmed += size_of(reply)
            buffer.append(reply)
        return True

    def _send_when_read(self, reply: Send | Emit | Reply, size: int) -> None:
        """Wait until the client has read enough, at most ``SEND_TIMEOUT``."""
        self.link.flush()
        limit = self.executor.send_timeout
        done = False

        def settled() -> bool:
            nonlocal done
            done = not self.closing and self.link.put_send(self, reply, size)
            return done or self.closing

        with self.executor.parked():
            in_time = self._wait_for(settled, limit or None)
        if not in_time:
            raise SendTimeout(f"the client has not read for {limit:g} s")
        if not done:
            raise ConnectionClosed(self.close_code or 1006, self.close_reason)

    def close(self, code: int, reason: str) -> None:
        if self.closing:
            return
        self.close_code, self.close_reason = code, reason
        self.closed_here = self.closing = True
        # Never held up: it comes once, and also from the thread that watches the others.
        reply = Close(self.conn, code, reason)
        if self._buffer is None or not self._put_aside(reply):
            self.link.put(reply)
            self.executor.sent(self.link)
        self.wake()

    def join(self, group: str, since: Sequence[Any] | None) -> Position:
        known = group in self.groups
        self.groups |= {group}
        if self.link.version < 2 or (since is None and not self.executor.has_history(group)):
            if not known:
                self._put(Join(self.conn, group))
            return Position(0, "")
        position = None if since is None else wire.Position(int(since[0]), str(since[1]))
        with self.link.lock:
            self._joins += 1
            request = self._joins
        # Ahead of the acceptance, which waits for this hook.
        self.link.put(Join(self.conn, group, request, position))
        self.link.flush()
        with self.executor.parked():
            self._wait_for(lambda: request in self._positions or self.closing, JOIN_TIMEOUT)
        return self._positions.pop(request, Position(0, ""))

    def joined(self, event: Joined) -> None:
        """The gateway has made it a member."""
        self._positions[event.request] = Position(event.offset, event.epoch)
        self.wake()

    def leave(self, group: str) -> None:
        if group in self.groups:
            self.groups -= {group}
            self._put(Leave(self.conn, group))

    def publish(self, draft: Publish, immediate: bool, using: str | None) -> None:
        if len(draft.data) > self.executor.max_outgoing:
            raise MessageTooBig(len(draft.data), self.executor.max_outgoing)
        alias = None if immediate else in_transaction(using)
        if alias is None:
            self._publish(draft)
        else:
            defer(alias, draft, self._publish, 1)

    def _publish(self, draft: Publish) -> None:
        exclude = self.conn if draft.exclude else 0
        message = GroupSend(draft.group, draft.opcode, draft.data, exclude, draft.event, draft.json)
        if self._buffer is None or not self._put_aside(message):
            self.executor.publish(self.link, message)

    @property
    def auth(self) -> Any:
        auth = self.handshake.auth
        return json.loads(auth) if auth else None

    @property
    def info(self) -> Any:
        return json.loads(self._info) if self._info else None

    def show(self, info: object) -> None:
        data = pack_info(info)
        if data != self._info:
            self._info = data
            if self.link.version >= 2:
                # Ahead of the acceptance, with which its groups hear of it.
                self._put(Info(self.conn, data), aside=False)

    def first(self) -> bool:
        """Whether the message at hand is the connection's first; from now on none is."""
        before, self.lifecycle.opened = self.lifecycle.opened, True
        return not before

    def _put(self, reply: WorkerMessage, aside: bool = True) -> None:
        if not (aside and self._buffer is not None and self._put_aside(reply)):
            self.link.put(reply)
            self.executor.sent(self.link)
            if self.link.congested:
                self.link.flush_all()  # this has no window, so here it is held up

    def wait(self, seconds: float | None) -> bool:
        if self.closing:
            return True  # a hook that asks again and again runs on, as far as others can tell
        hygiene.give_back()
        self.link.flush()
        # A thread of the handler's own may wait, too, whether or not a hook runs meanwhile.
        in_hook = self.executor.here() == self.thread and self.hook_started > 0
        if in_hook:
            self.hook_started = 0.0
        with self.executor.parked():
            ended = self._wait_for(lambda: self.closing or self.executor.stopping, seconds)
        if in_hook:
            self.hook_started = time.monotonic()
        if ended and not self.closing:
            self.handover.interrupt()
        return ended

    # ------------------------------------------------------------------ for the lifecycle

    def before_hook(self) -> None:
        self.hook_started = time.monotonic()
        if self.executor.shared:
            self.executor.enter(self.link)
        if not hygiene.thread.begun:
            hygiene.begin()
        if hygiene.thread.dirty:
            hygiene.tidy()

    def after_hook(self, failed: bool) -> None:
        self.hook_started = 0.0
        try:
            if self.loaded_request is not None or hygiene.thread.saves_sessions:
                self.request.end_hook(failed)
                # A stranger's cookie says nothing about the connection.
                if self.request.lost and self.owner[1] and not self._on_trial:
                    self.close(*LOGGED_OUT)
        finally:
            if self.executor.shared:
                self.executor.enter(None)
            if hygiene.thread.dirty:
                hygiene.tidy()

    # ------------------------------------------------------------------ for the receiving thread

    def ended(self, event: Disconnect) -> None:
        """The connection is closed, though earlier events may still wait for their hooks."""
        if not self.closing:
            self.close_code, self.close_reason = event.code, event.reason
            self.closing = True
        self.wake()

    def confirmed(self, size: int) -> None:
        """The client has read: the send window opens by ``size`` bytes."""
        with self.link.lock:
            self.unconfirmed = max(0, self.unconfirmed - size)
        self.wake()

    def wake(self) -> None:
        """Let waiting hooks look again."""
        waker = self._waker
        if waker is not None:
            with waker:
                waker.notify_all()

    def _wait_for(self, ready: Callable[[], bool], seconds: float | None) -> bool:
        """Sleep until a :meth:`wake` after which ``ready()`` holds. False if the time is over."""
        waker = self._waker
        if waker is None:
            with self.link.lock:
                waker = self._waker = self._waker or threading.Condition(threading.Lock())
        with waker:
            return waker.wait_for(ready, seconds)

    # ------------------------------------------------------------------ the handshake

    @property
    def deciding(self) -> bool:
        """Whether ``on_connect`` runs, so that what it sends is kept until it has said yes."""
        return self._buffer is not None

    def decide(self) -> None:
        """``on_connect`` begins."""
        self._buffer = []

    def accept(self, user: str, session: str) -> None:
        """It said yes; what it sent goes out behind that."""
        self._identity = self.owner = (user, session)
        with self.link.lock:
            # Other threads may be sending, and nothing may overtake what they sent before.
            buffer, self._buffer = self._buffer or [], None
            self.link.append(Accept(self.conn, self.subprotocol or "", user, session), *buffer)
        for message in buffer:
            if isinstance(message, GroupSend):
                self.executor.publish_elsewhere(self.link, message)

    def identify(self, user: str, session: str) -> None:
        """Tell the gateway whose connection it is, if that has changed with a hook."""
        if self._identity != (user, session) and self.link.version >= 2:
            self._identity = self.owner = (user, session)
            self.link.put(Identity(self.conn, user, session))

    def let_in_and_close(self, code: int, reason: str) -> None:
        """It said no, in words that a browser can read: by a close frame."""
        if self.subprotocol is None:
            # A browser takes no connection without one of those that it has offered.
            self.subprotocol = next(iter(self.handshake.subprotocols), None)
        self._buffer = []
        self.accept("", "")
        self.close(code, reason)

    def refuse(self, status: int, reason: str) -> None:
        """It said no."""
        self.closing = True
        self._buffer = None
        self.link.put(Refuse(self.conn, status, reason))

    # ------------------------------------------------------------------ for executors

    def turn_away(self, refusal: Refuse) -> None:
        """There is nothing to run the handler with."""
        self.link.put(refusal)
        self.closing = True
        self.end(0)
        self.link.flush()

    def end(self, seq: int) -> None:
        """Its last event is handled."""
        self.link.done(self.conn, seq, None)
        self.over = True
        self.link.connections.pop(self.conn, None)

    def restored(self, event: Restore) -> None:
        """Take over what the former worker knew."""
        self.handover.take(event.snapshot)
        self.subprotocol = event.subprotocol or None
        self.groups = frozenset(event.groups)
        self.unconfirmed = event.window
        self._info = event.info
        self.owner = (event.user, event.session)

    def stack(self) -> str:
        """Where the running hook is, as a traceback has it; for logs."""
        frame = self.executor.frame_of(self.thread)
        return "".join(traceback.format_stack(frame)) if frame is not None else "(unknown)"


#: The link that such connections are on.
Link = GatewayLink[WorkerConnection]
