"""Clients of Socket.IO for the fault harness, by polling or over a WebSocket.

They say no more than they have to, so that a test sees what goes over the wire.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from .load import Load

__all__ = ["TRANSPORTS", "Polling", "SocketClient", "SocketLoad", "WebSocket"]

#: Seconds for any step; polls wait until the next ping at most.
PATIENCE = 40


class Ended(Exception):
    """The transport is over."""


class Transport(Protocol):
    """Carries packets: text ones begin with their type, bytes are attachments."""

    async def send(self, *packets: str | bytes) -> None: ...
    async def receive(self) -> str | bytes: ...
    async def close(self) -> None: ...
    def abort(self) -> None: ...


def _length(head: str) -> int:
    [size] = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
    return int(size.partition(":")[2])


class WebSocket:
    """A WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    @classmethod
    async def open(cls, port: int, query: str = "", cookie: str = "") -> WebSocket:
        self = cls(
            await connect(
                f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket&{query}",
                compression=None,
                proxy=None,
                ping_interval=None,
                max_queue=None,
                open_timeout=5,
                additional_headers={"Cookie": cookie} if cookie else None,
            )
        )
        await self.receive()
        return self

    async def send(self, *packets: str | bytes) -> None:
        try:
            for packet in packets:
                await self._socket.send(packet)
        except WebSocketException as error:
            raise Ended from error

    async def receive(self) -> str | bytes:
        try:
            return await self._socket.recv()
        except WebSocketException as error:
            raise Ended from error

    async def close(self) -> None:
        await self._socket.close()

    def abort(self) -> None:
        self._socket.transport.abort()


class Polling:
    """Long polling, on two connections as browsers do it."""

    def __init__(self, port: int, query: str, cookie: str) -> None:
        self._port = port
        self._query = query
        self._cookie = cookie
        self._streams: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
        self._packets: list[str | bytes] = []
        self._posting = asyncio.Lock()

    @classmethod
    async def open(cls, port: int, query: str = "", cookie: str = "") -> Polling:
        self = cls(port, query, cookie)
        try:
            opening = await self.receive()
        except Ended as error:
            self.abort()
            raise ConnectionError from error
        self._query += f"&sid={json.loads(opening[1:])['sid']}"
        return self

    async def _request(self, method: str, body: bytes = b"") -> bytes:
        try:
            if method not in self._streams:
                self._streams[method] = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams[method]
            lines = [
                f"{method} /socket.io/?EIO=4&transport=polling&{self._query} HTTP/1.1",
                "Host: 127.0.0.1",
                f"Content-Length: {len(body)}",
            ]
            if self._cookie:
                lines.append(f"Cookie: {self._cookie}")
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            # Not wait_for: in 3.11 that forgets a cancellation if the answer is there.
            async with asyncio.timeout(PATIENCE):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                answer = await reader.readexactly(_length(head))
        except (OSError, EOFError, TimeoutError) as error:
            raise Ended from error
        if " 200 " not in head.split("\r\n")[0]:
            raise Ended(head)
        return answer

    async def send(self, *packets: str | bytes) -> None:
        parts = [
            part.encode() if isinstance(part, str) else b"b" + base64.b64encode(part)
            for part in packets
        ]
        async with self._posting:
            await self._request("POST", b"\x1e".join(parts))

    async def receive(self) -> str | bytes:
        if not self._packets:
            self._packets = [
                base64.b64decode(part[1:]) if part[:1] == b"b" else part.decode()
                for part in (await self._request("GET")).split(b"\x1e")
            ]
        return self._packets.pop(0)

    async def close(self) -> None:
        with contextlib.suppress(Ended):
            await self.send("1")
        self.abort()

    def abort(self) -> None:
        for _, writer in self._streams.values():
            writer.transport.abort()


TRANSPORTS: dict[str, type[WebSocket] | type[Polling]] = {
    "websocket": WebSocket,
    "polling": Polling,
}


class SocketClient:
    """One namespace of one client; for the load it looks as a WebSocket does.

    Attributes:
        close_code: 1000 if we left, 1006 if it was ended.
    """

    def __init__(self, transport: Transport, path: str) -> None:
        self.transport = transport
        self.close_code: int | None = None
        self._prefix = "" if path == "/" else f"{path},"

    @classmethod
    async def open(
        cls, transport: str, port: int, path: str = "/", query: str = "", cookie: str = ""
    ) -> SocketClient:
        """Connect.

        Raises:
            ConnectionRefusedError: The namespace said no; with what it said.
            OSError: Nobody is there.
        """
        self = cls(await TRANSPORTS[transport].open(port, query, cookie), path)
        try:
            await self.transport.send(f"40{self._prefix}")
            while True:
                packet = await self._packet()
                if isinstance(packet, str) and packet.startswith("40"):
                    return self
                if isinstance(packet, str) and packet.startswith("44"):
                    await self.transport.close()
                    raise ConnectionRefusedError(packet.partition("{")[2])
        except Ended as error:
            self.transport.abort()
            raise ConnectionError from error

    async def _packet(self) -> str | bytes:
        while True:
            packet = await self.transport.receive()
            if packet == "2":
                await self.transport.send("3")
            elif packet == "1":
                raise Ended
            else:
                return packet

    async def emit(self, *args: object) -> None:
        """Send an event."""
        await self.transport.send(f"42{self._prefix}{json.dumps(args)}")

    async def ask(self, *args: object) -> list[object]:
        """Send an event, and wait for what it is answered."""
        await self.transport.send(f"42{self._prefix}1{json.dumps(args)}")
        while True:
            packet = await self._packet()
            if isinstance(packet, str) and packet.startswith(f"43{self._prefix}1["):
                return list(json.loads(packet[packet.index("[") :]))

    async def send(self, message: str) -> None:
        """Send a message, if there is still somebody who takes it."""
        with contextlib.suppress(Ended):
            await self.emit("message", message)

    async def events(self) -> AsyncIterator[list[object]]:
        """Names and arguments of what comes, until it is over."""
        start, end = f"42{self._prefix}", f"41{self._prefix}"
        try:
            while True:
                packet = await self._packet()
                if packet == end:
                    break
                if isinstance(packet, str) and packet.startswith(start):
                    yield json.loads(packet[len(start) :])
        except Ended:
            pass
        if self.close_code is None:
            self.close_code = 1006
            self.transport.abort()

    async def event(self) -> list[object]:
        """The next one.

        Raises:
            ConnectionError: It is over.
        """
        async for event in self.events():
            return event
        raise ConnectionError

    async def __aiter__(self) -> AsyncIterator[object]:
        async for name, *args in self.events():
            assert name == "message"
            yield args[0]

    async def close(self) -> None:
        """Leave."""
        if self.close_code is None:
            self.close_code = 1000
        await self.transport.close()


class SocketLoad(Load):
    """The harness' load, by clients of Socket.IO.

    Args:
        transport: which of :data:`TRANSPORTS`.
        port: of the server.
        path: the namespace.
    """

    def __init__(self, transport: str, port: int, path: str, clients: int, rate: float) -> None:
        super().__init__("", clients, rate)
        self._transport = transport
        self._port = port
        self._path = path

    async def _open(self, who: str) -> SocketClient:  # type: ignore[override]
        return await SocketClient.open(self._transport, self._port, self._path, f"who={who}")
