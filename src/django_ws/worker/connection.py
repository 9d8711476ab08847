"""A browser's connection as its worker sees it."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..base import WebSocketHandler
from ..exceptions import ConnectionClosed, MessageTooBig, SendTimeout
from ..wire.codec import decode_handshake
from ..wire.messages import (
    BINARY,
    TEXT,
    Accept,
    Close,
    Connect,
    Disconnect,
    Event,
    GroupSend,
    Handshake,
    Join,
    Leave,
    Message,
    Refuse,
    Released,
    Restore,
    SaveSnapshot,
    Send,
    Snapshot,
    WorkerMessage,
)
from . import hygiene
from .lifecycle import Lifecycle, Refusal
from .request import HandshakeRequest, user_key
from .state import decode_state, encode_state

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

    from .executors import Executor
    from .link import GatewayLink

__all__ = ["WorkerConnection"]

logger = logging.getLogger("django_ws.worker")


class WorkerConnection:
    """One connection: a handler's view of it (``base.Connection``) and what executors run.

    One thread at a time runs :meth:`handle`; the executor sees to that. ``send`` and ``wait`` may
    be called from any thread.

    Attributes:
        busy, queue: the pool's, under its lock: whether a thread has or will have this
            connection, and the events that wait for it. Bounded by the gateway's window.
        runner: whatever else the executor keeps for the connection.
        closing: closed by either side; set by the receiving thread or a hook, never cleared.
        closed_here: closed by the handler, so that no further message reaches it.
        over: the last hook has run, so an event that comes all the same is dropped.
        unconfirmed: bytes sent and not confirmed; guarded by the link's lock.
        thread: what the executor needs in order to find the stack of the running hook.
        hook_started: ``time.monotonic()`` at which the running hook began; 0 while none runs.
    """

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_buffered",
        "_handshake",
        "_request",
        "_saved",
        "_state",
        "_waker",
        "busy",
        "close_code",
        "close_reason",
        "closed_here",
        "closing",
        "conn",
        "executor",
        "groups",
        "handler_class",
        "hook_started",
        "interrupted",
        "lifecycle",
        "link",
        "namespace",
        "over",
        "queue",
        "runner",
        "subprotocol",
        "thread",
        "unconfirmed",
    )

    def __init__(
        self,
        conn: int,
        namespace: str,
        handshake: bytes,
        handler_class: type[WebSocketHandler],
        link: GatewayLink,
        executor: Executor,
    ) -> None:
        self.conn = conn
        self.namespace = namespace
        self.handler_class = handler_class
        self.link = link
        self.executor = executor
        self.lifecycle = Lifecycle(handler_class, self)
        self.busy = False
        self.queue: list[Event] = []
        self.runner: object = None
        self.thread: object = None
        self.closing = False
        self.closed_here = False
        self.over = False
        self.close_code: int | None = None
        self.close_reason = ""
        self.subprotocol: str | None = None
        self.groups: frozenset[str] = frozenset()
        self.unconfirmed = 0
        self.interrupted = False
        self.hook_started = 0.0
        self._handshake: bytes | Handshake = handshake
        self._request: HandshakeRequest | None = None
        self._state: dict[str, Any] | None = None
        self._saved = (b"", "", True)
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
        if isinstance(self._handshake, bytes):
            return decode_handshake(self._handshake)
        return self._handshake

    @property
    def kwargs(self) -> Mapping[str, str]:
        return self.handshake.kwargs

    @property
    def request(self) -> HandshakeRequest:
        if self._request is None:
            self._request = HandshakeRequest(self.handshake, self._saved[1])
        return self._request

    @property
    def user(self) -> AbstractBaseUser | AnonymousUser:
        return self.request.user

    def refresh_user(self) -> None:
        self.request.refresh_user()

    @property
    def state(self) -> dict[str, Any]:
        if self._state is None:
            self._state = decode_state(self._saved[0])
        return self._state

    @property
    def closed(self) -> bool:
        return self.closing

    @property
    def stopping(self) -> bool:
        return self.executor.stopping

    def select_subprotocol(self, name: str | None) -> None:
        if self._buffer is None:
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
        reply = Send(self.conn, opcode, data)
        if self._buffer is not None and self._put_aside(reply):
            return
        link = self.link
        if not link.put_send(self, reply):
            self._send_when_read(reply)
        self.executor.sent(link)
        if link.congested:
            link.flush_all()

    def _put_aside(self, reply: WorkerMessage) -> bool:
        """Keep what is to follow the acceptance. False if that has just been said."""
        with self.link.lock:
            buffer = self._buffer
            if buffer is None:
                return False
            if isinstance(reply, (Send, GroupSend)):
                size = self._buffered + len(reply.data)
                if size > self.executor.max_outgoing:
                    limit = self.executor.max_outgoing
                    raise MessageTooBig(size, limit, "what on_connect sends in all")
                self._buffered = size
                if type(reply) is Send:
                    self.unconfirmed += len(reply.data)
            buffer.append(reply)
        return True

    def _send_when_read(self, reply: Send) -> None:
        """Wait until the client has read enough, at most ``SEND_TIMEOUT``."""
        self.link.flush()
        limit = self.executor.send_timeout
        done = False

        def settled() -> bool:
            nonlocal done
            done = not self.closing and self.link.put_send(self, reply)
            return done or self.closing

        if not self._wait_for(settled, limit or None):
            raise SendTimeout(f"the client has not read for {limit:g} s")
        if not done:
            raise ConnectionClosed(self.close_code or 1006, self.close_reason)

    def close(self, code: int, reason: str) -> None:
        if self.closing:
            return
        self.close_code, self.close_reason = code, reason
        self.closed_here = self.closing = True
        self._put(Close(self.conn, code, reason))
        self.wake()

    def join(self, group: str) -> None:
        if group not in self.groups:
            self.groups |= {group}
            self._put(Join(self.conn, group))

    def leave(self, group: str) -> None:
        if group in self.groups:
            self.groups -= {group}
            self._put(Leave(self.conn, group))

    def publish(self, group: str, message: str | bytes, exclude_self: bool) -> None:
        text = isinstance(message, str)
        data = message.encode() if isinstance(message, str) else message
        if len(data) > self.executor.max_outgoing:
            raise MessageTooBig(len(data), self.executor.max_outgoing)
        self._put(
            GroupSend(group, TEXT if text else BINARY, data, self.conn if exclude_self else 0)
        )

    def _put(self, reply: WorkerMessage) -> None:
        if self._buffer is None or not self._put_aside(reply):
            self.link.put(reply)
            self.executor.sent(self.link)
            if self.link.congested:
                self.link.flush_all()  # this has no window, so here it is held up

    def wait(self, seconds: float | None) -> bool:
        hygiene.release()
        self.link.flush()
        self.hook_started, started = 0.0, self.hook_started
        with self.executor.parked():
            ended = self._wait_for(lambda: self.closing or self.executor.stopping, seconds)
        if started:
            self.hook_started = time.monotonic()
        if ended and not self.closing:
            self.interrupted = True
        return ended

    # ------------------------------------------------------------------ for the lifecycle

    def before_hook(self) -> None:
        self.hook_started = time.monotonic()
        hygiene.before_hook()

    def after_hook(self) -> None:
        self.hook_started = 0.0
        try:
            if self._request is not None:
                self._request.end_hook()
        finally:
            hygiene.after_hook()

    # ------------------------------------------------------------------ for the receiving thread

    def ended(self, event: Disconnect) -> None:
        """The connection is closed, though earlier events may still wait for their hooks."""
        if not self.closing:
            self.close_code, self.close_reason = event.code, event.reason
            self.closing = True
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

    # ------------------------------------------------------------------ for executors

    def turn_away(self, refusal: Refuse) -> None:
        """There is nothing to run the handler with."""
        self.over = self.closing = True
        self.link.put(refusal)
        self.link.done(self.conn, 0, None)
        self.link.connections.pop(self.conn, None)
        self.link.flush()

    def stack(self) -> str:
        """Where the running hook is, as a traceback has it; for logs."""
        frame = self.executor.frame_of(self.thread)
        return "".join(traceback.format_stack(frame)) if frame is not None else "(unknown)"

    def handle(self, event: Event) -> bool:
        """Run the hooks for one event and acknowledge it.

        Returns:
            False once the connection has ended here, so that nothing more may come.
        """
        if self.over:
            # The receiving thread had looked it up before its last hook was done.
            self.link.done(self.conn, 0, None)
            return False
        alive, seq, saved = True, 0, None
        try:
            if type(event) is Message:
                seq = event.seq
                if not self.closed_here:
                    data = event.data
                    self.lifecycle.message(data.decode() if event.opcode == TEXT else data)
            elif isinstance(event, Connect):
                seq = event.seq
                alive = self._handle_connect()
            elif isinstance(event, Disconnect):
                seq = event.seq
                alive = False
                self.lifecycle.close()
            elif isinstance(event, Restore):
                seq = event.seq
                self.lifecycle.restore(event.seq > 1, event.ended)
            else:
                alive = self._handle_release()
            if alive:
                saved = self._save()
        except Exception:
            # What hooks raise does not get here; whatever this is, the thread has others to serve.
            logger.exception("%s: connection %s failed", self.namespace, self.id)
            self.close(1011, "internal error")
        self.link.done(self.conn, seq, saved)
        if not alive:
            self.over = True
            self.link.connections.pop(self.conn, None)
        return alive

    def _handle_connect(self) -> bool:
        self._buffer = []
        user = ""
        try:
            self.lifecycle.connect()
            if self.executor.count_users:
                user = self._counted_user()
        except Exception as error:
            if not isinstance(error, Refusal):
                logger.exception("%s: connection %s failed", self.namespace, self.id)
                error = Refusal(500, "")
            self.closing = True
            self._buffer = None
            self.link.put(Refuse(self.conn, error.status, error.reason))
            return False
        with self.link.lock:
            # Other threads may be sending, and nothing may overtake what they sent before.
            buffer, self._buffer = self._buffer, None
            self.link.append(Accept(self.conn, self.subprotocol or "", user), *buffer)
        return True

    def _counted_user(self) -> str:
        """Whose connection it is, also if no hook has asked for the user yet."""
        self.before_hook()
        try:
            return user_key(self.user) if self.user.is_authenticated else ""
        finally:
            self.after_hook()

    def _handle_release(self) -> bool:
        """Give the connection back, or close it if only this process can continue it."""
        state, user, movable = self._saved
        if not movable:
            self.executor.cannot_move(self.handler_class)
            self.close(1012, "service restart")
            return True
        self.closing = True
        self.link.put(Released(self.conn, Snapshot(state, user, movable)))
        return False

    def restored(self, event: Restore) -> None:
        """Take over what the former worker knew."""
        snapshot = event.snapshot
        self._saved = (snapshot.state, snapshot.user, True)
        self.subprotocol = event.subprotocol or None
        self.groups = frozenset(event.groups)
        self.unconfirmed = event.window

    def _save(self) -> SaveSnapshot | None:
        """The snapshot, if it changed with this hook."""
        state, user, movable = self._saved
        handler = self.lifecycle.handler
        now_movable = (
            not (handler.__dict__ or self.interrupted)
            or self.handler_class.on_restore is not WebSocketHandler.on_restore
        )
        if self._state is None and self._request is None and now_movable is movable:
            return None
        if self._state is not None:
            try:
                state = encode_state(self._state, state)
            except (TypeError, ValueError, RuntimeError) as error:
                self.lifecycle._failed("state", error)
        if self._request is not None:
            user = self._request.user_key(user)
        if self._saved == (state, user, now_movable):
            return None
        self._saved = (state, user, now_movable)
        return SaveSnapshot(self.conn, Snapshot(*self._saved))
