"""One HTTP request of a session that is polled for, and its response."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError

from ...options import Limits
from ..clients.engineio import max_body
from .answers import Answers
from .refusals import Refusal
from .requests import Request
from .streams import Stream

__all__ = ["Exchange"]

#: Seconds for a whole body, and for a client to read a response.
DEADLINE = 60.0

_REFUSED = Refusal(400, "", "This session has ended.")


class Exchange(HTTPMessageDelegate):
    """Reads a body, lets something be done with it, and answers.

    Args:
        answers: says no.
        label: names the request in logs.

    Attributes:
        act: gets the body; :meth:`answer` or :meth:`refuse` follows.
        left: called if the client goes away before it has its answer.
        sent: called once the kernel has taken the answer; False if it never will.
    """

    def __init__(
        self,
        answers: Answers,
        limits: Limits,
        connection: HTTP1Connection,
        request: Request,
        label: str,
    ) -> None:
        self.act: Callable[[bytes], None] = lambda _: None
        self.left: Callable[[], None] | None = None
        self.sent: Callable[[bool], None] = lambda _: None
        self._answers = answers
        self._connection = connection
        self._stream = cast(Stream, connection.stream)
        self._request = request
        self._label = label
        self._chunks: list[bytes] = []
        self._over = False
        connection.set_max_body_size(max_body(limits))
        connection.set_body_timeout(DEADLINE)

    @property
    def unwritten(self) -> int:
        """Bytes of the answer that the kernel has not taken yet."""
        return self._stream.unwritten

    @property
    def gone(self) -> bool:
        """Whether the client has hung up, also if that has not been read yet."""
        sock: socket.socket | None = self._stream.socket
        if sock is None:
            return True
        try:
            # Of the class: under TLS this is about the bytes below.
            return socket.socket.recv(sock, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        return

    def data_received(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def finish(self) -> None:
        self._connection.set_close_callback(self._leave)
        body, self._chunks = b"".join(self._chunks), []
        self.act(body)
        if self._stream.closed():  # it was before anybody wanted to hear of it
            self._leave()

    def on_connection_close(self) -> None:
        self._leave()

    def _leave(self) -> None:
        """The client is gone."""
        if not self._over:
            self._over = True
            if self.left is not None:
                self.left()

    def refuse(self, refusal: Refusal) -> None:
        """Say no, and part."""
        if self._over:
            return
        self._over = True
        self._connection.set_close_callback(None)
        self._answers.refuse(self._connection.detach(), self._label, refusal)

    def answer(self, body: bytes | None) -> None:
        """Answer, and be ready for the next request.

        Args:
            body: None: the session is over.
        """
        if body is None:
            self.refuse(_REFUSED)
            return
        if self._over:
            return
        self._over = True
        connection = self._connection
        connection.set_close_callback(None)
        headers = HTTPHeaders(
            {
                "Content-Type": "text/plain; charset=UTF-8",
                "Content-Length": str(len(body)),
                "Cache-Control": "no-store",
            }
        )
        if origin := self._request.headers.get("Origin"):  # it was checked
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Allow-Credentials"] = "true"
            headers["Vary"] = "Origin"
        with contextlib.suppress(StreamClosedError):
            start = ResponseStartLine("HTTP/1.1", 200, "OK")
            written = asyncio.ensure_future(connection.write_headers(start, headers, body))
            connection.finish()
            timer = asyncio.get_running_loop().call_later(DEADLINE, connection.close)

            def done(future: asyncio.Future[None]) -> None:
                timer.cancel()
                # Tornado calls a write done, too, whose stream has closed.
                failed = future.cancelled() or future.exception() is not None
                self.sent(not failed and not self.unwritten)

            written.add_done_callback(done)
