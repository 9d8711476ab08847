"""What users subclass: :class:`WebSocketHandler` and :class:`JsonWebSocketHandler`.

A handler knows nothing of ZeroMQ, threads or frames. It talks to a :class:`Connection`, which a
worker implements for real browsers and ``django_ws.testing`` for tests.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, cast

from django.core.exceptions import PermissionDenied
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.functional import Promise

from .exceptions import ConnectionClosed, MessageTooBig, Reject, RequestError, SendTimeout, plain
from .publications import Position, encode, position_of
from .wire.messages import Publish

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.http import HttpRequest

__all__ = [
    "Connection",
    "ConnectionClosed",
    "JsonWebSocketHandler",
    "MessageTooBig",
    "Reject",
    "RequestError",
    "SendTimeout",
    "WebSocketHandler",
]


logger = logging.getLogger("django_ws.handler")


class Connection(Protocol):
    """What a handler needs of whatever holds its connection."""

    @property
    def id(self) -> str: ...
    @property
    def gateway(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def kwargs(self) -> Mapping[str, Any]: ...
    @property
    def request(self) -> HttpRequest: ...
    @property
    def subprotocol(self) -> str | None: ...
    @property
    def groups(self) -> frozenset[str]: ...
    @property
    def state(self) -> dict[str, Any]: ...
    @property
    def user(self) -> AbstractBaseUser | AnonymousUser: ...
    @user.setter
    def user(self, user: AbstractBaseUser | AnonymousUser | None) -> None: ...
    @property
    def closed(self) -> bool: ...
    @property
    def stopping(self) -> bool: ...
    @property
    def close_code(self) -> int | None: ...
    @property
    def close_reason(self) -> str: ...

    def select_subprotocol(self, name: str | None) -> None: ...
    def refresh_user(self) -> None: ...
    def send(self, message: str | bytes) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    @property
    def auth(self) -> Any: ...
    @property
    def info(self) -> Any: ...
    @property
    def closed_here(self) -> bool: ...

    def show(self, info: Any) -> None: ...
    def emit(self, event: str, args: Sequence[Any]) -> None: ...
    def first(self) -> bool: ...
    def join(self, group: str, since: Sequence[Any] | None) -> Position: ...
    def leave(self, group: str) -> None: ...
    def publish(self, draft: Publish, immediate: bool, using: str | None) -> None: ...
    def wait(self, seconds: float | None) -> bool: ...


class InvalidMessage(Exception):
    """A message that this kind of handler does not take: closes with ``code``, no traceback."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _NoConnection:
    """Stands for the connection while ``__init__`` runs."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("there is no connection yet in __init__; use on_connect")


_NO_CONNECTION = cast("Connection", _NoConnection())


class WebSocketHandler:
    """Handles one WebSocket connection; subclass it and override hooks.

    Hooks of one connection run one at a time and in order; different connections run in parallel.
    They are ordinary synchronous Django code: use the ORM, block, raise.

    The framework makes the instance without arguments and connects it afterwards, so the members
    below are not yet there in ``__init__``.
    """

    #: Hooks that may be overridden, each by a plain (not ``async``) method.
    hooks: ClassVar[tuple[str, ...]] = (
        "authenticate",
        "on_connect",
        "on_open",
        "on_message",
        "on_close",
        "on_error",
        "on_restore",
        "on_resume",
        "on_request",
        "on_event",
        "on_user_changed",
        "dispatch",
    )

    # Keeps the base out of ``__dict__``: what is in there belongs to the subclass (see `movable`).
    __slots__ = ("__dict__", "__weakref__", "_connection")

    _connection: Connection

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        handler = super().__new__(cls)
        handler._connection = _NO_CONNECTION
        return handler

    # ------------------------------------------------------------------ hooks

    def authenticate(self) -> Any:
        """Override to tell by the handshake who it is: by a token, for example.

        Runs before ``on_connect`` and before the check of decorators, and again where another
        worker goes on with the connection.

        Returns:
            The user: any object with the interface of Django's users; ``None`` leaves it to the
            session.

        Raises:
            Reject: Refuses with its status and reason: 401 for a bad token.
        """
        return None

    def on_connect(self) -> bool | None:
        """Override to decide about the handshake, before the browser sees the connection.

        Returns:
            ``None`` or ``True`` accepts; ``False`` refuses with 403.

        Raises:
            PermissionDenied: Refuses with 403.
            Reject: Refuses with its status and reason.
        """
        return None

    def on_open(self, message: Any) -> Any:
        """Override to handle the first message.

        Returns:
            ``None`` gives the same message to :meth:`on_message` next; anything else does not.
        """
        return None

    def on_message(self, message: Any) -> None:
        """Override to handle a message: ``str`` for a text message, ``bytes`` for a binary one."""

    def on_close(self) -> None:
        """Override to clean up: runs once per accepted connection, after every earlier message.

        :attr:`close_code` and :attr:`close_reason` tell why. Exceptions are only logged.
        """

    def on_error(self, exception: Exception) -> None:
        """Override to react to an exception that left a hook; it is already logged.

        The default closes with 4403 after :exc:`PermissionDenied`, else with 1011.
        """
        if isinstance(exception, PermissionDenied):
            self.close(4403, "permission denied")
        else:
            self.close(1011, "internal error")

    def on_restore(self) -> None:
        """Override to continue a connection whose worker was replaced.

        :attr:`state` is filled, and attributes of plain types are as the former instance had them;
        others are gone: this is the place to make them.
        """

    def on_resume(self) -> bool | None:
        """Override to decide whether a browser that lost its connection may go on with this one.

        For clients of ``django-ws.v1``. It is the same instance; :attr:`request` is the new
        handshake's, whose user is the same. Decorators and :meth:`authenticate` were asked anew.

        Returns:
            ``None`` or ``True`` lets it; ``False`` refuses with 4403. Any refusal ends the
            connection, so that :meth:`on_close` runs.

        Raises:
            PermissionDenied: Refuses with 4403.
            Reject: Refuses with 4000 and its status.
        """
        return None

    def on_request(self, message: Any) -> Any:
        """Override to answer a message that wants an answer (``django-ws.v1``).

        Args:
            message: what JSON gives of it; bytes stay bytes.

        Returns:
            The answer: anything that ``DjangoJSONEncoder`` takes, and bytes.

        Raises:
            RequestError: Answers with its code and words. Any other exception answers with 4500;
                the connection lives.
        """
        raise RequestError(4400, "no on_request")

    def on_event(self, event: str, *args: Any) -> Any:
        """Override to handle a named event of a client that has such.

        The default takes ``message`` for a message; others are ignored.

        Returns:
            What the client gets as acknowledgement, if it wants one; a tuple for several values.
        """
        if event != "message" or not args:
            logger.debug("%s: event %r is ignored: no on_event", self.namespace, event)
            return None
        message = self._of_event(args[0])
        if self._connection.first() and (
            self.on_open(message) is not None or self._connection.closed_here
        ):
            return None
        self.on_message(message)
        return None

    def on_user_changed(self) -> None:
        """Override to take back what was decided by a user's permissions or attributes.

        Runs within a second after the user was saved, or got or lost a group or a permission, in
        whatever process; :attr:`user` is loaded anew, and decorators have been asked again. May
        also come when nothing has changed that shows.
        """

    def dispatch(self, hook: str, *args: Any) -> Any:
        """Override to wrap every hook (tenant, language, database replica).

        Args:
            hook: name of the hook; ``authorize`` is the check of who may connect, which runs
                in any case.
            args: its arguments.

        Returns:
            What the hook returns.
        """
        if hook == "authorize":  # no method, so that none of a subclass takes its place
            return args[0]()
        return getattr(self, hook)(*args)

    # ------------------------------------------------------------------ the connection

    @property
    def id(self) -> str:
        """Names this connection among all of the project's."""
        return self._connection.id

    @property
    def gateway(self) -> str:
        """Names the gateway process that holds this connection, see ``signals.gateway_started``."""
        return self._connection.gateway

    @property
    def namespace(self) -> str:
        """Key of ``DEFAULT_WS_HANDLERS`` that the URL chose."""
        return self._connection.namespace

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """The parameters of the namespace's URL, or the other groups of ``--websocket-url``."""
        return self._connection.kwargs

    @property
    def request(self) -> HttpRequest:
        """The handshake as a Django request: headers, cookies, session, ``GET``, ``META``."""
        return self._connection.request

    @property
    def user(self) -> AbstractBaseUser | AnonymousUser:
        """The session's user, loaded on first use and kept for the connection."""
        return self._connection.user

    @user.setter
    def user(self, user: AbstractBaseUser | AnonymousUser | None) -> None:
        self._connection.user = user

    def refresh_user(self) -> None:
        """Load :attr:`user` anew at its next use, by the session as it is then; what is gone, is
        gone. A user that came by a ticket or a token is asked for by its primary key."""
        self._connection.refresh_user()

    @property
    def state(self) -> dict[str, Any]:
        """JSON types and bytes, at most 64 KiB encoded, that survive a change of worker."""
        return self._connection.state

    @property
    def groups(self) -> frozenset[str]:
        """The groups this connection has joined."""
        return self._connection.groups

    @property
    def subprotocol(self) -> str | None:
        """The agreed subprotocol (RFC 6455 §1.9); assign one of those offered in ``on_connect``.

        Raises:
            ValueError: On assignment, if the client does not offer it.
        """
        return self._connection.subprotocol

    @subprotocol.setter
    def subprotocol(self, name: str | None) -> None:
        self._connection.select_subprotocol(name)

    @property
    def closed(self) -> bool:
        """Whether the connection is closed, by either side."""
        return self._connection.closed

    @property
    def stopping(self) -> bool:
        """Whether the worker wants running hooks to come to an end."""
        return self._connection.stopping

    @property
    def close_code(self) -> int | None:
        """Why the connection closed (RFC 6455 §7.4); ``None`` while it is open."""
        return self._connection.close_code

    @property
    def close_reason(self) -> str:
        """The close reason; empty if there is none."""
        return self._connection.close_reason

    def send(self, message: str | bytes) -> None:
        """Send a message; from any thread, also after the hook returned. Never deferred.

        Args:
            message: ``str`` goes out as a text message, ``bytes`` as a binary one.

        Raises:
            ConnectionClosed: The connection is closed.
            MessageTooBig: The message is over 1 MiB (or ``MAX_MESSAGE_SIZE``, if that is more).
            SendTimeout: The client did not read for ``SEND_TIMEOUT`` seconds.
            TypeError: The message is something else.
        """
        self._connection.send(as_message(message))

    def send_json(self, obj: Any) -> None:
        """Send ``obj`` as JSON, encoded by ``DjangoJSONEncoder``; raises as :meth:`send` does."""
        self._connection.send(json.dumps(obj, cls=DjangoJSONEncoder))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection; what was sent before still arrives. Then ``on_close`` runs.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455 §7.4.1).
            reason: at most 123 bytes of UTF-8 (RFC 6455 §5.5).

        Raises:
            TypeError: The code is no ``int``.
            ValueError: The code or the reason cannot be in a close frame.
        """
        code, reason = index(code), plain(reason)
        if code not in _CLOSE_CODES and not 3000 <= code <= 4999:
            raise ValueError(f"{code} is no close code that may be sent (RFC 6455 §7.4.1)")
        if len(reason.encode()) > 123:
            raise ValueError("a close reason has at most 123 bytes (RFC 6455 §5.5)")
        self._connection.close(code, reason)

    @property
    def auth(self) -> Any:
        """What the client sent when it connected; ``None`` for a plain one."""
        return self._connection.auth

    @property
    def info(self) -> Any:
        """What ``presence`` shows of this connection: assign a small JSON dict."""
        return self._connection.info

    @info.setter
    def info(self, info: Any) -> None:
        self._connection.show(info)

    def emit(self, event: str, *args: Any) -> None:
        """Send a named event; to a plain client as JSON ``{"event": …, "args": […]}``.

        Args:
            args: whatever ``DjangoJSONEncoder`` takes; bytes also, but to plain clients.

        Raises:
            Exception: As :meth:`send` does.
        """
        self._connection.emit(_text("an event's name", event), args)

    def join(self, group: str, since: Sequence[Any] | None = None) -> Position:
        """Become a member of ``group``; in force when this returns.

        Args:
            since: a position (offset, epoch): what was published after it comes first.

        Returns:
            How far the group has come; all zeros in a group without history.

        Raises:
            TypeError, UnicodeEncodeError: It cannot be a group's name.
            ValueError: The name is empty, or ``since`` is no position.
        """
        group = _group(group)
        if not group:
            raise ValueError("a group's name cannot be empty")
        return self._connection.join(group, None if since is None else position_of(since))

    def leave(self, group: str) -> None:
        """Leave ``group``; raises as :meth:`join` does."""
        self._connection.leave(_group(group))

    def publish(
        self,
        group: str,
        message: Any,
        exclude_self: bool = False,
        *,
        event: str | None = None,
        immediate: bool = False,
        using: str | None = None,
    ) -> None:
        """Send a message to every member of ``group``; inside ``atomic`` on commit.

        Args:
            group: its name; this connection need not be a member.
            message: ``str`` or ``bytes``, or anything that ``DjangoJSONEncoder`` takes, which goes
                out as JSON.
            exclude_self: leave this connection out.
            event, immediate, using: as :func:`django_ws.publish` takes them.

        Raises:
            MessageTooBig: The message is over 1 MiB (or ``MAX_MESSAGE_SIZE``, if that is more).
            TypeError, ValueError: The group or the message is something else.
        """
        group = _group(group)
        opcode, data, is_json = encode(message)
        exclude = self.id if exclude_self else ""
        name = "" if event is None else _text("an event's name", event)
        draft = Publish(0, group, opcode, data, exclude, name, is_json)
        self._connection.publish(draft, immediate, using)

    def wait(self, seconds: float | None = None) -> bool:
        """Sleep in a hook that loops; other connections go on in every mode.

        Outside ``atomic`` it also gives the thread's database connections back.

        Args:
            seconds: at most so long; ``None`` for as long as the connection is open.

        Returns:
            ``True`` as soon as the connection is closed or the worker is asked to stop, so
            ``while not self.wait(1): ...`` is a loop that ends in time.
        """
        return self._connection.wait(seconds)

    # ------------------------------------------------------------------ for the framework

    def _decode(self, data: str | bytes) -> Any:
        """What hooks get of a message; raises :exc:`InvalidMessage`."""
        return data

    def _of_event(self, value: Any) -> Any:
        """What hooks get of a message that came as an event with a value."""
        return self._decode(value) if isinstance(value, (str, bytes)) else value


class JsonWebSocketHandler(WebSocketHandler):
    """A handler whose ``on_open`` and ``on_message`` get the decoded object of a JSON text.

    Text that is not JSON closes with 1007, a binary message with 1003.
    """

    __slots__ = ()

    def _decode(self, data: str | bytes) -> Any:
        if isinstance(data, bytes):
            raise InvalidMessage(1003, "only text messages")
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise InvalidMessage(1007, "not JSON") from None


_CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})


def _group(group: object) -> str:
    return _text("a group's name", group)


def _text(what: str, value: object) -> str:
    """Refuse here, in the hook, what a gateway could not read; ``SafeString`` becomes ``str``."""
    if type(value) is not str:
        if not isinstance(value, str):
            raise TypeError(f"{what} is a str, not {type(value).__name__}")
        value = str.__str__(value)
    if not value.isascii():
        value.encode()
    return value


def as_message(message: object) -> str | bytes:
    """Check what is to be sent; ``SafeString`` and lazy strings become plain ``str``.

    Raises:
        TypeError: It is neither text nor bytes.
    """
    if type(message) is str or type(message) is bytes:
        return message
    if isinstance(message, (str, Promise)):
        return plain(message)
    if isinstance(message, (bytes, bytearray, memoryview)):
        return bytes(message)
    hint = ": use send_json() to send it as JSON" if isinstance(message, (dict, list)) else ""
    raise TypeError(f"send() takes str or bytes, not {type(message).__name__}{hint}")
