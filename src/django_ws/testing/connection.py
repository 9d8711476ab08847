"""A connection without gateway, worker or socket."""

from __future__ import annotations

import json
import queue
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import conf, tickets
from ..exceptions import ConnectionClosed, MessageTooBig
from ..publications import Position
from ..wire.messages import BINARY, Handshake, Publish
from ..worker.payloads import pack
from ..worker.request import HandshakeRequest
from ..worker.state import encode_state

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

__all__ = ["LocalConnection"]

#: Further calls of ``wait`` after one that returned ``True``, before the hook counts as endless.
PATIENCE = 100


class LocalConnection:
    """What a handler under test talks to; ``lifecycle.Host`` and ``driver.Surroundings``.

    Args:
        handshake: the upgrade request.
        kwargs: of the handler.
        waits: calls of ``wait`` in a hook that return ``False``, before it is asked to end.

    Attributes:
        sent: what the handler sent and the test has not received.
    """

    def __init__(self, handshake: Handshake, kwargs: Mapping[str, Any], waits: int) -> None:
        self.namespace = handshake.namespace
        self.id = f"test-{id(self):x}"
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
        self.waits = waits
        # Bounded by the test, which sends the messages that make the handler send.
        self.sent: queue.SimpleQueue[str | bytes] = queue.SimpleQueue()
        self._handshake = handshake
        self._limit = conf.limits().max_outgoing
        self._waited = 0
        self._info: Any = None
        self.heard = False

    @property
    def user(self) -> AbstractBaseUser | AnonymousUser:
        return self.request.user

    @property
    def closed_here(self) -> bool:
        # The test closes only between hooks.
        return self.closed

    def refresh_user(self) -> None:
        self.request.refresh_user()

    def ticket_user(self) -> bool:
        ticket = tickets.find(self._handshake.query, self._handshake.auth)
        if ticket:
            self.request.use_ticket(ticket, _use_up)
        return bool(ticket)

    def select_subprotocol(self, name: str | None) -> None:
        if self.accepted:
            raise RuntimeError("a subprotocol can only be chosen in on_connect")
        if name is not None and name not in self._handshake.subprotocols:
            raise ValueError(f"the client does not offer the subprotocol {name!r}")
        self.subprotocol = name

    def send(self, message: str | bytes) -> None:
        if self.closed:
            raise ConnectionClosed(self.close_code or 1006, self.close_reason)
        size = len(message.encode()) if isinstance(message, str) else len(message)
        if size > self._limit:
            raise MessageTooBig(size, self._limit)
        self.sent.put(message)

    def close(self, code: int, reason: str) -> None:
        if not self.closed:
            self.closed, self.close_code, self.close_reason = True, code, reason

    @property
    def auth(self) -> Any:
        auth = self._handshake.auth
        return json.loads(auth) if auth else None

    @property
    def info(self) -> Any:
        return self._info

    def show(self, info: Any) -> None:
        self._info = json.loads(pack(info).data)

    def emit(self, event: str, args: Sequence[Any]) -> None:
        self.send(json.dumps({"event": event, "args": json.loads(pack(list(args)).data)}))

    def answer(self, code: int, value: object) -> None:
        pack(value)  # fails as it would in a worker

    def first(self) -> bool:
        before, self.heard = self.heard, True
        return not before

    def join(self, group: str, since: Sequence[Any] | None) -> Position:
        self.groups |= {group}
        return Position(0, "")

    def leave(self, group: str) -> None:
        self.groups -= {group}

    def publish(self, draft: Publish, immediate: bool, using: str | None) -> None:
        if draft.group in self.groups and not draft.exclude and not self.closed:
            self.send(draft.data if draft.opcode == BINARY else draft.data.decode())

    def wait(self, seconds: float | None) -> bool:
        if self.closed:
            return True
        self._waited += 1
        # Nothing from outside can end a hook that runs in the test's own thread, so this must.
        if seconds is None or self._waited > self.waits:
            self.stopping = True
        if self._waited > self.waits + PATIENCE:
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
