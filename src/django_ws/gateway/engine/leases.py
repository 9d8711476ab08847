"""Who is present here, which gateways live, and who has died.

A gateway holds a lease, which it renews every second. Whoever is present at one whose lease has
ended is present no more: readers see that at once, and another gateway tells the group.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from ...group_patterns import Lookup
from ...options import GroupConfig
from ...store.calls import Calls, Lease
from ...wire.messages import Present
from .base import Failure
from .heard import Ask

__all__ = ["Leases"]

#: Seconds after a loss of the connection until anybody counts as dead: all may have lost theirs for
#: longer than a lease, and are on their way back.
GRACE = 5.0

#: Changes of presence on their way at a time.
MAX_CHANGES = 5_000


class Leases:
    """See the module.

    Args:
        incarnation: this gateway's.
        options: finds whether presence is kept.
        groups: those that are subscribed to.
        now: loop time.
    """

    def __init__(
        self,
        incarnation: str,
        options: Lookup,
        calls: Calls,
        ask: Ask,
        groups: Callable[[], list[str]],
        now: Callable[[], float],
    ) -> None:
        self._incarnation = incarnation
        self._options = options
        self._calls = calls
        self._ask = ask
        self._groups = groups
        self._now = now
        self._present: dict[tuple[str, str], Present] = {}
        # What the server does not know yet, in order; bounded by who is or was present.
        self._changed: dict[tuple[str, str], None] = {}
        # What the server has refused: it is told again with the next lease.
        self._refused: dict[tuple[str, str], None] = {}
        self._under_way = 0
        self._live: frozenset[str] = frozenset()
        # The groups of a gateway that did not live when they were looked at.
        self._suspects: dict[str, set[str]] = {}
        # Groups to be rid of the members of a gateway that has died; bounded by those there are.
        self._reaping: dict[tuple[str, str], None] = {}
        self._held = False
        self._asking = False
        self._lost = float("-inf")  # when the connection was not there; loop time

    # ------------------------------------------------------------------ who is here

    def enter(self, group: str, member: Present) -> None:
        """See :meth:`.Engine.enter`."""
        if self._with_presence(group) is not None:
            known = self._present.get((group, member.id))
            if known is not None:
                member = msgspec.structs.replace(known, info=member.info)
            self._present[group, member.id] = member
            self._change(group, member.id)

    def leave(self, group: str, id: str) -> None:
        """See :meth:`.Engine.leave`."""
        if self._present.pop((group, id), None) is not None:
            self._change(group, id)

    def _with_presence(self, group: str) -> GroupConfig | None:
        options = self._options(group)
        return options if options is not None and (options.presence or options.join_leave) else None

    def _change(self, group: str, id: str) -> None:
        self._changed[group, id] = None
        if self._held:
            self._tell()

    def _tell(self) -> None:
        """Let the server know, in order; what it is told is how things are now."""
        while self._changed and self._held and self._under_way < MAX_CHANGES:
            group, id = key = next(iter(self._changed))
            del self._changed[key]
            options = self._with_presence(group)
            if options is not None:
                member = self._present.get(key)
                call = (
                    self._calls.leave(group, options, id)
                    if member is None
                    else self._calls.enter(group, options, member)
                )
                self._under_way += 1
                self._ask(call, partial(self._told, key))

    def _told(self, key: tuple[str, str], outcome: object) -> None:
        self._under_way -= 1
        if isinstance(outcome, Failure) and outcome.code == "engine_refused":
            self._refused[key] = None  # which is that group's matter
            self._tell()
        elif isinstance(outcome, Failure):
            self._changed[key] = None
            self._held = False  # until the next lease
        elif self._changed and self._held:
            self._tell()

    def tell_again(self, concerns: Callable[[str], bool]) -> None:
        """A server may have lost who is present in the groups that it concerns."""
        self._changed.update(dict.fromkeys(key for key in self._present if concerns(key[0])))

    # ------------------------------------------------------------------ who lives

    def lost(self) -> None:
        """The connection is gone."""
        self._held = self._asking = False
        self._lost = self._now()

    def renew(self) -> None:
        """To be called each second, and at once with a new connection."""
        if not self._asking:
            self._asking = self._held = True  # what is said from now on comes behind it
            self._ask(self._calls.lease(self._incarnation), self._renewed)

    def _renewed(self, outcome: Lease | Failure) -> None:
        self._asking = False
        if isinstance(outcome, Failure):
            return
        if not outcome.known:  # it had ended, or the server has lost its data
            self._changed.update(dict.fromkeys(self._present))
        self._changed.update(self._refused)
        self._refused.clear()
        died, self._live = self._live - outcome.live, outcome.live
        suspects, self._suspects = self._suspects, {}
        for incarnation in died:
            suspects[incarnation] = set(self._groups())
        early = self._now() - self._lost <= GRACE
        for incarnation, groups in suspects.items():
            if incarnation in outcome.live:
                continue
            if early:
                self._suspects[incarnation] = groups
            else:
                self._reaping.update(dict.fromkeys((incarnation, group) for group in groups))
        self._tell()
        self._reap()

    def _reap(self) -> None:
        """Let groups know who is not there any more, some at a time."""
        while self._reaping and self._held and self._under_way < MAX_CHANGES:
            incarnation, group = next(iter(self._reaping))
            del self._reaping[incarnation, group]
            options = self._with_presence(group)
            if options is not None:
                self._under_way += 1
                call = self._calls.reap(group, options, incarnation)
                self._ask(call, partial(self._reaped, (incarnation, group)))

    def _reaped(self, key: tuple[str, str], outcome: object) -> None:
        self._under_way -= 1
        if isinstance(outcome, Failure) and outcome.code != "engine_refused":
            self._reaping[key] = None
            self._held = False  # until the next lease
        else:
            self._reap()

    def look(self, group: str) -> None:
        """Nobody here was in this group: who died meanwhile may still be present there."""
        if self._with_presence(group) is not None:
            self._ask(self._calls.present(group), partial(self._looked, group))

    def _looked(self, group: str, found: list[Present] | Failure) -> None:
        if isinstance(found, Failure):
            return
        for each in found:
            incarnation = each.id.rpartition("-")[0]
            if incarnation not in self._live and incarnation != self._incarnation:
                self._suspects.setdefault(incarnation, set()).add(group)
