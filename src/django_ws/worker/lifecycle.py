"""Runs the hooks of one connection, in order; the caller sees to "one at a time".

The one place that knows what hooks mean: which message goes where, what a return value or an
exception does. Used by workers, and by ``django_ws.testing`` in the test's own thread.
"""

from __future__ import annotations

import logging
from contextvars import copy_context
from typing import Any, Protocol

from django.core.exceptions import PermissionDenied

from ..base import Connection, InvalidMessage, WebSocketHandler
from ..exceptions import ConnectionClosed, Reject

__all__ = ["Host", "Lifecycle", "Refusal"]

logger = logging.getLogger("django_ws.handler")


class Host(Connection, Protocol):
    """What the lifecycle needs of a connection beyond what handlers do."""

    @property
    def closed_here(self) -> bool:
        """Whether the handler has closed it, so that it gets no further message."""

    def before_hook(self) -> None:
        """Called before every hook: database hygiene."""

    def after_hook(self) -> None:
        """Called after every hook, also a failed one: hygiene, session. Raises what is wrong."""


class Refusal(Exception):
    """``on_connect`` refused.

    Attributes:
        status: HTTP status.
        reason: for the status line and the body.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}".rstrip())
        self.status = status
        self.reason = reason


class Lifecycle:
    """The hooks of one connection.

    Whatever leaves a hook stays here, ``SystemExit`` and ``asyncio.CancelledError`` included: the
    thread that ran it has other connections to serve.

    Args:
        handler_class: the namespace's handler.
        host: the connection.
        reraise: let exceptions of hooks out instead of handling them as a worker does (for tests).

    Attributes:
        handler: the instance; made by :meth:`connect` or :meth:`restore`.
        opened: whether ``on_open`` has had its message.
    """

    __slots__ = ("handler", "host", "opened", "reraise")

    handler: WebSocketHandler

    def __init__(
        self, handler_class: type[WebSocketHandler], host: Host, *, reraise: bool = False
    ) -> None:
        # The instance may fail in its __init__, so `connect` makes it, where that is handled.
        self.handler = handler_class  # type: ignore[assignment]
        self.host = host
        self.opened = False
        self.reraise = reraise

    def connect(self) -> None:
        """Run ``on_connect``.

        Raises:
            Refusal: The handshake is to be refused; ``on_close`` will not run.
        """
        try:
            self._instantiate()
            verdict = self._run("on_connect")
            if verdict is not None and not isinstance(verdict, bool):
                raise TypeError(
                    f"on_connect returned {type(verdict).__name__}: return None or True to accept, "
                    "False to refuse (or raise Reject)"
                )
        except Reject as refusal:
            raise Refusal(refusal.status, refusal.reason) from None
        except PermissionDenied:
            raise Refusal(403, "") from None
        except ConnectionClosed:
            # The browser went away while the hook ran: nobody sees the status.
            raise Refusal(500, "") from None
        except BaseException as exception:
            if self.reraise:
                raise
            self._log("on_connect", exception)
            raise Refusal(500, "") from None
        if verdict is False:
            raise Refusal(403, "")

    def restore(self, opened: bool, ended: bool) -> None:
        """Make a new instance for a connection that another worker had.

        Args:
            opened: it has had its first message.
            ended: only ``on_close`` is left, so ``on_restore`` does not run.
        """
        self.opened = opened
        try:
            self._instantiate()
            if not ended:
                self._run("on_restore")
        except BaseException as exception:
            self._failed("on_restore", exception)

    def message(self, data: str | bytes) -> None:
        """Run ``on_message``; for the first message ``on_open`` before it, or instead of it."""
        hook = "on_message"
        try:
            message = self.handler._decode(data)
            if not self.opened:
                self.opened = True
                hook = "on_open"
                # Closed by the browser, it still gets its message; closed by the hook, it does not.
                if self._run(hook, message) is not None or self.host.closed_here:
                    return
                hook = "on_message"
            self._run(hook, message)
        except BaseException as exception:
            self._failed(hook, exception)

    def close(self) -> None:
        """Run ``on_close``; what it raises is only logged."""
        try:
            if isinstance(self.handler, type):
                self._instantiate()
            self._run("on_close")
        except ConnectionClosed:
            return
        except BaseException as exception:
            if self.reraise:
                raise
            self._log("on_close", exception)

    def _instantiate(self) -> None:
        handler_class: type[WebSocketHandler] = self.handler  # type: ignore[assignment]
        handler = handler_class()
        handler._connection = self.host
        self.handler = handler

    def _run(self, hook: str, *args: Any) -> Any:
        host = self.host
        host.before_hook()
        try:
            # A copy, so that a language or time zone activated in this hook ends with it.
            result = copy_context().run(self.handler.dispatch, hook, *args)
        except BaseException:
            try:
                host.after_hook()
            except Exception as exception:
                self._log(hook, exception)
            raise
        host.after_hook()
        return result

    def _failed(self, hook: str, exception: BaseException) -> None:
        """Handle what left a hook of an open connection."""
        host = self.host
        if isinstance(exception, ConnectionClosed) and host.closed:
            return
        if isinstance(exception, InvalidMessage):
            logger.debug("%s: connection %s: %s", host.namespace, host.id, exception.reason)
            host.close(exception.code, exception.reason)
            return
        if self.reraise and not isinstance(exception, PermissionDenied):
            raise exception
        self._log(hook, exception)
        if not isinstance(exception, Exception):
            host.close(1011, "internal error")
            return
        if not isinstance(self.handler, WebSocketHandler):
            host.close(1011, "internal error")  # there is no instance whose on_error could run
            return
        try:
            self._run("on_error", exception)
        except ConnectionClosed:
            return
        except BaseException as another:
            self._log("on_error", another)
            host.close(1011, "internal error")

    def _log(self, hook: str, exception: BaseException) -> None:
        host = self.host
        if isinstance(exception, PermissionDenied):
            logger.warning(
                "%s: connection %s: %s: permission denied", host.namespace, host.id, hook
            )
            return
        logger.error(
            "%s: connection %s: %s failed: %s",
            host.namespace,
            host.id,
            hook,
            type(exception).__name__,
            exc_info=exception,
        )
