"""Sessions that outlive their connections: found again by a token, and given up after a while."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

from .counters import Counters

__all__ = ["Guest", "Parking"]


class Guest(Protocol):
    """What can be parked.

    Attributes:
        address: its client's; of the connection with which it began.
    """

    @property
    def address(self) -> str: ...
    def give_up(self, reason: str) -> None:
        """It waits no longer; :meth:`Parking.forget` is to follow."""


class Parking:
    """All sessions that can be had back. Nothing is kept of one that is given up.

    Bounded by ``most`` and ``per_address``; policy: the one that has waited for longest is given
    up, of all or of the address. So one address cannot drive out the sessions of all others.

    Args:
        ttl: seconds for which a session waits for its client; 0: none does.
        most: of those that wait; 0 for any number.
        per_address: the same, of one address.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ttl: float,
        most: int,
        per_address: int,
        counters: Counters,
    ) -> None:
        self.ttl = ttl
        self._loop = loop
        self._most = most or 2**62
        self._per_address = per_address or 2**62
        self._counters = counters
        self._guests: dict[str, Guest] = {}
        # With the loop time at which each is given up; all wait equally long.
        self._parked: OrderedDict[str, float] = OrderedDict()
        self._by_address: dict[str, dict[str, None]] = {}  # the same tokens, in the same order
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        """How many are parked."""
        return len(self._parked)

    def admit(self, token: str, guest: Guest) -> None:
        """Let a session be found, whether or not it is parked.

        Args:
            token: that only its client has.
        """
        self._guests[token] = guest

    def find(self, token: str) -> Guest | None:
        """Whose token it is."""
        return self._guests.get(token)

    def forget(self, token: str) -> None:
        """A session is over."""
        self._leave(token)
        self._guests.pop(token, None)

    def park(self, token: str) -> bool:
        """Its connection is gone. False if it need not wait."""
        if self._closed or not self.ttl:
            return False
        if len(self._parked) >= self._most:
            self._give_up(next(iter(self._parked)), "too many sessions wait for their clients")
        address = self._guests[token].address
        if len(self._by_address.get(address, ())) >= self._per_address:
            oldest = next(iter(self._by_address[address]))
            self._give_up(oldest, "too many sessions wait for clients at one address")
        self._by_address.setdefault(address, {})[token] = None
        self._parked[token] = self._loop.time() + self.ttl
        self._counters["sessions_parked"] += 1
        if self._timer is None:
            self._timer = self._loop.call_later(self.ttl, self._look)
        return True

    def unpark(self, token: str) -> None:
        """It has a connection again."""
        self._leave(token)
        self._counters["sessions_resumed"] += 1

    def give_up_soon(self, token: str, reason: str) -> None:
        """Give one up that is in the middle of something."""
        self._loop.call_soon(self._give_up, token, reason)

    def close(self) -> None:
        """Give all up that are parked, and park none any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for token in list(self._parked):
            self._give_up(token, "server shutting down")

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._parked:
            token, end = next(iter(self._parked.items()))
            if end > now:
                self._timer = self._loop.call_at(end, self._look)
                return
            self._give_up(token, "the client did not come back")

    def _give_up(self, token: str, reason: str) -> None:
        if not self._leave(token):
            return  # it has come back, or is over
        self._counters["sessions_given_up"] += 1
        self._guests[token].give_up(reason)

    def _leave(self, token: str) -> bool:
        """It waits no longer. Returns whether it did."""
        if self._parked.pop(token, None) is None:
            return False
        address = self._guests[token].address
        del self._by_address[address][token]
        if not self._by_address[address]:
            del self._by_address[address]
        return True
