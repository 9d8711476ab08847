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

What the gateway does is not there: the checks of Host and Origin, limits, pings, fragments.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

from django.core.serializers.json import DjangoJSONEncoder
from django.test import Client
from django.utils.module_loading import import_string

from .. import conf
from ..base import WebSocketHandler, as_message
from ..exceptions import ConnectionClosed
from ..gateway.http.routes import Routes
from ..wire.messages import Handshake
from ..worker.driver import drive
from ..worker.lifecycle import Lifecycle, Refusal
from .connection import LocalConnection
from .publications import CapturedPublications, capture_publications

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

__all__ = ["CapturedPublications", "WebSocketClient", "capture_publications"]


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
        self.raise_handler_exceptions = raise_handler_exceptions
        self.waits = waits
        self.cookies = Client().cookies
        self.status: int | None = None
        self.reason = ""
        self._target = target
        self._lifecycle: Lifecycle | None = None
        self._connection: LocalConnection | None = None
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.accepted and not self._ended:
            self.close()

    # ------------------------------------------------------------------ the handshake

    def force_login(self, user: AbstractBaseUser, backend: str | None = None) -> None:
        """Log ``user`` in for the next handshake, as ``django.test.Client.force_login`` does."""
        client = Client()
        client.cookies = self.cookies
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
        """
        if self._connection is not None and not self._ended:
            raise RuntimeError("this client is connected: close() first, or use another one")
        self._connection = self._lifecycle = None
        target = self._target
        path, _, query = (path or (target if isinstance(target, str) else "default")).partition("?")
        resolved = self._resolve(path, dict(kwargs or {}))
        if isinstance(resolved, str):
            self.status, self.reason = 404, f"Not Found: {resolved}"
            return False
        namespace, groups, handler_class = resolved
        handshake = Handshake(
            namespace=namespace,
            kwargs={name: str(value) for name, value in groups.items()},
            scheme="https" if secure else "http",
            path=path if path.startswith("/") else f"/socket/{path}",
            query=query,
            headers=self._headers(headers or {}, subprotocols, secure),
            client=("127.0.0.1", 50000),
            server=("testserver", 443 if secure else 80),
            subprotocols=list(subprotocols),
            time=time.time(),
        )
        connection = LocalConnection(handshake, groups, self.waits)
        lifecycle = Lifecycle(handler_class, connection, reraise=self.raise_handler_exceptions)
        try:
            drive(lifecycle, connection, lifecycle.connect())
        except Refusal as refusal:
            if not refusal.close:
                self.status, self.reason = refusal.status, refusal.reason
                return False
            lifecycle.refused = True
            connection.close(refusal.close, refusal.reason)
        self.status, self.reason, self._ended = 101, "", False
        self._connection, self._lifecycle = connection, lifecycle
        connection.accepted = True
        self._end_if_closed()
        return True

    def _resolve(
        self, path: str, kwargs: dict[str, Any]
    ) -> tuple[str, dict[str, Any], type[WebSocketHandler]] | str:
        """Namespace, kwargs and handler; or why there are none."""
        namespace = path
        if path.startswith("/"):
            routes = Routes(conf.routes(), conf.websocket_url())
            found = routes.find(unquote(path))
            if found is None:
                return f"{path} does not match {' or '.join(routes.known)}"
            namespace = found.namespace
            url = conf.namespace_url(namespace)
            try:
                converted = found.kwargs if url is None else url.kwargs(found.kwargs)
            except ValueError as error:
                return f"a converter of {namespace!r} does not take {path}: {error}"
            kwargs = {**converted, **kwargs}
        if isinstance(self._target, type):
            return namespace, kwargs, self._target
        dotted = conf.handler_paths().get(namespace)
        if dotted is None:
            return f"there is no DEFAULT_WS_HANDLERS[{namespace!r}]"
        return namespace, kwargs, import_string(dotted)

    def _headers(
        self, own: Mapping[str, str], subprotocols: Sequence[str], secure: bool
    ) -> list[tuple[str, str]]:
        headers = {
            "host": "testserver",
            "upgrade": "websocket",
            "connection": "Upgrade",
            "origin": f"{'https' if secure else 'http'}://testserver",
            "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        if subprotocols:
            headers["sec-websocket-protocol"] = ", ".join(subprotocols)
        if self.cookies:
            pairs = (f"{name}={morsel.coded_value}" for name, morsel in self.cookies.items())
            headers["cookie"] = "; ".join(pairs)
        headers.update({name.lower(): value for name, value in own.items()})
        return list(headers.items())

    # ------------------------------------------------------------------ messages

    def send(self, message: str | bytes) -> None:
        """Send a message; returns when its hooks are done.

        Raises:
            ConnectionClosed: The connection is closed.
            AssertionError: There is no connection.
        """
        lifecycle, connection = self._require()
        if connection.closed:
            raise ConnectionClosed(connection.close_code or 1006, connection.close_reason)
        try:
            drive(lifecycle, connection, lifecycle.message(as_message(message)))
        finally:
            self._end_if_closed()

    def send_json(self, obj: Any) -> None:
        """Send ``obj`` as JSON."""
        self.send(json.dumps(obj, cls=DjangoJSONEncoder))

    def receive(self, timeout: float = 0) -> str | bytes:
        """The next message that the handler sent; those before a close can still be received.

        Args:
            timeout: seconds to wait for a message that a thread of the handler's own sends.

        Raises:
            AssertionError: There is none.
        """
        _, connection = self._require()
        try:
            return connection.sent.get(timeout=timeout) if timeout else connection.sent.get_nowait()
        except queue.Empty:
            said = "the handler has sent nothing (more)"
            if connection.closed:
                said += f"; the connection is closed with {connection.close_code}"
            raise AssertionError(said) from None

    def receive_json(self, timeout: float = 0) -> Any:
        """The next message, decoded; raises as :meth:`receive` does."""
        return json.loads(self.receive(timeout))

    def receive_nothing(self) -> bool:
        """Whether nothing is left to receive."""
        _, connection = self._require()
        return connection.sent.empty()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close from the client's side, which runs ``on_close``; nothing if it is closed already.

        Args:
            code: of the close frame; 1006 for a browser that vanished without one.
            reason: of the close frame.
        """
        _, connection = self._require()
        connection.close(code, reason)
        self._end_if_closed()

    # ------------------------------------------------------------------ what there is to look at

    @property
    def accepted(self) -> bool:
        return self._connection is not None

    @property
    def handler(self) -> WebSocketHandler:
        """The handler's instance."""
        return self._require()[0].handler

    @property
    def subprotocol(self) -> str | None:
        """What the handler chose of the subprotocols offered."""
        return self._require()[1].subprotocol

    @property
    def closed(self) -> bool:
        """Whether either side has closed the connection."""
        return self._require()[1].closed

    @property
    def close_code(self) -> int | None:
        """What the connection was closed with; ``None`` while it is open."""
        return self._require()[1].close_code

    @property
    def close_reason(self) -> str:
        """The reason it was closed with; empty if there is none."""
        return self._require()[1].close_reason

    def _require(self) -> tuple[Lifecycle, LocalConnection]:
        if self._lifecycle is None or self._connection is None:
            refused = f"was refused with {self.status} {self.reason}".rstrip()
            raise AssertionError(
                "connect() first" if self.status is None else f"the handshake {refused}"
            )
        return self._lifecycle, self._connection

    def _end_if_closed(self) -> None:
        lifecycle, connection = self._require()
        if connection.closed and not self._ended:
            self._ended = True
            drive(lifecycle, connection, lifecycle.close())
