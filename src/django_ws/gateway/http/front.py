"""Every request's first stop: decides by its head alone where it goes, before any body is read.

Only the project's pages (``--wsgi``) take bodies, and keep a connection for further requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from ..logs import Journal
from .admission import Admission
from .answers import Answers
from .refusals import Refusal, response
from .requests import Request, plain_address
from .routes import Found, Routes
from .streams import SecureStream, Stream
from .upgrade import Upgrades

__all__ = ["Engines", "Front", "Pages"]

READY_PATH = "/-/ready"

#: Patterns that are named to who asks for another path.
_NAMED = 20

_NO_UPGRADE = Refusal(
    426,
    "refused_handshake",
    "This is the address of a WebSocket; a browser cannot show it.",
    "Connect with new WebSocket(...) from a page.",
    headers=(("Upgrade", "websocket"),),
)
_NOTHING = Refusal(
    404,
    "",
    "There is nothing here but WebSockets.",
    "run_wsserver --wsgi serves the project's pages, too.",
)
_NO_BODY = Refusal(413, "refused_body", "There is nothing here that takes a body.")


def _unknown(routes: Routes, debug: bool) -> Refusal:
    message = "There is no WebSocket at this path."
    known = "The URLs of WebSockets are " + ", ".join(routes.known[:_NAMED])
    log = "" if debug else f"{message} {known}"
    return Refusal(404, "refused_url", message, known, log)


class Pages(Protocol):
    """What serves requests that are no WebSocket's."""

    def begin(
        self, connection: HTTP1Connection, request: Request
    ) -> HTTPMessageDelegate | None: ...


class Engines(Pages, Protocol):
    """What serves the requests of Engine.IO."""

    def claims(self, path: str) -> bool: ...


class Front(HTTPServerConnectionDelegate):
    """Sends requests where they belong.

    Args:
        routes: the URLs of WebSockets.
        admission: knows the hosts.
        upgrades: gets the upgrade requests to these URLs.
        pages: gets what is no upgrade request; None: it is refused.
        engines: gets the requests to paths of its own; None: there are none.
        answers: says what there is to say here.
        journal: names requests in the log.
        ready: whether a new connection would be served.
        later: parameters of a connection from its second request on.
        debug: say more.
    """

    def __init__(
        self,
        routes: Routes,
        admission: Admission,
        upgrades: Upgrades,
        pages: Pages | None,
        engines: Engines | None,
        answers: Answers,
        journal: Journal,
        ready: Callable[[], bool],
        *,
        later: HTTP1ConnectionParameters,
        debug: bool,
    ) -> None:
        self._routes = routes
        self._admission = admission
        self._upgrades = upgrades
        self._pages = pages
        self._engines = engines
        self._answers = answers
        self._journal = journal
        self._ready = ready
        self._later = later
        self._unknown = _unknown(routes, debug)

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        connection = cast(HTTP1Connection, request_conn)
        stream = cast(Stream, connection.stream)
        stream.requests += 1
        if stream.requests > 1:
            connection.params = self._later
        return _Visit(self, connection)

    def receive(self, connection: HTTP1Connection, request: Request) -> HTTPMessageDelegate | None:
        """Send a request on its way.

        Returns:
            Who takes its body; None if there is none to be read.
        """
        if request.path == READY_PATH and request.method in ("GET", "HEAD"):
            self._tell_ready(cast(Stream, connection.detach()), request)
            return None
        target = self._decide(request)
        if not isinstance(target, Refusal | Found):
            return target.begin(connection, request)
        stream = cast(Stream, connection.detach())
        if isinstance(target, Found):
            self._upgrades.begin(stream, request, target)
        else:
            label = self._journal.label(request.client[0], request.path)
            self._answers.refuse(stream, label, target, head=request.method == "HEAD")
        return None

    def _decide(self, request: Request) -> Refusal | Found | Pages:
        """Where a request goes."""
        # The host comes first: the project's own expressions may cost more than all the rest.
        refusal = self._admission.check_host(request) or request.check_framing()
        if refusal is not None:
            return refusal
        if self._engines is not None and self._engines.claims(request.path):
            return self._engines
        if self._pages is not None and not request.is_upgrade:
            return self._pages
        if request.length != 0:
            return _NO_BODY
        found = self._routes.find(request.path)
        if request.is_upgrade:
            return found or self._unknown
        return _NO_UPGRADE if found else _NOTHING

    def _tell_ready(self, stream: Stream, request: Request) -> None:
        ready = self._ready()
        status, text = (200, "ready\n") if ready else (503, "not ready\n")
        self._answers.part(stream, response(status, text, head=request.method == "HEAD"))


class _Visit(HTTPMessageDelegate):
    """One request as Tornado reads it."""

    def __init__(self, front: Front, connection: HTTP1Connection) -> None:
        self._front = front
        self._connection = connection
        self._target: HTTPMessageDelegate | None = None

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        request = _request(self._connection, cast(RequestStartLine, start_line), headers)
        target = self._target = self._front.receive(self._connection, request)
        return None if target is None else target.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return None if self._target is None else self._target.data_received(chunk)

    def finish(self) -> None:
        if self._target is not None:
            self._target.finish()

    def on_connection_close(self) -> None:
        if self._target is not None:
            self._target.on_connection_close()


def _request(
    connection: HTTP1Connection, start_line: RequestStartLine, headers: HTTPHeaders
) -> Request:
    stream = cast(Stream, connection.stream)
    try:
        server = stream.socket.getsockname()
    except (AttributeError, OSError):  # the peer is gone
        server = ("", 0)
    return Request(
        start_line.method,
        start_line.path,
        start_line.version,
        headers,
        "https" if isinstance(stream, SecureStream) else "http",
        stream.client,
        (plain_address(server[0]), server[1]),
    )
