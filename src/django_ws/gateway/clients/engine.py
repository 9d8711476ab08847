"""One session of Engine.IO, whatever carries it: long polling at first, a WebSocket, or one after
the other.

To what carries it, it is a :class:`.context.Session`; to what it carries, a client. Both sides
speak of messages: types, pings and the end of a transport are dealt with here.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

from ...wire.messages import BINARY, TEXT
from ..counters import Counters
from .engineio import CLOSE, MESSAGE, NOOP, PING, PONG, Violation

__all__ = ["CLOSED", "POLLING", "PROBING", "WEBSOCKET", "Carrier", "Engine", "State", "Upper"]


class State(enum.Enum):
    """How a session is carried."""

    POLLING = enum.auto()
    #: The client tries a WebSocket; polling still carries everything.
    PROBING = enum.auto()
    WEBSOCKET = enum.auto()
    CLOSED = enum.auto()


POLLING, PROBING, WEBSOCKET, CLOSED = State

_NEXT = {
    POLLING: (PROBING, CLOSED),
    PROBING: (POLLING, WEBSOCKET, CLOSED),
    WEBSOCKET: (CLOSED,),
    CLOSED: (),
}


class Carrier(Protocol):
    """What carries packets: they look as in WebSocket messages.

    Attributes:
        writable: the queued bytes are below ``max_pending``.
        backlog: bytes that wait for the client.
    """

    @property
    def writable(self) -> bool: ...
    @property
    def backlog(self) -> int: ...
    def send(self, opcode: int, data: bytes) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def resume(self) -> None: ...


class Upper(Protocol):
    """What an engine carries: messages without their type."""

    def receive(self, opcode: int, data: bytes) -> bool: ...
    def writable(self) -> None: ...
    def disconnected(self, code: int, reason: str) -> None: ...


class Engine:
    """See the module.

    Args:
        sid: by which the client names it.
        number: counts up from session to session.
        state: ``POLLING`` or ``WEBSOCKET``.
        counters: get ``closed_protocol``.

    Attributes:
        carrier: set before anything comes in.
        upper: the same.
        pings: that were sent.
        pongs: of these, how many were answered: what was sent before them has arrived.
        settled: called with each answer.
    """

    __slots__ = (
        "_counters",
        "carrier",
        "conn",
        "opened",
        "pings",
        "pongs",
        "settled",
        "sid",
        "state",
        "upper",
    )

    carrier: Carrier
    upper: Upper

    def __init__(self, sid: str, number: int, state: State, counters: Counters) -> None:
        self.sid = sid
        self.conn = number
        self.state = state
        self._counters = counters
        #: Called once what carries it can carry.
        self.opened: Callable[[], None] | None = None
        self.pings = 0
        self.pongs = 0
        self.settled: Callable[[], None] | None = None

    def enter(self, state: State) -> None:
        """Be carried otherwise.

        Raises:
            AssertionError: There is no way from here to there.
        """
        if state not in _NEXT[self.state]:
            raise AssertionError(f"{self.state.name} cannot become {state.name}")
        self.state = state

    # ------------------------------------------------------------------ for the carrier

    def attach(self, carrier: Carrier) -> None:
        """Something carries it."""
        self.carrier = carrier
        opened, self.opened = self.opened, None
        if opened is not None:
            opened()

    def receive(self, opcode: int, data: bytes) -> bool:
        """Take a packet; False if no more should come before :meth:`Carrier.resume`."""
        if self.state is CLOSED:
            return True
        try:
            if opcode == BINARY:
                return self.upper.receive(opcode, data)
            kind = data[:1]
            if kind == MESSAGE:
                return self.upper.receive(opcode, data[1:])
            if data == CLOSE:
                self.carrier.close(1000, "")
            elif data == PONG:
                self._ponged()
            elif data != NOOP:
                raise Violation("no Engine.IO packet")
        except Violation as violation:
            self.fail(str(violation))
        return True

    def _ponged(self) -> None:
        if self.pongs < self.pings:  # else nobody has asked
            self.pongs += 1
            if self.settled is not None:
                self.settled()

    def fail(self, reason: str) -> None:
        """The client broke the rules."""
        if self.state is not CLOSED:
            self._counters["closed_protocol"] += 1
            self.carrier.close(1008, reason)

    def writable(self) -> None:
        """The carrier's queue fell below ``max_pending`` again."""
        self.upper.writable()

    def disconnected(self, code: int, reason: str) -> None:
        """The client is gone."""
        if self.state is not CLOSED:
            self.enter(CLOSED)
            self.upper.disconnected(code, reason)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.pings += 1
        self.send_packet(TEXT, PING)

    # ------------------------------------------------------------------ for what it carries

    def send_packet(self, opcode: int, data: bytes) -> None:
        """Send something that has its type already."""
        if self.state is not CLOSED:
            self.carrier.send(opcode, data)

    def send(self, opcode: int, data: bytes) -> None:
        """Send a message."""
        self.send_packet(opcode, MESSAGE + data if opcode == TEXT else data)

    def close(self, code: int, reason: str) -> None:
        """End it; what was sent before still goes out."""
        if self.state is not CLOSED:
            self.carrier.close(code, reason)

    def resume(self) -> None:
        """Let the carrier go on."""
        if self.state is not CLOSED:
            self.carrier.resume()
