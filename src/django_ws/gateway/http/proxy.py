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
from .refusals import response
from .requests import Request

__all__ = ["Proxy"]

#: Bytes of a request's or response's body.
MAX_BODY = 1024**3

#: Bytes of a body without a length, which is kept whole: the pages' server (wsgiref) needs one.
MAX_CHUNKED = 16 * 1024**2

#: Bytes of bodies in memory, of all requests together.
MAX_HELD = 64 * 1024**2

#: Bytes of a body that must have come before a thread is spent on the request.
AHEAD = 64 * 1024

#: Bytes of a body that must come in ``idle`` seconds, and seconds for the whole of it.
PACE = 64 * 1024
BODY_DEADLINE = 600.0

#: Seconds to wait for a child that is being replaced, and for its other requests.
PATIENCE = 5.0
QUEUE = 30.0
_RETRY_AFTER = 0.05

#: Seconds that a client may leave a response unread.
STALL = 60.0

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

_BUSY = "The process that serves the pages has too much to do.\n"
_ABSENT = "The process that serves the pages is not there. See its log.\n"
_TOO_MUCH = "The body of this request is too long.\n"
_TOO_SLOW = "The body of this request comes too slowly.\n"


def end_to_end(headers: HTTPHeaders) -> HTTPHeaders:
    """The headers that are meant for the other end."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    result = HTTPHeaders()
    for name, value in headers.get_all():
        if name.lower() not in _HOP_BY_HOP and name.lower() not in named:
            result.add(name, value)
    return result


class _Failed(Exception):
    """A request cannot be served.

    Args:
        status: of the answer.
        text: its body.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


class Proxy:
    """Requests to the pages, and what they share.

    Args:
        port: of the child.
        limit: requests that the child has at a time.
        idle: seconds in which a body must go on; 0 for any time.
        answers: says what the child cannot.

    Attributes:
        held: bytes of bodies in memory.
    """

    def __init__(self, port: int, limit: int, idle: float, answers: Answers) -> None:
        self.answers = answers
        self.slots = asyncio.Semaphore(limit)
        self.idle = idle
        self.held = 0
        self._port = port
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

    async def connect(self) -> IOStream:
        """A connection to the child, which may be about to be replaced.

        Raises:
            _Failed: There is none.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while True:
            stream = None
            try:
                stream = IOStream(socket.socket())
                return await stream.connect(("127.0.0.1", self._port))
            except OSError:
                if stream is not None:
                    stream.close()
                if loop.time() > deadline:
                    raise _Failed(502, _ABSENT) from None
            await asyncio.sleep(_RETRY_AFTER)


class _Exchange(HTTPMessageDelegate):
    """One request and its response."""

    def __init__(self, proxy: Proxy, connection: HTTP1Connection, request: Request) -> None:
        self._proxy = proxy
        self._connection = connection
        self._request = request
        self._loop = asyncio.get_running_loop()
        #: Of the body; None if only its end will tell.
        self._length: int | None = None
        if "Transfer-Encoding" not in request.headers:
            self._length = int(request.headers.get("Content-Length") or 0)
        self._received = 0
        self._complete = False
        #: What has come of the body, until the child gets it.
        self._body: list[bytes] = []
        self._upstream: HTTP1Connection | None = None
        self._has_slot = False
        self._over = False
        self._response: _Response | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: The client is not the one that is waited for.
        self._sending = False
        self._expected = 0

    # ------------------------------------------------------------------ the request

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        if (self._length or 0) > MAX_BODY:
            self._complete = True
            self._fail(_Failed(413, _TOO_MUCH))
        elif self._length != 0:
            self._watch()

    async def data_received(self, chunk: bytes) -> None:
        if self._over:
            return
        self._received += len(chunk)
        self._sending = True
        try:
            if self._upstream is not None:
                # The child may have answered without reading everything.
                with contextlib.suppress(StreamClosedError):
                    await self._upstream.write(chunk)
            else:
                self._hold(chunk)
                if self._length is not None and AHEAD <= self._received < self._length:
                    await self._open()
        except _Failed as error:
            self._fail(error)
        finally:
            self._sending = False

    def finish(self) -> None:
        self._complete = True
        if self._timer is not None:
            self._timer.cancel()
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

    def _hold(self, chunk: bytes) -> None:
        self._body.append(chunk)
        self._proxy.held += len(chunk)
        if self._length is None and self._received > MAX_CHUNKED:
            raise _Failed(413, _TOO_MUCH)
        if self._proxy.held > MAX_HELD:
            raise _Failed(503, _BUSY)

    def _watch(self) -> None:
        """See to it that the body goes on, when the client is the one that is waited for."""
        if not self._proxy.idle:
            return
        if self._expected and self._received < self._expected and not self._sending:
            self._fail(_Failed(408, _TOO_SLOW))
            return
        self._expected = self._received + PACE
        self._timer = self._loop.call_later(self._proxy.idle, self._watch)

    # ------------------------------------------------------------------ to the child

    async def _open(self) -> None:
        """Begin the request at the child, with what there is of its body."""
        try:
            async with asyncio.timeout(QUEUE):
                await self._proxy.slots.acquire()
        except TimeoutError:
            raise _Failed(503, _BUSY) from None
        self._has_slot = True
        stream = await self._proxy.connect()
        upstream = self._upstream = HTTP1Connection(
            stream, True, HTTP1ConnectionParameters(no_keep_alive=True, max_body_size=MAX_BODY)
        )
        if self._over:  # it left meanwhile
            self._release()
            return
        request = self._request
        headers = end_to_end(request.headers)
        headers["Connection"] = "close"
        headers["X-Forwarded-For"] = request.client[0]
        headers["X-Forwarded-Proto"] = request.scheme
        if self._length is None:
            headers["Content-Length"] = str(self._received)
        start = RequestStartLine(request.method, request.target, "HTTP/1.1")
        with contextlib.suppress(StreamClosedError):
            await upstream.write_headers(start, headers)
            for chunk in self._body:
                await upstream.write(chunk)
        self._let_go()

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
                raise _Failed(502, _ABSENT)
        except _Failed as error:
            self._fail(error)
        finally:
            self._release()

    # ------------------------------------------------------------------ the end

    def _fail(self, error: _Failed) -> None:
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
        stream = connection.stream
        with contextlib.suppress(OSError, AttributeError):  # closed meanwhile
            stream.write(answer)
            stream.socket.shutdown(socket.SHUT_WR)
        self._loop.call_later(LINGER, connection.close)

    def _let_go(self) -> None:
        self._proxy.held -= sum(map(len, self._body))
        self._body.clear()

    def _release(self) -> None:
        """Give back what the request uses; may come twice."""
        self._let_go()
        if self._timer is not None:
            self._timer.cancel()
        if self._upstream is not None:
            self._upstream.close()
        if self._has_slot:
            self._has_slot = False
            self._proxy.slots.release()


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
