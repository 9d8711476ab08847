"""What a connection needs of its surroundings, and what it offers to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from ...options import Limits
from ...wire.messages import Accept, Refuse
from ..counters import Counters
from ..pings import Pings, Stalls
from ..session import Client
from .reading import MAX_CONTROL

__all__ = ["PARTS", "Accepted", "Asked", "Context", "Recipient", "Session"]

#: Stands for "no limit" where a number is needed.
UNLIMITED = 2**62

#: What a message costs of the message rate, of which any other frame costs one: a ping is answered
#: and a fragment put away on the spot, while a message is also numbered, sent to a worker, kept and
#: acknowledged.
PARTS = 4

#: Keeps a whole number of messages from becoming one less.
_ROUNDING = 1e-6


class Recipient(Protocol):
    """What a connection needs of whatever takes its messages.

    Attributes:
        conn: its number.
    """

    @property
    def conn(self) -> int: ...
    def attach(self, client: Client) -> None: ...
    def receive(self, opcode: int, data: bytes) -> bool: ...
    def writable(self) -> None: ...
    def disconnected(self, code: int, reason: str) -> None: ...


class Asked(Protocol):
    """What a worker is asked.

    Attributes:
        verdict: its answer.
    """

    @property
    def verdict(self) -> asyncio.Future[Accept | Refuse]: ...


class Session(Recipient, Asked, Protocol):
    """A session of the gateway, to whoever began it. The question is its handshake."""


class Accepted(Protocol):
    """A connection that was accepted, until its socket and its session are done.

    Attributes:
        address: the peer's IP address.
        label: names it in logs; empty if it is not to be logged.
    """

    address: str
    label: str

    @property
    def code(self) -> int: ...
    def close(self, code: int, reason: str) -> None: ...
    def abort(self, code: int, reason: str) -> None: ...


class Context:
    """What all connections of a gateway share.

    Args:
        released: called once for each connection, after its socket and its session are done.

    Attributes:
        connections: all that are not done, also those whose socket is gone with messages that are
            still to be delivered.
    """

    __slots__ = (
        "_released",
        "ahead",
        "burst",
        "close_timeout",
        "connections",
        "counters",
        "high_water",
        "interval",
        "loop",
        "max_size",
        "pings",
        "small",
        "stalls",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        counters: Counters,
        pings: Pings,
        stalls: Stalls,
        released: Callable[[Accepted], None],
    ) -> None:
        self.loop = loop
        self.counters = counters
        self.pings = pings
        self.stalls = stalls
        self.connections: set[Accepted] = set()
        self._released = released
        self.max_size = limits.max_message_size or UNLIMITED
        #: Frames up to this size need no look at the limits.
        self.small = min(MAX_CONTROL, self.max_size)
        self.high_water = limits.max_pending or UNLIMITED
        self.close_timeout = limits.close_timeout
        #: Seconds that a message uses up of the message rate; 0 without a limit.
        self.interval = 1 / limits.message_rate if limits.message_rate else 0.0
        #: Seconds by which messages may be ahead of the rate: a burst of as many as per second.
        self.burst = max(1.0, self.interval)
        #: Seconds ahead at which one more message is still allowed.
        self.ahead = self.burst - self.interval

    def released(self, connection: Accepted) -> None:
        """Socket and session of a connection are done."""
        self.connections.discard(connection)
        self._released(connection)

    def allowance(self, due: float, now: float) -> int:
        """Whole messages that the message rate allows at once.

        Args:
            due: loop time until which the messages so far use up the rate, not before ``now``.
            now: loop time.
        """
        return int((self.burst + now - due) / self.interval + _ROUNDING)
