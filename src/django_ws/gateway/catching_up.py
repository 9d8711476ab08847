"""Connections that hear first what was published before they become members of a group."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from ..wire.messages import Position, Recent
from .engine.base import Done, Failure
from .shared import Shared, shared

__all__ = ["CatchingUp", "Joining"]

#: Called with how far a group had come when a connection became its member, and whether nothing is
#: missing since the position it came with.
Joining = Callable[[Position, bool], None]

#: Publications that wait for a connection that hears first what came before.
MAX_HELD = 1000


class Receiver(Protocol):
    """What is needed of a connection."""

    @property
    def conn(self) -> int: ...
    def send_shared(self, message: Shared) -> None: ...


M = TypeVar("M", bound=Receiver)


class _Latecomer(Generic[M]):
    """One connection.

    Attributes:
        position: how far it has come.
        waiting: what was published meanwhile; bounded, policy: dropped, and asked for again.
    """

    __slots__ = (
        "asked_again",
        "began",
        "complete",
        "done",
        "guess",
        "member",
        "over",
        "position",
        "told",
        "waiting",
    )

    def __init__(
        self,
        member: M,
        position: Position,
        done: Joining | None,
        began: Joining | None,
        guess: bool,
    ) -> None:
        self.member = member
        self.position = position
        self.done = done
        self.began = began
        self.guess = guess
        self.told = False
        self.complete = True
        self.over = False
        self.asked_again = False
        self.waiting: list[Shared] = []

    def hold(self, message: Shared) -> None:
        """Keep a publication until those before it have come."""
        if len(self.waiting) < MAX_HELD:
            self.waiting.append(message)
        else:
            self.waiting.clear()
            self.asked_again = True


class CatchingUp(Generic[M]):
    """See the module.

    Args:
        ask: asks the engine for the publications after a position, as
            :meth:`.engine.base.Engine.history` does.
        place: asks it how far a group has come, as :meth:`.engine.base.Engine.position` does.
        arrived: called with the group and the connection when it is to be a member.
    """

    def __init__(
        self,
        ask: Callable[[str, Position, int, Done[Recent]], None],
        place: Callable[[str, Done[Position]], None],
        arrived: Callable[[str, M], None],
    ) -> None:
        self._ask = ask
        self._place = place
        self._arrived = arrived
        self._held: dict[str, dict[int, _Latecomer[M]]] = {}

    def __contains__(self, group: str) -> bool:
        return group in self._held

    def has(self, group: str, conn: int) -> bool:
        """Whether a connection is on its way into a group."""
        return conn in self._held.get(group, {})

    def begin(
        self,
        group: str,
        member: M,
        since: Position | None,
        done: Joining | None,
        began: Joining | None,
        guess: bool,
    ) -> None:
        """Let a connection in behind what came since; arguments as of :meth:`.Groups.join`."""
        held = _Latecomer(member, since or Position(0, ""), done, began, guess)
        self._held.setdefault(group, {})[member.conn] = held
        if since is not None:
            self._catch_up(group, held)
            return

        # An engine may take a while to say where the group is, and what comes meanwhile is either
        # before that or after it.
        def placed(found: Position | Failure) -> None:
            recent = found if isinstance(found, Failure) else Recent([], found, True)
            self._go_on(group, held, recent)

        self._place(group, placed)

    def remove(self, group: str, conn: int) -> bool:
        """A connection has left. Returns whether it was on its way in."""
        held = self._held.get(group, {}).pop(conn, None)
        if held is None:
            return False
        held.over = True
        if not self._held[group]:
            del self._held[group]
        return True

    def hold(self, message: Shared, left_out: int) -> None:
        """Something is published: they get it when they have what came before.

        Args:
            left_out: number of the connection that does not; 0 for none.
        """
        if self._held:
            for held in self._held.get(message.group, {}).values():
                if held.member.conn != left_out:
                    held.hold(message)

    def _catch_up(self, group: str, held: _Latecomer[M]) -> None:
        self._ask(group, held.position, MAX_HELD, partial(self._go_on, group, held))

    def _go_on(self, group: str, held: _Latecomer[M], found: Recent | Failure) -> None:
        """Send what a connection has missed, and go on where that ends."""
        if held.over:
            return
        if isinstance(found, Failure):
            held.complete = False
            if held.began is not None:
                held.began(Position(0, ""), False)
            self._begin(group, held, None)
            return
        epoch = found.position.epoch
        if held.guess and held.position.epoch == epoch:
            held.guess = False
            if held.position.offset > found.position.offset:
                found = Recent([], found.position, True)
        held.complete = held.complete and found.complete
        if held.began is not None and not (held.told and found.complete):
            first = found.publications[0].offset - 1 if found.publications else None
            offset = found.position.offset if first is None else first
            held.began(Position(offset, epoch), found.complete)
            held.told = True
        for each in found.publications:
            held.member.send_shared(shared(group, each, epoch, past=True))
        if found.publications:
            held.position = Position(found.publications[-1].offset, epoch)
        else:
            held.position = found.position
        if held.position.offset < found.position.offset or held.asked_again:
            held.asked_again = False
            self._catch_up(group, held)
        else:
            self._begin(group, held, found.position)

    def _begin(self, group: str, held: _Latecomer[M], position: Position | None) -> None:
        """From now on it gets what is published."""
        del self._held[group][held.member.conn]
        if not self._held[group]:
            del self._held[group]
        for message in held.waiting:
            if (
                position is None
                or message.epoch != position.epoch
                or (message.offset > position.offset or not message.offset)
            ):
                held.member.send_shared(message)
                if message.offset:
                    position = Position(message.offset, message.epoch)
        self._arrived(group, held.member)
        if held.done is not None:
            held.done(position or Position(0, ""), held.complete)
