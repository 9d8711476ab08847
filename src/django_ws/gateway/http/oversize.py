"""Streams that answer and tell when a request's headers are too long; Tornado just closes them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType

from tornado.iostream import IOStream, SSLIOStream, UnsatisfiableReadError

__all__ = ["LimitedSSLStream", "LimitedStream"]

_TEXT = b"The headers of this request are too long.\n"
_RESPONSE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s" % (len(_TEXT), _TEXT)
)

_Reason = (
    bool
    | BaseException
    | tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
    | None
)


class LimitedStream(IOStream):
    """A stream without TLS.

    Attributes:
        on_oversize: called once if the headers are too long.
    """

    on_oversize: Callable[[], object]

    def close(self, exc_info: _Reason = False) -> None:
        _answer(self, exc_info)
        super().close(exc_info)


class LimitedSSLStream(SSLIOStream):
    """A stream with TLS; see :class:`LimitedStream`."""

    on_oversize: Callable[[], object]

    def close(self, exc_info: _Reason = False) -> None:
        _answer(self, exc_info)
        super().close(exc_info)


def _answer(stream: LimitedStream | LimitedSSLStream, reason: _Reason) -> None:
    if isinstance(reason, UnsatisfiableReadError) and not stream.closed():
        # The first bytes of this socket, so its buffer takes them if the peer is still there.
        with contextlib.suppress(OSError):
            stream.write_to_fd(memoryview(_RESPONSE))
        stream.on_oversize()
