"""Which channels a connection is to be subscribed to, and which it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Changes", "Subscriptions"]

#: Subscriptions that are changed in one turn of the loop.
TURN = 1_000


class Changes(NamedTuple):
    """What is to be said now.

    Attributes:
        on: channels to subscribe to, before anything else is said.
        off: those to leave, behind it: who says something and leaves may have said it to itself.
    """

    on: list[bytes]
    off: list[bytes]


class Subscriptions:
    """See the module. What changes back before it is said costs nothing."""

    def __init__(self) -> None:
        self._wanted: set[bytes] = set()
        # Of these those that were asked for on this connection.
        self._there: set[bytes] = set()
        # In the order of the changes; bounded by the channels there are.
        self._changed: dict[bytes, None] = {}
        # Asked for and not confirmed, with who waits for that.
        self._confirming: dict[bytes, list[Callable[[], None]]] = {}

    def __len__(self) -> int:
        return len(self._there)

    @property
    def changed(self) -> bool:
        """Whether there is something to be said."""
        return bool(self._changed)

    def add(self, channel: bytes) -> None:
        """A channel is wanted."""
        self._wanted.add(channel)
        self._changed[channel] = None

    def discard(self, channel: bytes) -> None:
        """It is not any more."""
        self._wanted.discard(channel)
        self._changed[channel] = None
        self._call(self._confirming.get(channel, []))

    def forget(self, channel: bytes) -> None:
        """Another server has a channel now, so this one has ended the subscription, or will."""
        self._wanted.discard(channel)
        self._there.discard(channel)
        self._changed.pop(channel, None)
        self.confirm(channel)

    def taken_away(self, channel: bytes) -> None:
        """The server has ended a subscription, or refused it."""
        self._there.discard(channel)

    def anew(self) -> None:
        """There is another connection."""
        self._there.clear()
        self._changed = dict.fromkeys(self._wanted)

    def take(self) -> Changes:
        """A part of what is to be said."""
        changes = Changes([], [])
        for channel in list(self._changed)[:TURN]:
            del self._changed[channel]
            if channel in self._wanted and channel not in self._there:
                self._there.add(channel)
                self._confirming.setdefault(channel, [])
                changes.on.append(channel)
            elif channel not in self._wanted and channel in self._there:
                self._there.discard(channel)
                changes.off.append(channel)
        return changes

    def confirm(self, channel: bytes) -> None:
        """Its messages come from now on."""
        self._call(self._confirming.pop(channel, []))

    def confirm_all(self) -> None:
        """There is no connection: nobody is to wait for one."""
        for channel in list(self._confirming):
            self.confirm(channel)

    def when_confirmed(self, channel: bytes, done: Callable[[], None]) -> None:
        """Call once a channel's messages come."""
        if channel in self._there and channel not in self._confirming:
            done()
        else:
            self._confirming.setdefault(channel, []).append(done)

    @staticmethod
    def _call(waiting: list[Callable[[], None]]) -> None:
        called, waiting[:] = waiting[:], []
        for done in called:
            done()
