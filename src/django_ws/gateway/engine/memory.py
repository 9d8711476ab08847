"""The engine of a single gateway: everything lives in its memory."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ...group_patterns import Lookup
from ...options import GroupConfig
from ...wire.messages import TEXT, Expel, Position, Present, Publication, Publish, Recent, Recheck
from ..tickets import UsedTickets
from .base import JOIN, LEAVE, Done, Listener
from .histories import Histories
from .roster import Roster

__all__ = ["Memory"]

#: Bytes of all histories together. Policy: the group that was quiet for the longest loses its own.
MAX_BYTES = 256 * 1024 * 1024


class _Who(msgspec.Struct):
    """The data of a publication about who has joined or left."""

    id: str
    user: str
    info: msgspec.Raw


class Memory:
    """An :class:`.Engine`; all its answers come before the call returns.

    Args:
        options: finds what is kept of a group.
        listener: where publications go.
        clock: seconds since the epoch, never going back.
        epoch: never used twice.
        max_bytes: of all histories together.
    """

    def __init__(
        self,
        options: Lookup,
        listener: Listener,
        *,
        clock: Callable[[], float],
        epoch: str,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._options = options
        self._listener = listener
        self._clock = clock
        self._histories = Histories(epoch, max_bytes)
        self._roster = Roster()
        self._tickets = UsedTickets(clock)
        # Where there is no history there is nothing to count.
        self._nowhere = Position(0, epoch)

    # ------------------------------------------------------------------ publications

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
        publication = Publication(0, opcode, data, event, json, self._clock())
        options = self._with_history(group)
        if options is not None:
            publication = self._histories.append(group, options, publication)
        self._listener.published(group, publication, self._nowhere.epoch, exclude)
        if done is not None:
            done(Position(publication.offset, self._nowhere.epoch))

    def subscribe(self, group: str) -> None:
        if self._with_history(group) is not None:
            self._histories.pin(group)

    def unsubscribe(self, group: str) -> None:
        if self._with_history(group) is not None:
            self._histories.unpin(group)

    def position(self, group: str, done: Done[Position]) -> None:
        options = self._with_history(group)
        if options is None:
            done(self._nowhere)
        else:
            done(self._histories.position(group, options, self._clock()))

    def history(self, group: str, since: Position | None, limit: int, done: Done[Recent]) -> None:
        options = self._with_history(group)
        if options is None:
            done(Recent([], self._nowhere, False))
        else:
            done(self._histories.recent(group, options, since, limit, self._clock()))

    def _with_history(self, group: str) -> GroupConfig | None:
        options = self._options(group)
        return options if options is not None and options.history_size else None

    # ------------------------------------------------------------------ presence

    def enter(self, group: str, member: Present) -> None:
        options = self._with_presence(group)
        if options is not None:
            new, first = self._roster.enter(group, member)
            if new and (first or options.join_leave != "user"):
                self._tell(options, group, JOIN, member)

    def leave(self, group: str, id: str) -> None:
        options = self._with_presence(group)
        if options is not None:
            member, last = self._roster.leave(group, id)
            if member is not None and (last or options.join_leave != "user"):
                self._tell(options, group, LEAVE, member)

    def presence(self, group: str, done: Done[list[Present]]) -> None:
        done(self._roster.present(group))

    def _with_presence(self, group: str) -> GroupConfig | None:
        options = self._options(group)
        return options if options is not None and (options.presence or options.join_leave) else None

    def _tell(self, options: GroupConfig, group: str, event: str, member: Present) -> None:
        """Publish who came or went. It has no offset: who comes back asks who is there."""
        if options.join_leave:
            who = _Who(member.id, member.user, msgspec.Raw(member.info or b"null"))
            data = msgspec.json.encode(who)
            publication = Publication(0, TEXT, data, event, True, self._clock())
            self._listener.published(group, publication, self._nowhere.epoch, member.id)

    # ------------------------------------------------------------------ everything else

    def spread(self, message: Publish | Expel | Recheck, done: Done[int] | None = None) -> None:
        number = self._listener.spread(message)
        if done is not None:
            done(number)

    def use_ticket(self, nonce: str, expires: float, done: Done[bool]) -> None:
        done(self._tickets.use(nonce, expires))

    @property
    def away(self) -> float:
        return 0.0

    def expire(self) -> None:
        self._histories.expire(self._clock())

    async def drain(self, seconds: float) -> None:
        """Nothing is on its way."""

    def close(self) -> None:
        """Nothing is left to answer."""
