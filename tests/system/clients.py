"""Blocking clients for tests of single connections."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

from .server import Command, Server, until

__all__ = ["Client", "until_served"]

_names = itertools.count(1)


class Client:
    """One connection, known to handlers and journal by its name."""

    def __init__(self, server: Server, path: str = "", **options: object) -> None:
        self.server = server
        self.who = f"client{next(_names)}"
        mark = "&" if "?" in path else "?"
        self._stack = contextlib.ExitStack()
        self.socket: ClientConnection = self._stack.enter_context(
            connect(
                f"{server.url}{path}{mark}who={self.who}",
                proxy=None,
                compression=None,
                max_size=None,
                **options,
            )
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close in good order."""
        self._stack.close()

    def send(self, *messages: str | bytes) -> None:
        """Send messages without waiting for anything."""
        for message in messages:
            self.socket.send(message)

    def receive(self, seconds: float = 10.0) -> str | bytes:
        """The next message."""
        return self.socket.recv(seconds)

    def ask(self, message: str | bytes) -> str | bytes:
        """Send a message and return the answer."""
        self.send(message)
        return self.receive()

    def closing(self, seconds: float = 10.0) -> tuple[int, str]:
        """Code and reason that the server closes with; what it sends before is dropped."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.socket.recv(seconds)
        frame = self.socket.protocol.close_rcvd
        assert frame is not None, "cut off without a close frame"
        return frame.code, frame.reason

    def vanish(self) -> None:
        """Be gone without a close frame, by a reset."""
        raw = self.socket.socket
        with contextlib.suppress(OSError):  # the client's own thread may have closed it meanwhile
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.shutdown(socket.SHUT_RDWR)
            raw.close()

    def notes(self, *what: str) -> list[list[object]]:
        """What its handler noted: what it did, and with what."""
        notes = self.server.project.journal(*what, who=self.who)
        return [[note[0], *note[4:]] for note in notes]

    def until_noted(self, *what: str, seconds: float = 10.0) -> list[list[object]]:
        """Wait for a note, and return all that there are."""
        until(lambda: self.notes(*what), seconds, self.notes)
        return self.notes()


def until_served(command: Command, url: str, seconds: float = 15.0) -> None:
    """Wait until an echo works."""

    def served() -> bool:
        try:
            with connect(url, proxy=None, open_timeout=2) as client:
                client.send("hello")
                return client.recv(2) == "hello"
        except (OSError, TimeoutError, WebSocketException):
            return False

    until(served, seconds, command.output)
