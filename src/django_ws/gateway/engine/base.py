"""What a gateway needs of an engine, and an engine of its gateway.

An engine may be this gateway's memory, or a server that several gateways share. So every operation
answers by a callback: maybe before the call returns, maybe much later, always exactly once and on
the event loop. Operations of one group take effect in the order of the calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from ...wire.messages import Expel, Position, Present, Publication, Publish, Recent, Recheck

__all__ = ["JOIN", "LEAVE", "MAX_RECENT", "Done", "Engine", "Failure", "Listener"]

T = TypeVar("T")

#: Events of the publications that say who has joined and left.
JOIN = "join"
LEAVE = "leave"

#: Bytes of publications in one answer; the asker goes on from the last one.
MAX_RECENT = 4 * 1024 * 1024


class Failure(NamedTuple):
    """An operation that did not succeed; becomes :class:`~django_ws.wire.messages.Failed`.

    Attributes:
        code: one word for programs.
        words: for people.
    """

    code: str
    words: str


#: Takes an operation's outcome.
Done = Callable[[T | Failure], None]


class Listener(Protocol):
    """Where an engine delivers, on the event loop."""

    def published(self, group: str, publication: Publication, epoch: str, exclude: str) -> None:
        """A publication in a group that is subscribed to; those of one group come in order.

        Args:
            epoch: of its offset.
            exclude: id of the connection that does not get it; empty for none.
        """

    def missed(self, group: str, position: Position) -> None:
        """Publications in a group may be missing here, and cannot be had any more.

        Args:
            position: after which the next ones follow.
        """

    def spread(self, message: Publish | Expel | Recheck) -> int:
        """What concerns connections wherever they are; returns to how many here it applied."""

    def missed_spreads(self) -> None:
        """Some of that is missing here, and cannot be had any more."""


class Engine(Protocol):
    """Publications, histories and presence of all groups.

    Which groups have a history, how long, and whether presence is kept, say the patterns that an
    engine is made with. In groups without history offsets are 0.

    Offsets of a group rise by one with each publication, under one epoch. The epoch changes when
    the memory is lost, never otherwise: a group that was forgotten because it was quiet goes on
    beyond every offset it ever had. A position that was told stays exact for ``history_ttl``;
    whether something was missed since an older one may be unknown, and then counts as missed.
    """

    def publish(
        self,
        group: str,
        opcode: int,
        data: bytes,
        *,
        event: str = "",
        json: bool = False,
        exclude: str = "",
        done: Done[Position] | None = None,
    ) -> None:
        """One publication: a single operation, however many members the group has.

        Args:
            opcode, data, event, json: as in :class:`~django_ws.wire.messages.Publish`.
            exclude: see :meth:`Listener.published`.
            done: gets the publication's position, after it has a place in the history.
        """

    def subscribe(self, group: str) -> None:
        """This gateway has members in ``group`` now: deliver its publications."""

    def unsubscribe(self, group: str) -> None:
        """The last member here has left."""

    def position(self, group: str, done: Done[Position]) -> None:
        """How far a group has come."""

    def history(self, group: str, since: Position | None, limit: int, done: Done[Recent]) -> None:
        """The first publications after ``since``, or the newest ones without it.

        Args:
            limit: how many at most; there may be fewer, see :data:`MAX_RECENT`.
        """

    def enter(self, group: str, member: Present) -> None:
        """A connection is present in ``group``; once more with another ``info`` to change that.

        If the group's pattern says so, the others hear :data:`JOIN`.
        """

    def leave(self, group: str, id: str) -> None:
        """A connection is present no more; the others hear :data:`LEAVE` as they heard of it."""

    def presence(self, group: str, done: Done[list[Present]]) -> None:
        """Who is in a group, in the order in which they came."""

    def spread(self, message: Publish | Expel | Recheck, done: Done[int] | None = None) -> None:
        """Hand something to every gateway; answered by the number of connections it applied to."""

    def use_ticket(self, nonce: str, expires: float, done: Done[bool]) -> None:
        """Use a ticket; answered by False if it was used before or is not good (any more).

        Args:
            expires: seconds since the epoch.
        """

    @property
    def away(self) -> float:
        """Seconds for which it has not been there; 0 if it is, infinite if it never was."""

    def expire(self) -> None:
        """Free what is too old. To be called about once a second."""

    async def drain(self, seconds: float) -> None:
        """Wait until what was said has arrived, so that others know who has left."""

    def close(self) -> None:
        """The gateway ends. Nothing is answered any more."""
