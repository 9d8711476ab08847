"""Groups of connections, in this gateway's memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import NamedTuple, Protocol

from ..group_patterns import Lookup
from ..wire.messages import TEXT, Position, Present, Publication, Recent
from .deliveries import Deliveries
from .engine.base import Engine, Failure
from .memberships import Memberships, added, removed
from .shared import Shared

__all__ = ["Groups", "Joining", "Member"]

#: Called with how far a group had come when a connection became its member, and whether nothing is
#: missing since the position it came with.
Joining = Callable[[Position, bool], None]

#: Publications that wait for a connection that hears first what came before.
MAX_HELD = 1000


class Member(Protocol):
    """What a group needs of a connection.

    Attributes:
        groups: of which it is a member; ``None`` for none.
        user: primary key of its user; empty for nobody.
        info: JSON that presence shows of it; empty for none.
        accepted: whether ``on_connect`` has said yes; before, nobody is told of it.
    """

    groups: Collection[str] | None

    @property
    def user(self) -> str: ...
    @property
    def info(self) -> bytes: ...
    @property
    def conn(self) -> int: ...
    @property
    def accepted(self) -> bool: ...
    def send_shared(self, message: Shared) -> None: ...
    def missed(self, group: str, position: Position) -> None:
        """Publications before that position may be missing: let a client know that can."""


class _Missed(NamedTuple):
    """Lets a member know that something is missing, when its turn comes: not before what has been
    published before.
    """

    member: Member
    group: str
    position: Position

    def send_shared(self, message: Shared) -> None:
        self.member.missed(self.group, self.position)


class _Holding:
    """A connection that becomes a member once it has what came before.

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
        member: Member,
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


class Groups:
    """Who is in which group. An empty group does not exist.

    Args:
        incarnation: this gateway's, with which ids of its connections begin.
        options: finds what is kept of a group.
        clock: seconds since the epoch.

    Attributes:
        deliveries: what is on its way to members.
        engine: hears who is there, and knows what was published before; set before the first use.
    """

    engine: Engine

    def __init__(self, incarnation: str, options: Lookup, clock: Callable[[], float]) -> None:
        self._incarnation = incarnation
        self._options = options
        self._clock = clock
        self._members: Memberships[Member] = Memberships()
        self._holding: dict[str, dict[int, _Holding]] = {}
        self.deliveries = Deliveries()

    # ------------------------------------------------------------------ who is there

    def join(
        self,
        group: str,
        member: Member,
        since: Position | None = None,
        done: Joining | None = None,
        began: Joining | None = None,
        *,
        guess: bool = False,
    ) -> None:
        """Make a connection a member.

        Args:
            since: what was published after it comes first.
            done: called when it is a member, see :data:`Joining`.
            began: called with the position after which its messages follow, before the first; once
                more if something is missing between them.
            guess: ``since`` may be another group's, if it is beyond this one.
        """
        conn = member.conn
        if group not in self._members and group not in self._holding:
            self.engine.subscribe(group)
        new = not self._members.has(group, conn)
        if new and member.accepted and self._shows(group):
            self.engine.enter(group, self._present(member))
        if since is not None and new:
            member.groups = added(member.groups, group)
            held = _Holding(member, since, done, began, guess)
            self._holding.setdefault(group, {})[conn] = held
            self._catch_up(group, held)
            return
        member.groups = added(member.groups, self._members.add(group, member))
        for tell in (began, done):
            if tell is not None:
                self.engine.position(group, partial(_joined, tell, True))

    def leave(self, group: str, member: Member) -> None:
        """End a membership."""
        member.groups = removed(member.groups, group)
        self._remove(group, member.conn)

    def leave_all(self, member: Member) -> None:
        """The connection has ended. What it was a member of stays written there, for others to
        read."""
        for group in member.groups or ():
            self._remove(group, member.conn)

    def changed(self, member: Member) -> None:
        """What presence shows of a connection is another; or it is accepted, and shown at last."""
        if not member.accepted:
            return
        for group in member.groups or ():
            there = self._members.has(group, member.conn) or member.conn in self._held(group)
            if there and self._shows(group):
                self.engine.enter(group, self._present(member))

    def _shows(self, group: str) -> bool:
        """Whether anybody is told who is in the group."""
        options = self._options(group)
        return options is not None and bool(options.presence or options.join_leave)

    def _held(self, group: str) -> Mapping[int, _Holding]:
        return self._holding.get(group, {})

    def _remove(self, group: str, conn: int) -> None:
        held = self._holding.get(group, {}).pop(conn, None)
        if held is not None:
            held.over = True
            if not self._holding[group]:
                del self._holding[group]
        if not self._members.remove(group, conn) and held is None:
            return
        if self._shows(group):
            self.engine.leave(group, self.id_of(conn))
        if group not in self._members and group not in self._holding:
            self.engine.unsubscribe(group)

    def members(self, group: str) -> Mapping[int, Member]:
        """The connections in a group, by number."""
        return {member.conn: member for member in self._members.of(group)}

    def id_of(self, conn: int) -> str:
        """What a connection is called among all of the project's."""
        return f"{self._incarnation}-{conn}"

    def conn_of(self, id: str) -> int:
        """The number of a connection; 0 if it is none of this gateway."""
        gateway, _, number = id.rpartition("-")
        return int(number) if gateway == self._incarnation and number.isdecimal() else 0

    def _present(self, member: Member) -> Present:
        return Present(self.id_of(member.conn), member.user, self._clock(), member.info)

    def has_history(self, group: str) -> bool:
        """Whether publications of a group have offsets."""
        options = self._options(group)
        return options is not None and options.history_size > 0

    # ------------------------------------------------------------------ what came before

    def _catch_up(self, group: str, held: _Holding) -> None:
        self.engine.history(group, held.position, MAX_HELD, partial(self._caught_up, group, held))

    def _caught_up(self, group: str, held: _Holding, found: Recent | Failure) -> None:
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
            held.member.send_shared(_shared(group, each, epoch, past=True))
        if found.publications:
            held.position = Position(found.publications[-1].offset, epoch)
        else:
            held.position = found.position
        if held.position.offset < found.position.offset or held.asked_again:
            held.asked_again = False
            self._catch_up(group, held)
        else:
            self._begin(group, held, found.position)

    def _begin(self, group: str, held: _Holding, position: Position | None) -> None:
        """From now on it gets what is published."""
        del self._holding[group][held.member.conn]
        if not self._holding[group]:
            del self._holding[group]
        for message in held.waiting:
            if (
                position is None
                or message.epoch != position.epoch
                or (message.offset > position.offset or not message.offset)
            ):
                held.member.send_shared(message)
                if message.offset:
                    position = Position(message.offset, message.epoch)
        self._members.add(group, held.member)
        if held.done is not None:
            held.done(position or Position(0, ""), held.complete)

    # ------------------------------------------------------------------ publications

    def publish(self, group: str, publication: Publication, epoch: str, exclude: str) -> None:
        """See :class:`.engine.base.Listener`. Leaves with :meth:`.Deliveries.deliver`."""
        if group not in self._members and group not in self._holding:
            return
        message = _shared(group, publication, epoch)
        left_out = self.conn_of(exclude) if exclude else 0
        members = self._members.of(group)
        chosen = [each for each in members if each.conn != left_out] if exclude else list(members)
        if chosen:
            self.deliveries.add(message, chosen)
        if self._holding:
            for held in self._holding.get(group, {}).values():
                if held.member.conn != left_out:
                    held.hold(message)

    def missed(self, group: str, position: Position) -> None:
        """See :class:`.engine.base.Listener`. Who is to hear first what came before finds out."""
        told = [_Missed(member, group, position) for member in self.members(group).values()]
        self.deliveries.add(Shared(group, TEXT, b""), told)


def _shared(group: str, publication: Publication, epoch: str, past: bool = False) -> Shared:
    return Shared(
        group,
        publication.opcode,
        publication.data,
        publication.event,
        publication.json,
        publication.offset,
        epoch if publication.offset else "",
        past,
    )


def _joined(done: Joining, complete: bool, position: Position | Failure) -> None:
    if isinstance(position, Failure):
        done(Position(0, ""), False)
    else:
        done(position, complete)
