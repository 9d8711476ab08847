"""Handshakes that wait for a worker."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from .session import Session

__all__ = ["Waiting"]

_Lane = OrderedDict[int, Session]


class Waiting:
    """Namespaces take turns, and so do the addresses of each; those of one address come in order.

    Bounded by the caps on connections, and each handshake by its deadline. Everything takes the
    same time however many wait.
    """

    def __init__(self) -> None:
        # By namespace and address; those whose turn it is come first.
        self._lanes: OrderedDict[str, OrderedDict[str, _Lane]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def __iter__(self) -> Iterator[Session]:
        for lanes in self._lanes.values():
            for lane in lanes.values():
                yield from lane.values()

    @property
    def namespaces(self) -> list[str]:
        """For which somebody waits, in turn."""
        return list(self._lanes)

    def add(self, session: Session) -> None:
        """Queue up."""
        lanes = self._lanes.setdefault(session.namespace, OrderedDict())
        lanes.setdefault(session.address, OrderedDict())[session.conn] = session

    def discard(self, session: Session) -> None:
        """Leave the queue; nothing if it is not in there."""
        lanes = self._lanes.get(session.namespace)
        lane = lanes.get(session.address) if lanes is not None else None
        if lane is not None and lane.pop(session.conn, None) is not None and not lane:
            self._remove(session.namespace, session.address)

    def take(self, namespace: str) -> Session | None:
        """Remove whoever's turn it is; ``None`` if nobody waits for this namespace."""
        lanes = self._lanes.get(namespace)
        if lanes is None:
            return None
        address, lane = next(iter(lanes.items()))
        _, session = lane.popitem(last=False)
        self._lanes.move_to_end(namespace)
        if lane:
            lanes.move_to_end(address)
        else:
            self._remove(namespace, address)
        return session

    def _remove(self, namespace: str, address: str) -> None:
        lanes = self._lanes[namespace]
        del lanes[address]
        if not lanes:
            del self._lanes[namespace]
