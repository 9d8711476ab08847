"""Passes plain HTTP on to the project's pages (``--wsgi``): for development only."""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient
from tornado.web import RequestHandler, stream_request_body

__all__ = ["MAX_BODY", "Proxy"]

#: Bytes of a request's or response's body.
MAX_BODY = 4 * 1024**3

#: Seconds to wait for a child that is being replaced.
PATIENCE = 5.0
_RETRY_AFTER = 0.05

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


@stream_request_body
class Proxy(RequestHandler):
    """One request to the child; both bodies are streamed."""

    def initialize(self, port: int) -> None:
        self._port = port
        self._upstream: HTTP1Connection | None = None
        self._stream: IOStream | None = None

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.clear_header("Content-Type")
        self.clear_header("Date")

    async def prepare(self) -> None:
        request = self.request
        cast(HTTP1Connection, request.connection).set_max_body_size(MAX_BODY)
        stream = await self._connect()
        if stream is None:
            self._fail()
            return
        self._stream = stream
        self._upstream = HTTP1Connection(
            stream, True, HTTP1ConnectionParameters(no_keep_alive=True, max_body_size=MAX_BODY)
        )
        headers = end_to_end(request.headers)
        headers["Connection"] = "close"
        headers["X-Forwarded-For"] = request.remote_ip or ""
        headers["X-Forwarded-Proto"] = request.protocol
        start = RequestStartLine(request.method or "GET", request.uri or "/", "HTTP/1.1")
        try:
            await self._upstream.write_headers(start, headers)
        except StreamClosedError:
            self._fail()

    async def _connect(self) -> IOStream | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while True:
            try:
                return await TCPClient().connect("127.0.0.1", self._port)
            except OSError:
                if loop.time() > deadline or self.request.connection is None:
                    return None
            await asyncio.sleep(_RETRY_AFTER)

    async def data_received(self, chunk: bytes) -> None:
        if self._upstream is not None:
            # The child may have answered without reading everything.
            with contextlib.suppress(StreamClosedError):
                await self._upstream.write(chunk)

    async def _exchange(self) -> None:
        upstream = self._upstream
        if upstream is None:
            self._fail()
            return
        with contextlib.suppress(StreamClosedError):
            upstream.finish()
            await upstream.read_response(_Response(self, upstream))
        upstream.close()
        if not self._finished:
            self._fail()

    def _fail(self) -> None:
        if self._headers_written:
            # Too late for a status; a cut connection says that the body is incomplete.
            cast(HTTP1Connection, self.request.connection).close()
            return
        self.set_status(502)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("The process that serves the pages is not there. See its log.\n")

    get = head = post = put = patch = delete = options = _exchange

    def on_connection_close(self) -> None:
        super().on_connection_close()
        if self._stream is not None:
            self._stream.close()


class _Response(HTTPMessageDelegate):
    """Passes the child's response on as it comes."""

    def __init__(self, handler: Proxy, upstream: HTTP1Connection) -> None:
        self._handler = handler
        self._upstream = upstream

    async def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        if not isinstance(start_line, ResponseStartLine) or start_line.code < 200:
            return  # an interim response
        handler = self._handler
        handler.set_status(start_line.code, start_line.reason)
        for name, value in end_to_end(headers).get_all():
            handler.add_header(name, value)
        await self._flush()

    async def data_received(self, chunk: bytes) -> None:
        self._handler.write(chunk)
        await self._flush()

    async def _flush(self) -> None:
        try:
            await self._handler.flush()
        except StreamClosedError:
            self._upstream.close()

    def finish(self) -> None:
        self._handler.finish()
