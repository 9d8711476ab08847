"""Sockets of clients while they speak HTTP: Tornado's streams, whose owner hears of their end.

They answer and tell when a request's headers are too long, where Tornado would just close them.
"""

from __future__ import annotations

import contextlib
import socket
from types import TracebackType
from typing import Protocol

from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, SSLIOStream, UnsatisfiableReadError

from .refusals import response

__all__ = ["Owner", "SecureStream", "Stream"]

_TOO_LONG = response(431, "The headers of this request are too long.\n")

_Reason = (
    bool
    | BaseException
    | tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
    | None
)


class Owner(Protocol):
    """What hears of a stream's end."""

    def oversize(self, stream: Stream) -> None:
        """A request's headers are too long; the stream closes."""

    def closed(self, stream: Stream) -> None:
        """The socket is closed."""

    def moved(self, stream: Stream) -> None:
        """The socket is another's from now on."""


class Stream(IOStream):
    """The stream of one client.

    Args:
        sock: accepted.
        client: address and port of the peer.
        owner: hears of its end, once.
        max_buffer_size: bytes that may be read ahead.

    Attributes:
        requests: that were begun on it.
    """

    def __init__(
        self, sock: socket.socket, client: tuple[str, int], owner: Owner, max_buffer_size: int
    ) -> None:
        self.client = client
        self.owner = owner
        self.requests = 0
        self._given_away = False
        self._untried = True
        super().__init__(sock, max_buffer_size=max_buffer_size)

    def close(self, exc_info: _Reason = False) -> None:
        if self.closed():
            super().close(exc_info)
            return
        if isinstance(exc_info, UnsatisfiableReadError):
            # The first bytes of this response, so the buffer takes them if the peer is there.
            with contextlib.suppress(OSError):
                self.write_to_fd(memoryview(_TOO_LONG))
            self.owner.oversize(self)
        super().close(exc_info)
        if not self._given_away:
            self.owner.closed(self)

    def _try_inline_read(self) -> None:
        """Tornado's, but what comes first is read when it is that socket's turn.

        Else a request on a new socket is read at once, and overtakes what its client has sent
        before on an older one, of which the loop has just heard.
        """
        if not self._untried:
            super()._try_inline_read()
            return
        self._untried = False
        self._check_closed()
        self._add_io_state(IOLoop.READ)

    @property
    def unwritten(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return int(self._total_write_index - self._total_write_done_index)

    def move(self) -> None:
        """The socket goes on under another name, the stream with it (TLS)."""
        self._given_away = True
        self.owner.moved(self)

    def give_away(self) -> socket.socket:
        """End the stream, but not its socket, which is the caller's; so is telling the owner."""
        self._given_away = True
        sock = self.socket
        self.close()
        return sock

    def close_fd(self) -> None:
        if not self._given_away or isinstance(self, SSLIOStream):
            self.socket.close()
        # As Tornado's own close_fd does, whose attribute is declared as a socket all the same.
        self.socket = None  # type: ignore[assignment]


class SecureStream(Stream, SSLIOStream):
    """The stream of one client, with TLS."""
