"""A gateway's server in a thread, with a registry that stands for the workers."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvloop
from websockets.frames import apply_mask

from django_ws.gateway.counters import Counters
from django_ws.gateway.http.server import Server
from django_ws.gateway.returning import Returning
from django_ws.gateway.sessions import Saturated, UnknownNamespace
from django_ws.options import GatewayConfig, Limits
from django_ws.wire.messages import Accept, Handshake, Refuse, Resumed

DEADLINE = 5.0


def wait_until(condition: Callable[[], Any], what: str = "", seconds: float = DEADLINE) -> Any:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not in time: {what or condition}")
        time.sleep(0.005)
    return result


class FakeSession:
    """Echoes, or does what the test wants."""

    def __init__(self, registry: FakeRegistry, conn: int, handshake: Handshake) -> None:
        self.registry = registry
        self.conn = conn
        self.handshake = handshake
        self.address = handshake.client[0]
        self.verdict: asyncio.Future[Accept | Refuse] = asyncio.get_running_loop().create_future()
        self.client: Any = None
        self.received: list[tuple[int, bytes]] = []
        self.called: list[tuple[str, bytes, list[bytes]]] = []
        self.ended: list[tuple[int, str]] = []
        self.writable_calls = 0
        self.withdrawn: list[Returning] = []

    def attach(self, client: Any) -> None:
        self.client = client
        self.registry.on_attach(self)

    def receive(self, opcode: int, data: bytes) -> bool:
        assert not self.ended
        assert type(data) is bytes
        self.received.append((opcode, data))
        return self.registry.on_receive(self, opcode, data)

    def call(
        self, kind: int, name: str, data: bytes, attachments: list[bytes], answer: bool
    ) -> tuple[int, bool]:
        assert not self.ended
        self.called.append((name, data, attachments))
        return len(self.called), True

    @property
    def live(self) -> bool:
        return not self.ended

    @property
    def handled_seq(self) -> int:
        return 1 + len(self.received) + len(self.called)

    def resume(self) -> None:
        """Nothing is ever held up."""

    def ask_to_resume(self, question: Returning) -> None:
        self.registry.on_question(self, question)

    def withdraw(self, question: Returning) -> None:
        self.withdrawn.append(question)

    def writable(self) -> None:
        self.writable_calls += 1

    def disconnected(self, code: int, reason: str) -> None:
        self.ended.append((code, reason))


class FakeRegistry:
    """Accepts everybody unless told otherwise."""

    def __init__(self) -> None:
        self.sessions: list[FakeSession] = []
        self.ready = True
        self.answer: Accept | Refuse | None = Accept(0, "")
        self.error: type[Exception] | None = None
        self.drained = self.closed = False
        self.incarnation = "fake"

    def connect(self, handshake: Handshake) -> FakeSession:
        if self.error is not None:
            raise self.error
        session = FakeSession(self, len(self.sessions) + 1, handshake)
        self.sessions.append(session)
        if self.answer is not None:
            session.verdict.set_result(self.answer)
        return session

    def on_attach(self, session: FakeSession) -> None:
        """To be replaced."""

    def on_receive(self, session: FakeSession, opcode: int, data: bytes) -> bool:
        """To be replaced."""
        session.client.send(opcode, data)
        return True

    def on_question(self, session: FakeSession, question: Returning) -> None:
        """To be replaced."""
        question.answered(Resumed(session.conn, question.number, 0, "", False))

    async def drain(self, deadline: float) -> None:
        self.drained = True

    def close(self) -> None:
        self.closed = True


class Gateway:
    """A running server."""

    def __init__(self, config: GatewayConfig) -> None:
        self.config = config
        self.registry = FakeRegistry()
        self.counters = Counters()
        self.port = 0
        self._ready = threading.Event()
        self._stop: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve()))

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = self.loop.create_future()
        try:
            self.server = Server(self.config, self.registry, self.counters)
            self.port = self.server.listen()[1]
        except BaseException as error:
            self._error = error
            self._ready.set()
            return
        self._ready.set()
        seconds, renewal = await self._stop
        await self.server.drain(seconds, renewal=renewal)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait(DEADLINE)
        if self._error is not None:
            self._thread.join()
            raise self._error

    def call(self, function: Callable[[], Any]) -> Any:
        """Run something in the loop."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(DEADLINE)

    def drain(self, seconds: float) -> None:
        """Begin to drain."""
        self.call(lambda: self._stop.done() or self._stop.set_result((seconds, False)))

    def renew(self, seconds: float) -> None:
        """Begin to drain, because another one takes its place."""
        self.call(lambda: self._stop.set_result((seconds, True)))

    def join(self) -> None:
        self._thread.join(2 * DEADLINE)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        if self._thread.is_alive():
            with suppress(RuntimeError):
                self.drain(0.5)
        self.join()

    @property
    def session(self) -> FakeSession:
        """The latest session."""
        return self.registry.sessions[-1]

    def ended(self, session: FakeSession | None = None) -> tuple[int, str]:
        """How a session ended; waits for it."""
        session = session or self.session
        wait_until(lambda: session.ended, "the end of the session")
        assert len(session.ended) == 1
        return session.ended[0]


@contextmanager
def gateway(limits: dict[str, Any] | None = None, **config: Any) -> Iterator[Gateway]:
    """A gateway on a free port; ``limits`` and ``config`` change the defaults."""
    defaults = {"project": "tests", "port": 0, "allowed_hosts": ["127.0.0.1", "localhost"]}
    options = GatewayConfig(**{**defaults, **config}, limits=Limits(**(limits or {})))
    running = Gateway(options)
    running.start()
    try:
        yield running
    finally:
        running.stop()


KEY = base64.b64encode(bytes(range(16))).decode()


def request(port: int, path: str = "/socket/", **headers: str | None) -> bytes:
    """An upgrade request; keyword arguments add, change or (None) remove headers."""
    lines: dict[str, str | None] = {
        "Host": f"127.0.0.1:{port}",
        "Origin": "http://127.0.0.1",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
    }
    lines.update({name.replace("__", "-"): value for name, value in headers.items()})
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"GET {path} HTTP/1.1\r\n{text}\r\n".encode("latin-1")


def masked(opcode: int, data: bytes, *, fin: bool = True, rsv: int = 0) -> bytes:
    """A client's frame."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    size = len(data)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2)
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8)
    mask = os.urandom(4)
    return head + mask + apply_mask(data, mask)


class Client:
    """A WebSocket client that can break every rule."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        sock = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self.sock = tls.wrap_socket(sock, server_hostname="localhost") if tls else sock
        self.buffer = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def frame(self, opcode: int, data: bytes = b"", **options: Any) -> None:
        self.send(masked(opcode, data, **options))

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def _read(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not self._more():
                raise EOFError
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def head(self) -> tuple[int, str, dict[str, str]]:
        """The status, reason and headers of a response."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                raise EOFError
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        _, status, reason = first.split(" ", 2)
        headers = dict(line.split(": ", 1) for line in lines)
        return int(status), reason, {name.lower(): value for name, value in headers.items()}

    def body(self, headers: dict[str, str]) -> str:
        return self._read(int(headers.get("content-length", 0))).decode()

    def upgrade(self, path: str = "/socket/", **headers: str | None) -> dict[str, str]:
        """Shake hands; the response's headers."""
        self.send(request(self.sock.getpeername()[1], path, **headers))
        status, _, answer = self.head()
        assert status == 101, (status, self.buffer)
        return answer

    def refused(self, path: str = "/socket/", **headers: str | None) -> tuple[int, str]:
        """Try to shake hands; status and body of the refusal."""
        self.send(request(self.sock.getpeername()[1], path, **headers))
        status, _, answer = self.head()
        return status, self.body(answer)

    def read(self) -> tuple[int, bytes]:
        """The next frame: its first byte and its payload."""
        first, size = self._read(2)
        assert not size & 0x80, "a server must not mask"
        if size == 126:
            size = int.from_bytes(self._read(2))
        elif size == 127:
            size = int.from_bytes(self._read(8))
        return first, self._read(size)

    def read_close(self) -> int:
        """The code of the close frame that comes next, followed by the end of the stream."""
        first, data = self.read()
        assert first == 0x88, (first, data)
        assert self.at_end()
        return int.from_bytes(data[:2]) if data else 1005

    def at_end(self) -> bool:
        """Whether nothing but the end of the stream follows."""
        try:
            return not self.buffer and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True


@contextmanager
def connected(running: Gateway, **headers: str | None) -> Iterator[Client]:
    """A client that has shaken hands."""
    with Client(running.port) as client:
        client.upgrade(**headers)
        yield client


def open_sockets(server: Gateway) -> int:
    """How many sockets of clients count at the moment."""
    return len(server.server._reception._caps)


__all__ = [
    "Client",
    "FakeSession",
    "Gateway",
    "Saturated",
    "UnknownNamespace",
    "connected",
    "gateway",
    "masked",
    "open_sockets",
    "request",
    "wait_until",
]
