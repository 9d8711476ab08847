"""A client of django-ws.v1, written from docs/client-protocol.md."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import struct
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .server import Server

__all__ = ["EnvelopeClient"]

_names = itertools.count(1)


class EnvelopeClient:
    """One client, over as many connections as the test likes.

    Attributes:
        who: its name in the journal.
        welcome: options of the last one.
        had, sent: numbers of the last envelopes that came, and that were sent, in this session.
        handled: what the gateway says that is handled.
        got: the envelopes that came, numbers left out.
    """

    def __init__(self, server: Server, path: str = "envelopes", query: str = "") -> None:
        self.who = f"client{next(_names)}"
        self.url = f"{server.url}{path}?who={self.who}{query}"
        self.socket: ClientConnection | None = None
        self.token = ""
        self.had = self.sent = self.handled = 0
        self.welcome: dict[str, Any] = {}
        self.got: list[list[Any]] = []

    def __enter__(self) -> EnvelopeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ connections

    def open(self, query: str = "", **options: Any) -> EnvelopeClient:
        """Connect without a hello."""
        self._stack = contextlib.ExitStack()
        self.socket = self._stack.enter_context(
            connect(
                self.url + query,
                subprotocols=["django-ws.v1"],  # type: ignore[list-item]
                proxy=None,
                compression=None,
                max_size=None,
                **options,
            )
        )
        assert self.socket.subprotocol == "django-ws.v1"
        return self

    def hello(self, **options: Any) -> None:
        self.say(["hello", options])

    def begin(self, query: str = "", since: Any = None, **options: Any) -> EnvelopeClient:
        """Connect, say hello, and take the welcome; with the token of the session, if there was
        one. Options other than ``auth`` are the connection's."""
        words = {name: options.pop(name) for name in ("auth",) if name in options}
        if since is not None:
            words["since"] = since
        if self.token:
            words |= {"token": self.token, "had": self.had}
        self.open(query, **options)
        self.hello(**words)
        kind, self.welcome = self.envelope()
        assert kind == "welcome"
        if not self.welcome["resumed"]:
            self.had = self.sent = self.handled = 0
        self.token = self.welcome["token"]
        return self

    def cut(self) -> None:
        """Lose the connection: it is reset."""
        assert self.socket is not None
        raw = self.socket.socket
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            raw.shutdown(socket.SHUT_RD)
        raw.close()
        self._stack.close()
        self.socket = None

    def close(self, code: int = 1000) -> None:
        if self.socket is not None:
            self.socket.close(code)
            self._stack.close()
            self.socket = None

    def closed(self, seconds: float = 10.0) -> int:
        """The code with which the gateway closes the connection, after whatever comes before."""
        try:
            while True:
                self.envelope(seconds)
        except ConnectionClosed as closed:
            self._stack.close()
            self.socket = None
            return closed.rcvd.code if closed.rcvd is not None else 1006

    # ------------------------------------------------------------------ envelopes

    def say(self, envelope: list[Any], body: bytes | None = None) -> None:
        assert self.socket is not None
        text = json.dumps(envelope)
        self.socket.send(text if body is None else text.encode() + b"\n" + body)

    def send(self, data: str | bytes) -> int:
        """Send a message; returns its number."""
        return self.call("m", data)

    def call(self, kind: str, data: Any, *head: Any) -> int:
        """Send a numbered envelope; returns its number."""
        self.sent += 1
        words = [kind, self.sent, self.had, *head]
        if isinstance(data, bytes):
            self.say(words, data)
        else:
            self.say([*words, data])
        return self.sent

    def acknowledge(self) -> None:
        self.say(["a", self.had])

    def envelope(self, seconds: float = 10.0) -> list[Any]:
        """The next one, as it is."""
        assert self.socket is not None
        data = self.socket.recv(seconds)
        if isinstance(data, str):
            return list(json.loads(data))
        head, _, body = data.partition(b"\n")
        return [*json.loads(head), body]

    def next(self, seconds: float = 10.0) -> list[Any]:
        """The next one that is new and has a number: kind, and what follows the numbers."""
        while True:
            kind, number, *rest = self.envelope(seconds)
            if kind == "a":
                self.handled = max(self.handled, number)
                continue
            assert number <= self.had + 1, "a gap"
            self.handled = max(self.handled, rest.pop(0))
            if number == self.had + 1:
                self.had = number
                self.got.append([kind, *rest])
                return self.got[-1]

    def until_handled(self, number: int) -> None:
        """Wait until the gateway says that the handler is done with an envelope."""
        while self.handled < number:
            kind, had, *_ = self.envelope()
            assert kind == "a", kind
            self.handled = had
