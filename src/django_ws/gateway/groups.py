"""Groups of connections, in this gateway's memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import NamedTuple, Protocol

from ..group_patterns import Lookup
from ..wire.messages import TEXT, Position, Present, Publication, Recent
from .catching_up import CatchingUp, Joining
from .deliveries import Deliveries
from .engine.base import Done, Engine, Failure
from .memberships import Memberships, added, removed
from .shared import Shared, shared

__all__ = ["Groups", "Joining", "Member"]


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
        self._late: CatchingUp[Member] = CatchingUp(self._history, self._position, self._caught_up)
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
        if group not in self._members and group not in self._late:
            self.engine.subscribe(group)
        new = not self._members.has(group, conn)
        if new and member.accepted and self._shows(group):
            self.engine.enter(group, self._present(member))
        if new and (since is not None or self.has_history(group)):
            member.groups = added(member.groups, group)
            self._late.begin(group, member, since, done, began, guess)
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
            there = self._members.has(group, member.conn) or self._late.has(group, member.conn)
            if there and self._shows(group):
                self.engine.enter(group, self._present(member))

    def _shows(self, group: str) -> bool:
        """Whether anybody is told who is in the group."""
        options = self._options(group)
        return options is not None and bool(options.presence or options.join_leave)

    def _remove(self, group: str, conn: int) -> None:
        late = self._late.remove(group, conn)
        if not self._members.remove(group, conn) and not late:
            return
        if self._shows(group):
            self.engine.leave(group, self.id_of(conn))
        if group not in self._members and group not in self._late:
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

    def _history(self, group: str, since: Position, limit: int, done: Done[Recent]) -> None:
        self.engine.history(group, since, limit, done)

    def _position(self, group: str, done: Done[Position]) -> None:
        self.engine.position(group, done)

    def _caught_up(self, group: str, member: Member) -> None:
        name = self._members.add(group, member)
        if name is not group:
            member.groups = added(removed(member.groups, group), name)

    # ------------------------------------------------------------------ publications

    def publish(self, group: str, publication: Publication, epoch: str, exclude: str) -> None:
        """See :class:`.engine.base.Listener`. Leaves with :meth:`.Deliveries.deliver`."""
        if group not in self._members and group not in self._late:
            return
        message = shared(group, publication, epoch)
        left_out = self.conn_of(exclude) if exclude else 0
        members = self._members.of(group)
        chosen = [each for each in members if each.conn != left_out] if exclude else list(members)
        if chosen:
            self.deliveries.add(message, chosen)
        self._late.hold(message, left_out)

    def missed(self, group: str, position: Position) -> None:
        """See :class:`.engine.base.Listener`. Who is to hear first what came before finds out."""
        told = [_Missed(member, group, position) for member in self.members(group).values()]
        self.deliveries.add(Shared(group, TEXT, b""), told)


def _joined(done: Joining, complete: bool, position: Position | Failure) -> None:
    if isinstance(position, Failure):
        done(Position(0, ""), False)
    else:
        done(position, complete)
