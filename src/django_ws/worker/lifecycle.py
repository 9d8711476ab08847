"""Which hook of a connection runs next, and what its end means.

The one place that knows what hooks mean: which message goes where, what a return value or an
exception does. It runs none of them: each method says what is to be run (:data:`Call`), and whoever
runs it (:mod:`.driver`) tells :meth:`Lifecycle.returned` or :meth:`Lifecycle.raised` what became of
it, and hears what comes next. Used by workers, and by ``django_ws.testing`` in the test's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from django.core.exceptions import PermissionDenied

from .. import auth
from ..base import Connection, InvalidMessage, WebSocketHandler
from ..exceptions import ConnectionClosed, Reject, RequestError

__all__ = ["Call", "Host", "Lifecycle", "Refusal", "Stranger"]

logger = logging.getLogger("django_ws.handler")

#: A hook to be run: its name and its arguments. The name is all the state there is between two.
Call = tuple[str, tuple[Any, ...]]


class Host(Connection, Protocol):
    """What the lifecycle needs of a connection beyond what handlers do."""

    def answer(self, code: int, value: object) -> None:
        """Answer the call that is at hand.

        Args:
            code: 0 for success; else ``value`` has words.
        """

    def ticket_user(self) -> bool:
        """Take the user of the ticket that the client has brought. False without a ticket.

        Raises:
            Reject: It is none, is for something else, too old, or used up.
        """


class Stranger(Reject):
    """Somebody else wants to go on with a connection."""


class Check:
    """The check of who may connect, as the hook ``authorize`` runs it.

    Attributes:
        then: the hook that is next.
        ran: it came to its end, and found nothing.
        known: who it is was found out.
    """

    __slots__ = ("_handler", "_host", "_recognize", "known", "ran", "then")

    def __init__(
        self,
        handler: WebSocketHandler,
        host: Host,
        then: str,
        recognize: Callable[[], None] | None = None,
    ) -> None:
        self._handler = handler
        self._host = host
        self._recognize = recognize
        self.then = then
        self.ran = False
        self.known = False

    def __call__(self) -> None:
        """Find out who it is, and whether they may.

        Raises:
            Reject: They may not.
        """
        handler = self._handler
        user = None
        # A user who has changed has the same token as before, which may be too old by now.
        if self.then != "on_user_changed" and _authenticates(type(handler)):
            user = handler.authenticate()
            if user is not None:
                handler.user = user
        if user is None and self.then == "on_connect":
            self._host.ticket_user()
        if self._recognize is not None:
            self._recognize()
        self.known = True
        auth.authorize(handler)
        self.ran = True


def _authenticates(handler_class: type[WebSocketHandler]) -> bool:
    return handler_class.authenticate is not WebSocketHandler.authenticate


class Refusal(Exception):
    """``on_connect`` refused.

    Attributes:
        status: HTTP status.
        reason: for the status line and the body.
        close: the browser is to be let in, and closed at once with this code; 0 if it is not.
        stranger: it was somebody else who wanted to go on with the connection.
    """

    def __init__(self, status: int, reason: str, close: int = 0, *, stranger: bool = False) -> None:
        super().__init__(f"{status} {reason}".rstrip())
        self.stranger = stranger
        self.status = status
        self.reason = reason
        self.close = close


class Lifecycle:
    """The hooks of one connection; the caller sees to "one at a time".

    Whatever leaves a hook ends here, ``SystemExit`` and ``asyncio.CancelledError`` included: the
    thread that ran it has other connections to serve.

    Args:
        handler_class: the namespace's handler.
        host: the connection.
        reraise: let exceptions of hooks out instead of handling them as a worker does (for tests).

    Attributes:
        handler: the instance; not there until :meth:`connect` or :meth:`restore` has made it.
        made: whether it is there.
        opened: whether ``on_open`` has had its message.
        refused: the connection is only there for its close code to arrive; no hook runs.
    """

    __slots__ = ("handler", "handler_class", "host", "made", "opened", "refused", "reraise")

    handler: WebSocketHandler

    def __init__(
        self, handler_class: type[WebSocketHandler], host: Host, *, reraise: bool = False
    ) -> None:
        self.handler_class = handler_class
        self.host = host
        self.made = False
        self.opened = False
        self.refused = False
        self.reraise = reraise

    # ------------------------------------------------------------------ what happens

    def connect(self) -> Call:
        """A browser asks to connect.

        Raises:
            Refusal: The handshake is to be refused; nothing else runs. :meth:`returned` and
                :meth:`raised` raise it, too.
        """
        try:
            self._instantiate()
        except BaseException as exception:
            raise self._refusal(exception) from None
        return "authorize", (Check(self.handler, self.host, "on_connect"),)

    def restore(
        self, opened: bool, ended: bool, furnish: Callable[[WebSocketHandler], None]
    ) -> Call | None:
        """Make a new instance for a connection that another worker had.

        Args:
            opened: it has had its first message.
            ended: only ``on_close`` is left, so ``on_restore`` does not run.
            furnish: gives the instance the attributes of the former one.
        """
        self.opened = opened
        try:
            self._instantiate()
            furnish(self.handler)
        except BaseException as exception:
            return self._failed("on_restore", exception)
        if ended:
            return None
        if _authenticates(self.handler_class):
            return "authorize", (Check(self.handler, self.host, "on_restore"),)
        return "on_restore", ()

    def resume(self, recognize: Callable[[], None]) -> Call:
        """The browser is back by another connection, whose handshake the host has by now.

        Args:
            recognize: raises :exc:`Stranger` if it is somebody else's.

        Raises:
            Refusal: From :meth:`returned` and :meth:`raised`, as of :meth:`connect`.
        """
        return "authorize", (Check(self.handler, self.host, "on_resume", recognize),)

    def message(self, data: str | bytes) -> Call | None:
        """A message came: the first one is ``on_open``'s."""
        try:
            message = self.handler._decode(data)
        except BaseException as exception:
            return self._failed("on_message" if self.opened else "on_open", exception)
        if self.opened:
            return "on_message", (message,)
        self.opened = True
        return "on_open", (message,)

    def event(self, name: str, args: list[Any]) -> Call | None:
        """A named event came; where nobody handles such, ``message`` is a message."""
        plain = self.handler_class.on_event is WebSocketHandler.on_event
        if not plain or name != "message" or not args:
            return "on_event", (name, *args)
        try:
            message = self.handler._of_event(args[0])
        except BaseException as exception:
            return self._failed("on_event", exception)
        if self.opened:
            return "on_message", (message,)
        self.opened = True
        return "on_open", (message,)

    def user_changed(self) -> Call:
        """The user may not be as before, but may stay as far as session and account go."""
        return "authorize", (Check(self.handler, self.host, "on_user_changed"),)

    def request(self, message: Any) -> Call:
        """A message came that wants an answer."""
        return "on_request", (message,)

    def close(self) -> Call | None:
        """The connection is closed."""
        if self.refused:
            return None
        if not self.made:
            try:
                self._instantiate()
            except BaseException as exception:
                return self.raised(("on_close", ()), exception)
        return "on_close", ()

    def state_failed(self, exception: Exception) -> Call | None:
        """What ``handler.state`` holds cannot be kept."""
        return self._failed("state", exception)

    # ------------------------------------------------------------------ what became of a hook

    def returned(self, call: Call, result: object) -> Call | None:
        """A hook came to its end.

        Returns:
            What is to be run next.
        """
        hook, args = call
        if hook == "authorize":
            return self._authorized(call)
        if hook == "on_request":
            return self._answer(call, 0, result)
        if hook == "on_event":
            values = list(result) if isinstance(result, tuple) else [result]
            return self._answer(call, 0, [] if result is None else values)
        if hook == "on_open":
            # Closed by the browser, it still gets its message; closed by the hook, it does not.
            if result is not None or self.host.closed_here:
                return None
            return "on_message", args
        if hook in ("on_connect", "on_resume"):
            if result is False:
                raise self._refuse(403, "")
            if result is not None and result is not True:
                return self.raised(
                    call,
                    TypeError(
                        f"{hook} returned {type(result).__name__}: return None or True to "
                        "accept, False to refuse (or raise Reject)"
                    ),
                )
        return None

    def raised(self, call: Call, exception: BaseException) -> Call | None:
        """An exception left a hook.

        Returns:
            What is to be run next.
        """
        hook, _ = call
        if hook == "on_request":
            if isinstance(exception, RequestError):
                return self._answer(call, exception.code, exception.message)
            if isinstance(exception, ConnectionClosed) and self.host.closed:
                return None
            if self.reraise:
                raise exception
            self.log(hook, exception)
            return self._answer(call, 4500, "internal error")
        if hook == "authorize":
            return self._not_authorized(call, exception)
        if hook in ("on_connect", "on_resume"):
            raise self._refusal(exception, hook) from None
        if hook == "on_error":
            if not isinstance(exception, ConnectionClosed):
                self.log(hook, exception)
                self.host.close(1011, "internal error")
            return None
        if hook != "on_close":
            return self._failed(hook, exception)
        if not isinstance(exception, ConnectionClosed):
            if self.reraise:
                raise exception
            self.log(hook, exception)
        return None

    def log(self, hook: str, exception: BaseException) -> None:
        """Log what left a hook."""
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

    # ------------------------------------------------------------------ inside

    def _authorized(self, call: Call) -> Call | None:
        """The check is over; run it, if a ``dispatch`` has kept it from running."""
        check: Check = call[1][0]
        if not check.ran:
            try:
                check()
            except BaseException as exception:
                return self._not_authorized(call, exception)
        return check.then, ()

    def _not_authorized(self, call: Call, exception: BaseException) -> Call | None:
        check: Check = call[1][0]
        handler = self.handler
        if (
            isinstance(exception, AttributeError)
            and exception.obj is handler
            and exception.name == "authorize"
            and not check.ran
        ):
            return self._authorized(call)  # a dispatch that looks for the method by itself
        if check.then in ("on_connect", "on_resume"):
            refusal = self._refusal(exception, "authorize")
            # Whoever cannot say who it is does not end somebody's connection.
            refusal.stranger |= isinstance(exception, Reject) and not check.known
            raise refusal from None
        if isinstance(exception, Reject) and exception.status in (401, 403):
            self.host.close(4000 + exception.status, exception.reason)
            return None
        return self._failed("authorize", exception)

    def _refuse(self, status: int, reason: str) -> Refusal:
        return Refusal(status, reason, auth.close_code(self.host.namespace, status))

    def _answer(self, call: Call, code: int, value: object) -> Call | None:
        """Answer a call; what cannot be encoded is an error of its hook."""
        try:
            self.host.answer(code, value)
        except Exception as exception:
            if code:
                raise
            return self.raised(call, exception)
        return None

    def _instantiate(self) -> None:
        handler = self.handler_class()
        handler._connection = self.host
        self.handler = handler
        self.made = True

    def _refusal(self, exception: BaseException, hook: str = "on_connect") -> Refusal:
        """What leaves ``on_connect`` or ``on_resume`` says to the browser."""
        if isinstance(exception, Stranger):
            return Refusal(exception.status, exception.reason, stranger=True)
        if isinstance(exception, Reject):
            return self._refuse(exception.status, exception.reason)
        if isinstance(exception, PermissionDenied):
            return self._refuse(403, "")
        if isinstance(exception, ConnectionClosed):
            return Refusal(500, "")  # it went away while the hook ran: nobody sees the status
        if self.reraise:
            raise exception
        self.log(hook, exception)
        return Refusal(500, "")

    def _failed(self, hook: str, exception: BaseException) -> Call | None:
        """Something left a hook of an open connection."""
        host = self.host
        if isinstance(exception, ConnectionClosed) and host.closed:
            return None
        if isinstance(exception, InvalidMessage):
            logger.debug("%s: connection %s: %s", host.namespace, host.id, exception.reason)
            host.close(exception.code, exception.reason)
            return None
        if self.reraise and not isinstance(exception, PermissionDenied):
            raise exception
        self.log(hook, exception)
        if self.made and isinstance(exception, Exception):
            return "on_error", (exception,)
        host.close(1011, "internal error")
        return None
