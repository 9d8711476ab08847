"""Accepts connections, and gets along without free descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Callable

from ..counters import Counters

__all__ = ["Acceptor", "cut_off"]

_logger = logging.getLogger("django_ws.gateway")

#: Connections accepted in one turn of the loop.
BURST = 8

#: Bytes that are read of whoever is cut off.
CHUNK = 64 * 1024

#: Seconds without accepting after an error that would come again at once.
PAUSE = 0.1

#: Seconds between two complaints.
COMPLAIN_EVERY = 10.0

#: Errors of one connection, not of the listening socket (accept(2)).
_PASSING = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EINTR, errno.EPERM})


def cut_off(sock: socket.socket, excuse: bytes) -> None:
    """Close a socket at once, with an excuse that a client of plain HTTP most likely reads."""
    with sock, contextlib.suppress(OSError):
        sock.setblocking(False)
        sock.send(excuse)
        sock.recv(CHUNK)  # what is not read would make a reset of the close


class Acceptor:
    """Watches listening sockets.

    When descriptors run out, whoever connects is cut off at once by way of a spare descriptor,
    and accepting pauses; the connections that exist are not touched.

    Args:
        sockets: non-blocking, listening.
        take: called with each new socket and the peer's address.
        counters: gets ``accept_failures``.
        excuse: sent to those who are cut off; empty under TLS.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        take: Callable[[socket.socket, tuple[str, int]], None],
        counters: Counters,
        excuse: bytes,
    ) -> None:
        self._sockets = sockets
        self._take = take
        self._counters = counters
        self._excuse = excuse
        self._loop = asyncio.get_running_loop()
        self._spare = os.open(os.devnull, os.O_RDONLY)
        self._silent_until = 0.0
        self._timers: dict[socket.socket, asyncio.TimerHandle] = {}
        for sock in sockets:
            self._loop.add_reader(sock, self._accept, sock)

    def close(self) -> None:
        """Close the listening sockets."""
        for timer in self._timers.values():
            timer.cancel()
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            sock.close()
        if self._sockets and self._spare >= 0:
            os.close(self._spare)
        self._sockets = []

    def finish(self) -> None:
        """Take those who wait to be accepted, and close the listening sockets."""
        for sock in self._sockets:
            while self._accept(sock):
                pass
        self.close()

    def _accept(self, sock: socket.socket) -> bool:
        """Accept some. Returns whether more may wait."""
        for _ in range(BURST):
            try:
                connection, address = sock.accept()
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno in _PASSING:
                    continue
                self._pause(sock, error)
                return False
            try:
                self._take(connection, address)
            except OSError:  # the peer is gone already
                connection.close()
        return True

    def _pause(self, sock: socket.socket, error: OSError) -> None:
        self._shed(sock)
        self._counters["accept_failures"] += 1
        now = self._loop.time()
        if now >= self._silent_until:
            self._silent_until = now + COMPLAIN_EVERY
            _logger.error("refusing new connections: %s", error.strerror)
        self._loop.remove_reader(sock)
        self._timers[sock] = self._loop.call_later(PAUSE, self._go_on, sock)

    def _go_on(self, sock: socket.socket) -> None:
        del self._timers[sock]
        self._loop.add_reader(sock, self._accept, sock)

    def _shed(self, sock: socket.socket) -> None:
        """Cut off those who wait, so that they needn't find out by a timeout."""
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        with contextlib.suppress(OSError):
            for _ in range(BURST):
                cut_off(sock.accept()[0], self._excuse)
        # If somebody was faster, the next pause tries again.
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)
