"""A client of ``django-ws.v1`` (docs/client-protocol.md), as cheap as the others."""

from __future__ import annotations

import json
import socket

from .frames import MESSAGE, TEXT
from .peer import LoadError, Peer

__all__ = ["NumberedPeer"]

#: How an envelope ends that brings the scenario's message.
TAIL = b'"%s"]' % MESSAGE

#: Envelopes that a client takes until it says so.
TAKE = 64


def clear(payload: bytes) -> bytes:
    """A client's frame whose mask is zero, which costs the load generator nothing."""
    return bytes((TEXT, 0x80 | len(payload), 0, 0, 0, 0)) + payload


class NumberedPeer(Peer):
    """Numbers what it sends, checks the numbers of what it gets, and acknowledges that.

    Attributes:
        sends: number of the last envelope that was sent.
        taken: number of the last one that came.
        told: the same, as far as the gateway knows.
        token: brings its session back.
        resumed: the session was there before this connection.
    """

    __slots__ = ("resumed", "sends", "taken", "token", "told")

    def __init__(self, sock: socket.socket, message: bytes = b"") -> None:
        super().__init__(sock)
        self.sends = self.taken = self.told = 0
        self.token = ""
        self.resumed = False
        self.say = self._say

    def _say(self) -> None:
        self.sends += 1
        self.told = self.taken
        self.send(clear(b'["m",%d,%d%s' % (self.sends, self.taken, b"," + TAIL)))

    def greeted(self, message: bytes) -> None:
        """The gateway's welcome."""
        options = json.loads(message)[1]
        self.token, self.resumed = options["token"], options["resumed"]

    def come_back(self, before: NumberedPeer) -> None:
        """Ask for the session of a connection that is gone; before anything is sent."""
        self.sends, self.taken = before.sends, before.taken
        options = {"token": before.token, "had": before.taken}
        self.greeting = clear(json.dumps(["hello", options]).encode())

    def skip(self, message: bytes) -> None:
        """An envelope that is no answer; its number counts all the same."""
        self._take(message)

    def count(self, data: bytes, expected: bytes) -> int:
        """How many answers ``data`` completes."""
        if not self.rest and len(data) == data[1] + 2 and data[0] == TEXT and data[1] < 126:
            return self._take(data[2:])
        return sum(self._take(message) for message in self.messages(data))

    def _take(self, envelope: bytes) -> bool:
        """Take an envelope. Returns whether it brings the scenario's message."""
        parts = envelope.split(b",", 2)
        if len(parts) < 3:
            return False  # a bare acknowledgement has no number
        self.taken += 1
        if int(parts[1]) != self.taken:
            raise LoadError(f"an envelope has number {int(parts[1])} instead of {self.taken}")
        if self.taken - self.told >= TAKE:
            self.told = self.taken
            self.send(clear(b'["a",%d]' % self.taken))
        return envelope.endswith(TAIL)
