"""One connection of the load generator, as far as frames go."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from .frames import frame

__all__ = ["LoadError", "Peer"]

CHUNK = 65536


class LoadError(Exception):
    """The server did something else than expected."""


class Peer:
    """One client.

    Args:
        message: the frame that :attr:`say` sends.

    Attributes:
        at: when the message that waits for its answer was sent.
        greeting: the frame that it sends right after the upgrade; may be empty.
        request: how it asks for the upgrade.
        say: sends the message of the scenario.
        sent: the same as ``at``, for scenarios with several messages under way.
        rest: the beginning of a frame.
    """

    __slots__ = (
        "at",
        "fd",
        "got",
        "greeting",
        "recv",
        "request",
        "rest",
        "say",
        "send",
        "sent",
        "sock",
        "step",
        "upgraded",
    )

    def __init__(self, sock: socket.socket, message: bytes = b"") -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.recv = sock.recv
        self.send = sock.send
        self.say: Callable[[], object] = partial(sock.send, message)
        self.at = time.perf_counter()
        self.request = self.greeting = b""
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

    def greeted(self, message: bytes) -> None:
        """What a step was waiting for."""

    def skip(self, message: bytes) -> None:
        """Nothing that anybody waits for."""

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
