"""How many sockets of clients there may be, and how many descriptors are kept from them."""

from __future__ import annotations

from collections import Counter

from .refusals import Refusal

__all__ = ["FULL", "Caps", "Descriptors"]

#: Descriptors kept for everything but clients: listening sockets, links to workers (twice while
#: these are replaced), connections to the pages. libzmq ends the process when it gets none.
RESERVED = 256

FULL = Refusal(
    503,
    "refused_limit",
    "This server has no room for another connection.",
    "Raise the limit on open files (ulimit -n) or MAX_CONNECTIONS.",
)


class Descriptors:
    """How the descriptors that this process may open are shared out.

    Args:
        limit: on open descriptors.

    Attributes:
        clients: sockets of clients.
        pages: connections to the process for the pages (``--wsgi``).
        excess: sockets over a cap that are still told so.
        highest: a client's socket with this number or a higher one is cut off at once: the kernel
            gives out the lowest number that is free, so that many are open, whatever for.
    """

    __slots__ = ("clients", "excess", "highest", "pages")

    def __init__(self, limit: int) -> None:
        reserved = min(RESERVED, limit // 4)
        self.clients = max(1, limit - reserved)
        self.pages = max(1, reserved // 4)
        self.excess = reserved // 8
        self.highest = max(1, limit - reserved // 2)


class Caps:
    """Counts sockets of clients, in all and per address, each from accept to its end.

    Args:
        total: sockets in all.
        per_address: sockets of one address; 0 for any number.
    """

    __slots__ = ("_by_address", "_count", "_per_address", "_total")

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._by_address: Counter[str] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def enter(self, address: str) -> Refusal | None:
        """Count a socket, unless it is one too many."""
        if self._count >= self._total:
            return FULL
        if self._per_address and self._by_address[address] >= self._per_address:
            return Refusal(
                503,
                "refused_limit",
                "Too many connections from your address.",
                f"{address} has {self._per_address} connections, see MAX_CONNECTIONS_PER_IP. "
                "Behind a proxy all clients have its address.",
            )
        self._by_address[address] += 1
        self._count += 1
        return None

    def leave(self, address: str) -> None:
        """A socket that was counted is closed."""
        self._count -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
