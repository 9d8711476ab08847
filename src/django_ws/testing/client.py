"""Clients for tests of handlers.

Hooks run in the test's own thread, so ``TestCase`` transactions, ``override_settings`` and mocks
work, and nothing needs waiting for::

    class ChatTests(TestCase):
        def test_echo(self):
            client = WebSocketClient()
            self.assertTrue(client.connect("/socket/chat"))
            client.send("hello")
            self.assertEqual(client.receive(), "hello")
            client.close()

Clients of one test are members of the same groups, and hear what any code publishes. What else the
gateway does is not there: the checks of Host and Origin, limits, pings, fragments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from django.core.serializers.json import DjangoJSONEncoder
from django.test import Client

from ..base import WebSocketHandler, as_message
from ..exceptions import ConnectionClosed, RequestError
from ..worker.lifecycle import Call
from ..worker.payloads import pack, unpack
from . import handshakes
from .connection import LocalConnection
from .inbox import ReceivedEvent
from .place import Place
from .session import LocalSession

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

__all__ = ["WebSocketClient"]


class WebSocketClient:
    """A browser's end of one connection at a time; a context manager that closes it at its end.

    Args:
        target: a handler class, to test it whatever ``DEFAULT_WS_HANDLERS`` says; or a path or
            namespace, as the default of :meth:`connect`.
        raise_handler_exceptions: what leaves a hook is raised in the test. ``False`` treats it as a
            worker does: ``on_error``, by default close 1011, and 500 for ``on_connect``.
        waits: how often ``handler.wait`` returns ``False`` in a hook. It never sleeps; after so
            many calls it returns ``True``, so that a hook that loops comes to an end.

    Attributes:
        cookies: sent with the next handshake; assign ``self.client.cookies`` to share a login.
        accepted: whether the handshake was accepted.
        status: HTTP status of the handshake, 101 if it was accepted; ``None`` before it.
        reason: why it was refused.
    """

    def __init__(
        self,
        target: type[WebSocketHandler] | str | None = None,
        *,
        raise_handler_exceptions: bool = True,
        waits: int = 1,
    ) -> None:
        if isinstance(target, type) and not issubclass(target, WebSocketHandler):
            raise TypeError(f"{target!r} is no subclass of WebSocketHandler")
        self.raise_handler_exceptions = raise_handler_exceptions
        self.waits = waits
        self.cookies = Client().cookies
        self.status: int | None = None
        self.reason = ""
        self._target = target
        self._place = Place()
        self._place.gateway(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.accepted:
            self.close()

    # ------------------------------------------------------------------ the handshake

    def force_login(self, user: AbstractBaseUser, backend: str | None = None) -> None:
        """Log ``user`` in for the next handshake, as ``django.test.Client.force_login`` does."""
        client = Client()
        client.cookies = self.cookies
        # The stubs know the project's own user model only.
        client.force_login(user, backend)  # type: ignore[arg-type]

    def connect(
        self,
        path: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        kwargs: Mapping[str, Any] | None = None,
        secure: bool = False,
    ) -> bool:
        """Connect, which runs ``on_connect``.

        Args:
            path: path, with or without a query; or a namespace.
            headers: of the handshake, besides those that every browser sends.
            subprotocols: offered, in the client's order.
            kwargs: ``handler.kwargs``, where no path says them.
            secure: whether over TLS.

        Returns:
            Whether the handshake was accepted. As with a refused view nothing is raised: look at
            :attr:`status` and :attr:`reason`. An unknown path or namespace is refused with 404.

        Raises:
            ValueError: A namespace is given, but not all the parameters of its URL.
        """
        gateway = self._place.gateway(self)
        gateway.settle()
        if self.accepted and not self.closed:
            raise RuntimeError("this client is connected: close() first, or use another one")
        self._place.session = None
        target = self._target
        path, _, query = (path or (target if isinstance(target, str) else "default")).partition("?")
        try:
            found = handshakes.find(path, target if isinstance(target, type) else None)
        except handshakes.NoDestination as error:
            self.status, self.reason = 404, f"Not Found: {error}"
            return False
        found.kwargs.update(kwargs or {})
        if not isinstance(target, type):
            handshakes.check_kwargs(found)
        connection = LocalConnection(
            gateway.number(),
            gateway,
            handshakes.handshake(
                found, path, query, self.cookies, headers or {}, subprotocols, secure
            ),
            found.kwargs,
            found.handler_class,
            reraise=self.raise_handler_exceptions,
            waits=self.waits,
        )
        session = LocalSession(gateway, connection)
        refusal = session.connect()
        if refusal is not None:
            self.status, self.reason = refusal.status, refusal.reason
            return False
        self.status, self.reason = 101, ""
        self._place.session = session
        gateway.settle()
        return True

    # ------------------------------------------------------------------ messages

    def send(self, message: str | bytes) -> None:
        """Send a message; returns when its hooks are done.

        Raises:
            ConnectionClosed: The connection is closed.
            AssertionError: There is no connection.
        """
        lifecycle = self._open().lifecycle
        self._run(lifecycle.message(as_message(message)))

    def send_json(self, obj: Any) -> None:
        """Send ``obj`` as JSON."""
        self.send(json.dumps(obj, cls=DjangoJSONEncoder))

    def emit(self, event: str, *args: Any) -> Any:
        """Send a named event, as clients of ``django-ws.v1`` and Socket.IO do.

        Args:
            event: its name.
            args: whatever ``DjangoJSONEncoder`` takes, and bytes.

        Returns:
            The acknowledgement: what ``on_event`` returns, a tuple for several values.

        Raises:
            ConnectionClosed: The connection is closed.
        """
        session = self._open()
        values: Any = unpack(*pack(list(args)))
        session.connection.answered = None
        self._run(session.lifecycle.event(event, values))
        found: list[Any] = (session.connection.answered or (0, []))[1]
        return tuple(found) if len(found) > 1 else next(iter(found), None)

    def request(self, data: Any) -> Any:
        """Send a message that wants an answer, as clients of ``django-ws.v1`` do.

        Args:
            data: whatever ``DjangoJSONEncoder`` takes, and bytes.

        Returns:
            What ``on_request`` returns, as JSON gives it back.

        Raises:
            RequestError: The handler answers with it.
            ConnectionClosed: The connection is closed, before it or by it.
        """
        session = self._open()
        connection = session.connection
        connection.answered = None
        self._run(session.lifecycle.request(unpack(*pack(data))))
        if connection.answered is None:
            raise ConnectionClosed(connection.close_code or 1006, connection.close_reason)
        code, value = connection.answered
        if code:
            raise RequestError(code, value)
        return value

    def _open(self) -> LocalSession:
        """The session, if it can still be sent something."""
        session = self._require()
        connection = session.connection
        if connection.closed:
            raise ConnectionClosed(connection.close_code or 1006, connection.close_reason)
        return session

    def _run(self, call: Call | None) -> None:
        session = self._require()
        try:
            session.run(call)
        finally:
            self._place.settle()

    def receive(self, timeout: float = 0) -> str | bytes:
        """The next message that the handler or a group sent; those before a close can still be
        received. A named event comes as plain clients get it.

        Args:
            timeout: seconds to wait for a message that a thread of the handler's own sends.

        Raises:
            AssertionError: There is none.
        """
        return self._require().connection.sent.message(timeout)

    def receive_json(self, timeout: float = 0) -> Any:
        """The next message, decoded; raises as :meth:`receive` does."""
        return json.loads(self.receive(timeout))

    def receive_event(self, timeout: float = 0) -> ReceivedEvent:
        """The next one, which has to be a named event.

        Args:
            timeout: as of :meth:`receive`.

        Raises:
            AssertionError: There is none, or it is a message.
        """
        return self._require().connection.sent.event(timeout)

    def receive_nothing(self) -> bool:
        """Whether nothing is left to receive."""
        return self._require().connection.sent.empty

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close from the client's side, which runs ``on_close``; nothing if it is closed already.

        Args:
            code: of the close frame; 1006 for a browser that vanished without one.
            reason: of the close frame.
        """
        self._require().connection.close(code, reason)
        self._place.settle()

    # ------------------------------------------------------------------ what there is to look at

    @property
    def accepted(self) -> bool:
        return self._place.session is not None

    @property
    def handler(self) -> WebSocketHandler:
        """The handler's instance."""
        return self._require().lifecycle.handler

    @property
    def subprotocol(self) -> str | None:
        """What the handler chose of the subprotocols offered."""
        return self._require().connection.subprotocol

    @property
    def closed(self) -> bool:
        """Whether either side has closed the connection."""
        return self._require().connection.closed

    @property
    def close_code(self) -> int | None:
        """What the connection was closed with; ``None`` while it is open."""
        return self._require().connection.close_code

    @property
    def close_reason(self) -> str:
        """The reason it was closed with; empty if there is none."""
        return self._require().connection.close_reason

    def _require(self) -> LocalSession:
        """The session, with everything done that has happened so far."""
        session = self._place.session
        if session is None:
            refused = f"was refused with {self.status} {self.reason}".rstrip()
            raise AssertionError(
                "connect() first" if self.status is None else f"the handshake {refused}"
            )
        self._place.settle()
        return session
