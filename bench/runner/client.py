"""The load generator's connections: non-blocking sockets and one epoll, no framework.

It must cost less than the fastest server, so what is expected is compared byte for byte; only what
is something else (several frames in one read, a ping) is looked at.
"""

from __future__ import annotations

import errno
import itertools
import select
import socket
import time
from collections.abc import Sequence

from .frames import CLOSE, Dialect
from .peer import LoadError, Peer
from .v1 import NumberedPeer

__all__ = ["LoadError", "Peer", "Swarm"]

#: Handshakes at a time; below the 64 that a worker of django-ws lets wait by default.
IN_FLIGHT = 40


def _request(port: int, dialect: Dialect) -> bytes:
    more = f"Cookie: {dialect.cookie}\r\n" if dialect.cookie else ""
    if dialect.subprotocol:
        more += f"Sec-WebSocket-Protocol: {dialect.subprotocol}\r\n"
    return (
        f"GET {dialect.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Origin: http://127.0.0.1:{port}\r\n{more}"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


class Swarm:
    """All clients of one measurement.

    Args:
        ports: the server's, on 127.0.0.1; clients take them in turn.
        dialect: what to say.
    """

    def __init__(self, ports: Sequence[int], dialect: Dialect) -> None:
        self.dialect = dialect
        self.epoll = select.epoll()
        self.peers: dict[int, Peer] = {}
        self._kind = NumberedPeer if dialect.subprotocol else Peer
        self._targets = itertools.cycle([(port, _request(port, dialect)) for port in ports])

    def start(self) -> Peer:
        """Begin to connect."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        port, request = next(self._targets)
        error = sock.connect_ex(("127.0.0.1", port))
        if error not in (0, errno.EINPROGRESS):
            raise LoadError(f"connect: {errno.errorcode[error]}")
        peer = self._kind(sock, self.dialect.message)
        peer.request, peer.greeting = request, self.dialect.greeting
        self.peers[peer.fd] = peer
        self.epoll.register(peer.fd, select.EPOLLOUT)
        return peer

    def advance(self, peer: Peer, mask: int) -> bool:
        """Go on with a handshake. Returns whether it is done."""
        if mask & select.EPOLLOUT:
            error = peer.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise LoadError(f"connect: {errno.errorcode[error]}")
            peer.send(peer.request)
            self.epoll.modify(peer.fd, select.EPOLLIN)
            return False
        data = peer.read()
        steps = self.dialect.steps
        if not peer.upgraded:
            data = peer.rest + data
            peer.rest = b""
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                peer.rest = head
                return False
            if not head.startswith(b"HTTP/1.1 101"):
                raise LoadError(f"refused: {head.splitlines()[0].decode('latin-1')}")
            peer.upgraded = True
            if peer.greeting:
                peer.send(peer.greeting)
        if not steps and not data:
            return True
        for message in peer.messages(data):
            if peer.step < len(steps):
                prefix, following = steps[peer.step]
                if not message.startswith(prefix):
                    raise LoadError(f"unexpected: {message[:40]!r}")
                peer.greeted(message)
                if following:
                    peer.send(following)
                peer.step += 1
            else:
                peer.skip(message)
        return peer.step == len(steps)

    def open(self, count: int, limit: float = 120.0) -> list[Peer]:
        """Open connections.

        Args:
            limit: seconds for all of them.
        """
        deadline = time.perf_counter() + limit
        ready: list[Peer] = []
        started = 0
        while len(ready) < count:
            while started < count and started - len(ready) < IN_FLIGHT:
                self.start()
                started += 1
            for fd, mask in self.epoll.poll(1.0):
                peer = self.peers[fd]
                if peer.upgraded and peer.step == len(self.dialect.steps):
                    peer.count(peer.read(), self.dialect.answer)
                elif self.advance(peer, mask):
                    ready.append(peer)
            if time.perf_counter() > deadline:
                raise LoadError(f"{len(ready)} of {count} connections after {limit:g} s")
        return ready

    def finish(self, peer: Peer) -> None:
        """Close one connection as a browser does."""
        peer.send(CLOSE)
        self.epoll.unregister(peer.fd)
        del self.peers[peer.fd]
        peer.sock.close()

    def cut(self, peers: Sequence[Peer]) -> None:
        """Drop connections without a word."""
        for peer in peers:
            # With an RST: thousands of sockets in TIME_WAIT would be in the next run's way.
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.sock.close()  # which the epoll notices
            del self.peers[peer.fd]

    def close(self) -> None:
        """Drop all connections."""
        self.cut(list(self.peers.values()))
        self.epoll.close()
