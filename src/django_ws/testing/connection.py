"""A connection without gateway process, worker or socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from .. import conf, tickets
from ..base import WebSocketHandler
from ..deferral import defer, in_transaction
from ..exceptions import ConnectionClosed, MessageTooBig
from ..gateway.clients.named import plain_data
from ..gateway.shared import Shared
from ..publications import Encoded, Position, decode
from ..wire.messages import BINARY, Handshake, Publish
from ..worker.lifecycle import Lifecycle
from ..worker.payloads import pack, pack_info, unpack
from ..worker.request import HandshakeRequest
from ..worker.state import encode_state
from .inbox import Inbox, Named, ReceivedEvent

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

__all__ = ["LocalConnection", "Switch"]

#: Further calls of ``wait`` after one that returned ``True``, before the hook counts as endless.
PATIENCE = 100


class Switch(Protocol):
    """What a connection needs of whatever has its groups; see :class:`.gateway.LocalGateway`."""

    def join(self, conn: int, group: str, since: Sequence[object] | None) -> Position: ...
    def leave(self, conn: int, group: str) -> None: ...
    def changed(self, conn: int) -> None: ...
    def send(self, messages: Sequence[Publish]) -> None: ...


class LocalConnection:
    """What a handler under test talks to; ``lifecycle.Host`` and ``driver.Surroundings``.

    Args:
        conn: its number.
        switch: has its groups.
        handshake: the upgrade request.
        kwargs: of the handler.
        handler_class: the handler's.
        reraise: what leaves a hook is raised.
        waits: calls of ``wait`` in a hook that return ``False``, before it is asked to end.

    Attributes:
        sent: what the handler, or a group, sent and the test has not received.
        answered: code and value of the last answer to a call.
        encoded_info: JSON of what presence shows; empty for nothing.
    """

    def __init__(
        self,
        conn: int,
        switch: Switch,
        handshake: Handshake,
        kwargs: Mapping[str, Any],
        handler_class: type[WebSocketHandler],
        *,
        reraise: bool,
        waits: int,
    ) -> None:
        self.namespace = handshake.namespace
        self.id = f"test-{conn}"
        self.gateway = "test"
        self.kwargs = kwargs
        self.subprotocol: str | None = None
        self.groups: frozenset[str] = frozenset()
        self.state: dict[str, Any] = {}
        self.request = HandshakeRequest(handshake)
        self.closed = False
        self.stopping = False
        self.close_code: int | None = None
        self.close_reason = ""
        self.accepted = False
        self.lifecycle = Lifecycle(handler_class, self, reraise=reraise)
        self.sent = Inbox(self._ended)
        self.answered: tuple[int, Any] | None = None
        self.encoded_info = b""
        self.conn = conn
        self._switch = switch
        self._held: list[Callable[[], None]] = []  # what on_connect does until it has said yes
        self._handshake = handshake
        self._limit = conf.limits().max_outgoing
        self._waits = waits
        self._waited = 0

    # ------------------------------------------------------------------ who it is

    @property
    def user(self) -> AbstractBaseUser | AnonymousUser:
        return self.request.user

    @user.setter
    def user(self, user: AbstractBaseUser | AnonymousUser | None) -> None:
        self.request.user = user

    def refresh_user(self) -> None:
        self.request.refresh_user()

    def ticket_user(self) -> bool:
        ticket = tickets.find(self._handshake.query, self._handshake.auth)
        if ticket:
            self.request.use_ticket(ticket, _use_up)
        return bool(ticket)

    @property
    def auth(self) -> Any:
        auth = self._handshake.auth
        return json.loads(auth) if auth else None

    @property
    def info(self) -> Any:
        return json.loads(self.encoded_info) if self.encoded_info else None

    def show(self, info: Any) -> None:
        self.encoded_info = pack_info(info)
        self._switch.changed(self.conn)

    def select_subprotocol(self, name: str | None) -> None:
        if self.accepted:
            raise RuntimeError("a subprotocol can only be chosen in on_connect")
        if name is not None and name not in self._handshake.subprotocols:
            raise ValueError(f"the client does not offer the subprotocol {name!r}")
        self.subprotocol = name

    def accept(self) -> None:
        """``on_connect`` has said yes."""
        self.accepted = True
        held, self._held = self._held, []
        for action in held:
            action()

    def let_in_and_close(self, code: int, reason: str) -> None:
        """It said no, in words that a browser can read: by a close frame."""
        self._held.clear()
        self.accept()
        self.close(code, reason)

    # ------------------------------------------------------------------ what is sent

    def _do(self, action: Callable[[], None]) -> None:
        """Do it now, or once the connection is accepted; if it is refused, never."""
        if self.accepted:
            action()
        else:
            self._held.append(action)

    def send(self, message: str | bytes) -> None:
        self._check(len(message.encode() if isinstance(message, str) else message))
        self._do(partial(self.sent.put, message))

    def emit(self, event: str, args: Sequence[Any]) -> None:
        data, attachments = pack(list(args))
        self._check(len(data) + sum(map(len, attachments)))
        values: Any = unpack(data, attachments)
        plain = None if attachments else json.dumps({"event": event, "args": values})
        self._do(partial(self.sent.put, Named(ReceivedEvent(event, tuple(values)), plain)))

    def answer(self, code: int, value: object) -> None:
        data, attachments = pack(value)
        self._check(len(data) + sum(map(len, attachments)), "an answer")
        self.answered = code, unpack(data, attachments)

    def deliver(self, message: Shared) -> None:
        """Something was published for it."""
        if self.closed:
            return
        plain = message.data if message.opcode == BINARY else plain_data(message).decode()
        if message.event:
            value = decode(Encoded(message.opcode, message.data, message.json))
            self.sent.put(Named(ReceivedEvent(message.event, (value,)), plain))
        else:
            self.sent.put(plain)

    def _check(self, size: int, what: str = "a message") -> None:
        if self.closed:
            raise ConnectionClosed(self.close_code or 1006, self.close_reason)
        if size > self._limit:
            raise MessageTooBig(size, self._limit, what)

    def close(self, code: int, reason: str) -> None:
        if not self.closed:
            self.closed, self.close_code, self.close_reason = True, code, reason

    def _ended(self) -> str:
        return f"; the connection is closed with {self.close_code}" if self.closed else ""

    @property
    def closed_here(self) -> bool:
        # The test closes only between hooks.
        return self.closed

    # ------------------------------------------------------------------ groups

    def join(self, group: str, since: Sequence[Any] | None) -> Position:
        self.groups |= {group}
        return self._switch.join(self.conn, group, since)

    def leave(self, group: str) -> None:
        self.groups -= {group}
        self._switch.leave(self.conn, group)

    def publish(self, draft: Publish, immediate: bool, using: str | None) -> None:
        if len(draft.data) > self._limit:
            raise MessageTooBig(len(draft.data), self._limit)
        alias = None if immediate else in_transaction(using)
        if alias is None:
            self._publish(draft)
        else:
            defer(alias, draft, self._publish, 1)

    def _publish(self, draft: Publish) -> None:
        self._do(partial(self._switch.send, [draft]))

    # ------------------------------------------------------------------ hooks

    def first(self) -> bool:
        before, self.lifecycle.opened = self.lifecycle.opened, True
        return not before

    def wait(self, seconds: float | None) -> bool:
        if self.closed:
            return True
        self._waited += 1
        # Nothing from outside can end a hook that runs in the test's own thread, so this must.
        if seconds is None or self._waited > self._waits:
            self.stopping = True
        if self._waited > self._waits + PATIENCE:
            raise AssertionError("the hook does not end, although wait() returned True")
        return self.stopping

    def before_hook(self) -> None:
        """No database hygiene: the connections belong to the ``TestCase``."""
        self.stopping = False
        self._waited = 0

    def after_hook(self, failed: bool) -> None:
        self.stopping = False
        self.request.end_hook(failed)
        if self.state:
            encode_state(self.state)


_used: set[str] = set()  # tickets of the tests in this process, which bound it


def _use_up(nonce: str, expires: float) -> bool:
    if nonce in _used:
        return False
    _used.add(nonce)
    return True
