"""Passes plain HTTP on to the project's pages (``--wsgi``): for development only.

Bodies are streamed. The process for the pages spends a thread on each request, so it hears of one
only when its body is there, or a good part of it, and of a bounded number at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Coroutine

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, StreamClosedError

from .answers import LINGER, Answers
from .bodies import MAX_BODY, Body, Held, Unacceptable
from .refusals import response
from .requests import Request
from .upstream import ABSENT, Upstream

__all__ = ["Proxy"]

#: Seconds for a whole body.
BODY_DEADLINE = 600.0

#: Seconds that a client may leave a response unread.
STALL = 60.0

_TOO_LONG = Unacceptable(413, "The body of this request is too long.\n")
_TOO_SLOW = Unacceptable(408, "The body of this request comes too slowly.\n")

#: RFC 9110 §7.6.1, and what belongs to the connection with the browser.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def end_to_end(headers: HTTPHeaders) -> HTTPHeaders:
    """The headers that are meant for the other end."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    result = HTTPHeaders()
    for name, value in headers.get_all():
        if name.lower() not in _HOP_BY_HOP and name.lower() not in named:
            result.add(name, value)
    return result


class Proxy:
    """Requests to the pages, and what they share.

    Args:
        upstream: serves them.
        idle: seconds in which a body must go on; 0 for any time.
        answers: says what the pages cannot.

    Attributes:
        held: bodies in memory.
    """

    def __init__(self, upstream: Upstream, idle: float, answers: Answers) -> None:
        self.upstream = upstream
        self.idle = idle
        self.answers = answers
        self.held = Held()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, connection: HTTP1Connection, request: Request) -> HTTPMessageDelegate:
        """Begin a request."""
        connection.set_max_body_size(MAX_BODY)
        connection.set_body_timeout(BODY_DEADLINE)
        return _Exchange(self, connection, request)

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Let something run on its own."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Exchange(HTTPMessageDelegate):
    """One request and its response."""

    def __init__(self, proxy: Proxy, connection: HTTP1Connection, request: Request) -> None:
        self._proxy = proxy
        self._connection = connection
        self._request = request
        self._body = Body(request.length, proxy.held)
        #: The body has come.
        self._complete = False
        #: It has failed, or its client is gone.
        self._over = False
        self._stream: IOStream | None = None
        self._upstream: HTTP1Connection | None = None
        self._response: _Response | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: The client is not the one that is waited for.
        self._sending = False

    # ------------------------------------------------------------------ the request

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        length = self._body.length
        if length is not None and length > MAX_BODY:
            self._complete = True  # as far as it is read
            self._fail(_TOO_LONG)
        elif length != 0 and self._proxy.idle:
            self._watch()

    async def data_received(self, chunk: bytes) -> None:
        if self._over:
            return
        self._body.received += len(chunk)
        self._sending = True
        try:
            if self._upstream is not None:
                # It may have answered without reading everything.
                with contextlib.suppress(StreamClosedError):
                    await self._upstream.write(chunk)
                return
            self._body.keep(chunk)
            if self._body.suffices:
                await self._open()
        except Unacceptable as error:
            self._fail(error)
        finally:
            self._sending = False

    def finish(self) -> None:
        self._complete = True
        if self._over:
            self._connection.close()
            return
        self._connection.set_close_callback(self._leave)
        self._task = self._proxy.spawn(self._finish())

    def on_connection_close(self) -> None:
        self._leave()

    def _leave(self) -> None:
        """The client is gone."""
        self._over = True
        self._release()
        if self._task is not None:
            self._task.cancel()

    def _watch(self) -> None:
        """See to it that the body goes on, while the client is the one that is waited for."""
        if self._complete or self._over:
            return
        if self._body.is_late() and not self._sending:
            self._fail(_TOO_SLOW)
            return
        self._timer = asyncio.get_running_loop().call_later(self._proxy.idle, self._watch)

    # ------------------------------------------------------------------ to the pages

    async def _open(self) -> None:
        """Begin the request at the pages, with what there is of its body."""
        self._stream = await self._proxy.upstream.open()
        if self._over:  # the client left meanwhile
            self._release()
            return
        upstream = self._upstream = HTTP1Connection(
            self._stream, True, HTTP1ConnectionParameters(max_body_size=MAX_BODY)
        )
        request = self._request
        headers = end_to_end(request.headers)
        headers["Connection"] = "close"
        headers["X-Forwarded-For"] = request.client[0]
        headers["X-Forwarded-Proto"] = request.scheme
        if self._body.length is None:
            headers["Content-Length"] = str(self._body.received)
        start = RequestStartLine(request.method, request.target, "HTTP/1.1")
        with contextlib.suppress(StreamClosedError):
            await upstream.write_headers(start, headers, self._body.take())

    async def _finish(self) -> None:
        try:
            if self._upstream is None:
                await self._open()
            upstream = self._upstream
            assert upstream is not None
            self._response = _Response(self._connection, upstream)
            with contextlib.suppress(StreamClosedError):
                upstream.finish()
                await upstream.read_response(self._response)
            if not self._response.complete:
                raise ABSENT
        except Unacceptable as error:
            self._fail(error)
        finally:
            self._release()

    # ------------------------------------------------------------------ the end

    def _fail(self, error: Unacceptable) -> None:
        self._over = True
        self._release()
        connection = self._connection
        if self._response is not None and self._response.started:
            # Too late for a status; a cut connection says that the body is incomplete.
            connection.close()
            return
        answer = response(error.status, error.text, head=self._request.method == "HEAD")
        if self._complete:
            self._proxy.answers.part(connection.detach(), answer)
            return
        # The body still comes: it is read and thrown away while the client reads this.
        with contextlib.suppress(OSError, AttributeError):  # the client may just have left
            connection.stream.write(answer)
            connection.stream.socket.shutdown(socket.SHUT_WR)
        asyncio.get_running_loop().call_later(LINGER, connection.close)

    def _release(self) -> None:
        """Give back what the request uses; may come twice."""
        self._body.take()
        if self._timer is not None:
            self._timer.cancel()
        if self._stream is not None:
            self._proxy.upstream.close(self._stream)
            self._stream = None


class _Response(HTTPMessageDelegate):
    """Passes the child's response on as it comes.

    Attributes:
        started: the client has got some of it.
        complete: it has got all.
    """

    def __init__(self, connection: HTTP1Connection, upstream: HTTP1Connection) -> None:
        self._connection = connection
        self._upstream = upstream
        self.started = False
        self.complete = False

    async def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        if not isinstance(start_line, ResponseStartLine) or start_line.code < 200:
            return  # an interim response
        self.started = True
        start = ResponseStartLine("HTTP/1.1", start_line.code, start_line.reason)
        await self._written(self._connection.write_headers(start, end_to_end(headers)))

    async def data_received(self, chunk: bytes) -> None:
        await self._written(self._connection.write(chunk))

    async def _written(self, future: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(STALL):
                await future
        except (StreamClosedError, TimeoutError):
            self._upstream.close()
            self._connection.close()

    def finish(self) -> None:
        self.complete = True
        self._connection.finish()
