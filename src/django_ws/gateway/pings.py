"""The one timer of all connections: pings, dead peers, clients that do not read.

Time is counted in ticks, and a late tick counts as one. So a gateway that was stopped for a while
has read what came in meanwhile before it takes a peer for dead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

__all__ = ["Peer", "Pings", "Stalls", "tick_length"]

#: Ticks of an interval that are too few to spread anything over.
FEW = 8


def tick_length(*limits: float) -> float:
    """Seconds between ticks, fine enough for the shortest of ``limits`` (seconds, 0 for off)."""
    shortest = min((limit for limit in limits if limit > 0), default=4.0)
    return min(1.0, max(0.02, shortest / 4))


class Peer(Protocol):
    """What the timer needs of a connection.

    Attributes:
        heard: True since something came in; reset with each ping.
        slot: kept for :class:`Pings`.
        held: reading is paused by us, so that silence means nothing.
        writable: its backlog is not over the high-water mark. Above it a ping would only wait in
            that backlog, and silence is a matter for :class:`Stalls`.
    """

    heard: bool
    writable: bool
    slot: int

    @property
    def number(self) -> int: ...
    @property
    def held(self) -> bool: ...
    @property
    def backlog(self) -> int: ...
    def ping(self) -> None: ...
    def no_pong(self) -> None: ...
    def too_slow(self) -> None: ...


class Pings:
    """A wheel of all connections; with each tick another part of them gets a ping.

    Args:
        interval: seconds between pings; 0 for none. Lengthened if needed, so that a ping is
            resolved before the next one.
        timeout: seconds from a ping to its resolution; 0: silent peers are never dead.
        tick: seconds between ticks.
    """

    __slots__ = ("_now", "_pinging", "_slots", "_timeout")

    def __init__(self, interval: float, timeout: float, tick: float) -> None:
        self._pinging = interval > 0
        self._timeout = math.ceil(timeout / tick)
        size = max(round(interval / tick), self._timeout + 1) if self._pinging else 1
        self._slots: list[set[Peer]] = [set() for _ in range(size)]
        self._now = 0

    def __len__(self) -> int:
        return sum(map(len, self._slots))

    def __iter__(self) -> Iterator[Peer]:
        for slot in self._slots:
            yield from list(slot)

    def add(self, peer: Peer, slot: int | None = None) -> None:
        """Take a connection in.

        Its first ping comes in the second half of an interval, and a tick before its end, since
        ticks are late: so who never answers is found after interval and timeout as clients count,
        too. Numbers count up, which spreads those that come all at once; not where an interval has
        few ticks, so that each has most of one before its first ping.

        Args:
            slot: of another one, whose pings it continues.
        """
        size = len(self._slots)
        if slot is None:
            spread = size // 2 if size > FEW else 1
            slot = (self._now + size - 1 - peer.number % spread) % size
        peer.slot = slot
        self._slots[peer.slot].add(peer)

    def discard(self, peer: Peer) -> None:
        """Forget a connection."""
        self._slots[peer.slot].discard(peer)

    def tick(self) -> None:
        """Resolve the pings that are due and send the next ones."""
        if not self._pinging:
            return
        self._now += 1
        if self._timeout:
            for peer in list(self._slots[(self._now - self._timeout) % len(self._slots)]):
                if not peer.heard and not peer.held and peer.writable:
                    peer.no_pong()
        for peer in list(self._slots[self._now % len(self._slots)]):
            peer.heard = not peer.writable
            peer.ping()


class Stalls:
    """The connections whose backlog is over the high-water mark.

    Args:
        timeout: seconds without any progress until a client counts as too slow; 0 for never.
        tick: seconds between ticks.
    """

    __slots__ = ("_limit", "_watched")

    def __init__(self, timeout: float, tick: float) -> None:
        self._limit = math.ceil(timeout / tick)
        self._watched: dict[Peer, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._watched)

    def add(self, peer: Peer) -> None:
        """Watch a connection, from now on without progress."""
        self._watched[peer] = (peer.backlog, 0)

    def discard(self, peer: Peer) -> None:
        """Its backlog is gone, or itself."""
        self._watched.pop(peer, None)

    def tick(self) -> None:
        """Give up those that took nothing for too long."""
        if not self._limit:
            return
        for peer, (before, ticks) in list(self._watched.items()):
            backlog = peer.backlog
            ticks = 0 if backlog < before else ticks + 1
            self._watched[peer] = (backlog, ticks)
            if ticks >= self._limit:
                peer.too_slow()
