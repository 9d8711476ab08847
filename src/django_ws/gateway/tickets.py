"""Which tickets are used up."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable

__all__ = ["MAX_TICKETS", "UsedTickets"]

#: Tickets to remember, each until it expires; beyond that none is good.
MAX_TICKETS = 200_000


class UsedTickets:
    """Remembers tickets until they would be refused for their age.

    Args:
        now: seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float] = time.time, limit: int = MAX_TICKETS) -> None:
        self._now = now
        self._limit = limit
        self._used: set[str] = set()
        self._ends: list[tuple[float, str]] = []  # a heap

    def use(self, nonce: str, expires: float) -> bool:
        """Use a ticket.

        Returns:
            False if it was used before, is over, or there is no room to remember it.
        """
        now = self._now()
        while self._ends and self._ends[0][0] <= now:
            self._used.discard(heapq.heappop(self._ends)[1])
        if nonce in self._used or expires <= now or len(self._used) >= self._limit:
            return False
        self._used.add(nonce)
        heapq.heappush(self._ends, (expires, nonce))
        return True
