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
from collections import deque
from collections.abc import Sequence

from .frames import CLOSE, Dialect, frame

__all__ = ["LoadError", "Peer", "Swarm"]

#: Handshakes at a time; below the 64 that a worker of django-ws lets wait by default.
IN_FLIGHT = 40
CHUNK = 65536


class LoadError(Exception):
    """The server did something else than expected."""


class Peer:
    """One client.

    Attributes:
        at: when the message that waits for its answer was sent.
        request: how it asks for the upgrade.
        sent: the same for scenarios with several messages under way.
        rest: the beginning of a frame.
    """

    __slots__ = (
        "at",
        "fd",
        "got",
        "recv",
        "request",
        "rest",
        "send",
        "sent",
        "sock",
        "step",
        "upgraded",
    )

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.recv = sock.recv
        self.send = sock.send
        self.at = time.perf_counter()
        self.request = b""
        self.sent: deque[float] = deque()
        self.rest = b""
        self.got = 0
        self.step = 0
        self.upgraded = False

    def messages(self, data: bytes) -> list[bytes]:
        """Split what came into payloads; answers pings."""
        data = self.rest + data
        payloads = []
        pos = 0
        while len(data) - pos >= 2:
            first, size = data[pos], data[pos + 1]
            start = pos + 2
            if size > 125:
                if len(data) - pos < 4 or size == 127:
                    break
                size = int.from_bytes(data[pos + 2 : pos + 4], "big")
                start = pos + 4
            if len(data) < start + size:
                break
            payload = data[start : start + size]
            pos = start + size
            if first == 0x89:
                self.send(frame(payload, 0x8A))
            elif first == 0x88:
                raise LoadError(f"closed by the server: {payload!r}")
            elif payload == b"2":
                self.send(frame(b"3"))  # Engine.IO's own ping
            else:
                payloads.append(payload)
        self.rest = data[pos:]
        return payloads

    def read(self) -> bytes:
        """Read what there is.

        Raises:
            LoadError: The server closed the connection.
        """
        data = self.recv(CHUNK)
        if not data:
            raise LoadError("the server closed a connection")
        return data

    def count(self, data: bytes, expected: bytes) -> int:
        """How many answers ``data`` completes."""
        if data == expected and not self.rest:
            return 1
        payload = expected[2:]
        return sum(message == payload for message in self.messages(data))


def _request(port: int, dialect: Dialect) -> bytes:
    cookie = f"Cookie: {dialect.cookie}\r\n" if dialect.cookie else ""
    return (
        f"GET {dialect.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Origin: http://127.0.0.1:{port}\r\n{cookie}"
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
        peer = Peer(sock)
        peer.request = request
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
        if not steps and not data:
            return True
        for message in peer.messages(data):
            if peer.step < len(steps):
                prefix, following = steps[peer.step]
                if not message.startswith(prefix):
                    raise LoadError(f"unexpected: {message[:40]!r}")
                if following:
                    peer.send(following)
                peer.step += 1
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
                    peer.messages(peer.read())
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

    def close(self) -> None:
        """Drop all connections."""
        for peer in self.peers.values():
            # With an RST: thousands of sockets in TIME_WAIT would be in the next run's way.
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.sock.close()
        self.peers.clear()
        self.epoll.close()
