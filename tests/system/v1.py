"""A second client of ``django-ws.v1``, written from ``docs/client-protocol.md`` alone.

It is cheap enough for hundreds in one process, and it can be cut at any moment.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections import deque
from collections.abc import Callable

import msgspec

__all__ = ["Socket", "V1Client"]

_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10

# Envelopes after which a client acknowledges by itself.
_ACKNOWLEDGE = 64

_to_json = msgspec.json.Encoder().encode
_from_json = msgspec.json.Decoder().decode


class Socket(asyncio.Protocol):
    """One WebSocket (RFC 6455), without extensions and without fragments."""

    def __init__(self, client: V1Client, host: str, path: str) -> None:
        self._client = client
        self._buffer = bytearray()
        self._open = False
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
            "Sec-WebSocket-Protocol: django-ws.v1\r\n\r\n"
        ).encode()
        self.transport: asyncio.Transport
        self.code = 1006

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        self._client.ended(self)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self._open:
            head, separator, rest = bytes(buffer).partition(b"\r\n\r\n")
            if not separator:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                self.code = int(head.split()[1])
                self.transport.abort()
                return
            self._open = True
            buffer[:] = rest
            self._client.opened(self)
        self._frames(buffer)

    def _frames(self, buffer: bytearray) -> None:
        start, end = 0, len(buffer)
        while end - start >= 2:
            size, begin = buffer[start + 1], start + 2
            if size > 125:
                width = 2 if size == 126 else 8
                if end < begin + width:
                    break
                size = int.from_bytes(buffer[begin : begin + width])
                begin += width
            if end < begin + size:
                break
            self._frame(buffer[start] & 15, bytes(buffer[begin : begin + size]))
            start = begin + size
        del buffer[:start]

    def _frame(self, opcode: int, data: bytes) -> None:
        if opcode == _CLOSE:
            self.code = int.from_bytes(data[:2]) if data else 1005
            self.send(_CLOSE, data[:2])
        elif opcode == _PING:
            self.send(_PONG, data)
        elif opcode in (_TEXT, _BINARY):
            self._client.take(self, opcode, data)

    def send(self, opcode: int, data: bytes) -> None:
        """Send a frame, masked with zeros."""
        size = len(data)
        if size < 126:
            head = bytes((0x80 | opcode, 0x80 | size))
        else:
            head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2)
        self.transport.write(head + b"\0\0\0\0" + data)


class V1Client:
    """One page: its session, which outlives its sockets.

    Args:
        host: and port.
        path: of the namespace.
        on_envelope: gets each numbered envelope once: its kind, and what stands behind ``had``.

    Attributes:
        socket: the connection; ``None`` without one.
        welcomed: the connection had its ``welcome``.
        code: with which the last connection ended that we did not cut; 0 before.
        host: and port, for the next connection.
        sessions: how many were begun.
        resumed: how often one was got back.
        doubtful: messages of which nobody knows whether they were handled.
    """

    def __init__(
        self, host: str, path: str, on_envelope: Callable[[str, list[object]], None]
    ) -> None:
        self.host, self._path = host, path
        self._on_envelope = on_envelope
        self._token = ""
        self._taken = 0  # number of the last envelope from the gateway
        self._told = 0  # which of them it was told of
        self._sent = 0
        self._kept: deque[tuple[int, str]] = deque()
        self._unsent: list[str] = []
        self._positions: dict[str, dict[str, object]] = {}
        self.socket: Socket | None = None
        self.welcomed = False
        self.code = 0
        self.sessions = 0
        self.resumed = 0
        self.doubtful: list[str] = []

    async def connect(self) -> Socket:
        """Open a connection; ``welcome`` comes later."""
        host, _, port = self.host.partition(":")
        _, socket = await asyncio.get_running_loop().create_connection(
            lambda: Socket(self, self.host, self._path), host, int(port)
        )
        return socket

    def cut(self) -> None:
        """End the connection as a broken network does."""
        if self.socket is not None:
            self.socket.transport.abort()
        self.socket, self.welcomed = None, False

    def vanish(self) -> Socket | None:
        """Know nothing of the connection any more, which stays as it is and is not read."""
        socket, self.socket, self.welcomed = self.socket, None, False
        if socket is not None:
            socket.transport.pause_reading()
        return socket

    def close(self) -> None:
        """End connection and session."""
        if self.socket is not None:
            self.socket.send(_CLOSE, (1000).to_bytes(2))

    def send(self, text: str) -> None:
        """Send a message; without a connection it waits for one."""
        if self.welcomed and self.socket is not None:
            self._sent += 1
            self._kept.append((self._sent, text))
            self._message(self.socket, self._sent, text)
        else:
            self._unsent.append(text)

    def _message(self, socket: Socket, number: int, text: str) -> None:
        self._told = self._taken
        socket.send(_TEXT, _to_json(["m", number, self._taken, text]))

    # ------------------------------------------------------------------ for its sockets

    def opened(self, socket: Socket) -> None:
        """The upgrade is done: say hello."""
        self.socket, self.welcomed = socket, False
        hello: dict[str, object] = {}
        if self._positions:
            hello["since"] = list(self._positions.values())
        if self._token:
            hello |= {"token": self._token, "had": self._taken}
        socket.send(_TEXT, _to_json(["hello", hello]))

    def ended(self, socket: Socket) -> None:
        """A connection is gone."""
        if socket is self.socket:
            self.socket, self.welcomed, self.code = None, False, socket.code

    def take(self, socket: Socket, opcode: int, data: bytes) -> None:
        """Take an envelope."""
        if socket is not self.socket:
            return
        head, _, tail = data.partition(b"\n") if opcode == _BINARY else (data, b"", b"")
        kind, *rest = _from_json(head)
        if opcode == _BINARY:
            rest.append(tail)
        if kind == "welcome":
            self._welcome(socket, rest[0])
        elif kind == "a":
            self._acknowledged(rest[0])
            if self._told < self._taken:
                self._acknowledge(socket)
        else:
            self._numbered(socket, kind, *rest)

    def _welcome(self, socket: Socket, options: dict[str, object]) -> None:
        had = options["had"]
        assert isinstance(had, int)
        self._token = str(options["token"])
        if options["resumed"]:
            self.resumed += 1
            self._acknowledged(had)
        else:
            self.sessions += 1
            self.doubtful += [text for _, text in self._kept]
            self._kept.clear()
            self._taken = self._told = self._sent = 0
            # A position holds until the group's first envelope says better.
        self.welcomed = True
        for number, text in self._kept:
            self._message(socket, number, text)
        unsent, self._unsent = self._unsent, []
        for text in unsent:
            self.send(text)

    def _numbered(self, socket: Socket, kind: str, number: int, had: int, *rest: object) -> None:
        self._acknowledged(had)
        if number <= self._taken:
            return
        assert number == self._taken + 1, f"{number} after {self._taken}"
        self._taken = number
        if kind in ("g", "h", "j"):
            group, offset, epoch = rest[:3]
            if offset or kind == "j":
                position = {"group": group, "offset": offset, "epoch": epoch}
                self._positions[str(group)] = position
        elif kind == "l":
            self._positions.pop(str(rest[0]), None)
        self._on_envelope(kind, list(rest))
        if self._taken - self._told >= _ACKNOWLEDGE:
            self._acknowledge(socket)

    def _acknowledge(self, socket: Socket) -> None:
        self._told = self._taken
        socket.send(_TEXT, _to_json(["a", self._taken]))

    def _acknowledged(self, had: int) -> None:
        while self._kept and self._kept[0][0] <= had:
            self._kept.popleft()
