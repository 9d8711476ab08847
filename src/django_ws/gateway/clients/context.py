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

__all__ = ["MAX_CONTROL", "Context", "Recipient", "Released", "Session"]

#: Stands for "no limit" where a number is needed.
UNLIMITED = 2**62

#: Bytes of the payload of a control frame (RFC 6455 §5.5).
MAX_CONTROL = 125


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


class Session(Recipient, Protocol):
    """A session of the gateway, to whoever began it.

    Attributes:
        verdict: the worker's answer to the handshake.
    """

    @property
    def verdict(self) -> asyncio.Future[Accept | Refuse]: ...


class Released(Protocol):
    """A connection whose socket and session are done.

    Attributes:
        address: the peer's IP address.
        label: names it in logs; empty if it is not to be logged.
    """

    address: str
    label: str

    @property
    def code(self) -> int: ...


class Context:
    """What all connections of a gateway share.

    Args:
        released: called once for each connection, after its socket and its session are done.

    Attributes:
        lingering: connections whose socket is gone, with messages that are still to be delivered.
    """

    __slots__ = (
        "ahead",
        "burst",
        "close_timeout",
        "counters",
        "high_water",
        "interval",
        "lingering",
        "loop",
        "max_size",
        "pings",
        "released",
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
        released: Callable[[Released], None],
    ) -> None:
        self.loop = loop
        self.counters = counters
        self.pings = pings
        self.stalls = stalls
        self.released = released
        self.lingering: set[Released] = set()
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
