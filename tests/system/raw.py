"""Clients that break the rules: they don't read, don't answer, or never stop sending."""

from __future__ import annotations

import base64
import contextlib
import os
import select
import socket
import threading

from .server import Server

__all__ = ["Flooders", "RawClient"]


class RawClient:
    """A client that does its handshake and then only what it is told; no frame is answered."""

    def __init__(self, server: Server, path: str, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", server.port))
        self.socket.settimeout(10)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /socket/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.socket.recv(1)
        if b" 101 " not in answer:
            self.socket.close()
            raise ConnectionRefusedError(answer.decode())

    def send(self, text: str) -> None:
        """Send a text message."""
        self.socket.sendall(frame(text))


def frame(text: str) -> bytes:
    """A text message as a client frames it (RFC 6455 §5.2), masked with zeros."""
    data = text.encode()
    if len(data) < 126:
        head = bytes([0x81, 0x80 | len(data)])
    else:
        head = bytes([0x81, 0x80 | 126]) + len(data).to_bytes(2)
    return head + bytes(4) + data


class Flooders:
    """Clients that send without pause, from a thread, and read nothing but drop it.

    Attributes:
        sent: messages so far.
    """

    def __init__(self, server: Server, path: str, number: int, message: str = "x") -> None:
        self._clients = [RawClient(server, path) for _ in range(number)]
        self._frame = frame(message)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self) -> Flooders:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for client in self._clients:
            client.socket.close()

    def _run(self) -> None:
        block = self._frame * max(1, 16384 // len(self._frame))
        rest = dict.fromkeys(self._clients, b"")
        for client in self._clients:
            client.socket.setblocking(False)
        while not self._stop.is_set():
            sockets = [client.socket for client in self._clients]
            select.select(sockets, sockets, [], 0.2)
            for client in self._clients:
                with contextlib.suppress(BlockingIOError):
                    client.socket.recv(1 << 16)
                data = rest[client] or block
                with contextlib.suppress(BlockingIOError):
                    rest[client] = data[client.socket.send(data) :]
                    self.sent += (len(data) - len(rest[client])) // len(self._frame)
