"""What this gateway has heard of the groups it is subscribed to: in order, and without holes.

A hole shows when a later publication comes, or when the connection is back. It is healed from the
history before anything later is delivered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from ...group_patterns import Lookup
from ...options import GroupConfig
from ...store.calls import SPREADS, Call, Calls, Found
from ...store.forms import Entry
from ...store.names import SPREAD
from ...wire.messages import Position
from ..counters import Counters
from .base import Failure

__all__ = ["PAGE_BYTES", "Ask", "Heard"]

#: Sends a command of a group's bucket.
Ask = Callable[[Call[Any], Callable[[Any], None]], None]

#: Publications that are kept while those before them are asked for. Policy: all are dropped, and
#: asked for, too.
MAX_HELD = 1000

#: Where groups without history are.
NOWHERE = Position(0, "")

#: Publications in one answer and their bytes, and groups that are asked about at a time.
PAGE = 1000
PAGE_BYTES = 1024 * 1024
MAX_HEALING = 100

#: How often a group is looked after whose history the server has and does not tell, since
#: somebody else has written there. Then members are told that they may have missed something.
MAX_TRIES = 50


class Ears(Protocol):
    """Where publications go."""

    def heard(self, group: str, entry: Entry) -> None:
        """One that is due."""

    def missed(self, group: str, position: Position) -> None:
        """See :class:`.base.Listener`."""


class _Group:
    """One with history.

    Attributes:
        offset, epoch, micros: of what was delivered last; no epoch: nothing is known yet. The time
            is 0 if only the position is known.
        held: what came meanwhile, while what is before it is asked for; else ``None``.
        overflowed: some of that was dropped.
        untold: a member does not know where the group was when it came, as the server was away.
        tries: how often it was looked after in vain, though the server was there.
        after: called once it is healed, or not to be healed now.
    """

    __slots__ = (
        "after",
        "epoch",
        "held",
        "micros",
        "offset",
        "options",
        "overflowed",
        "tries",
        "untold",
    )

    def __init__(self, options: GroupConfig) -> None:
        self.options = options
        self.offset = 0
        self.epoch = ""
        self.micros = 0
        self.held: list[Entry] | None = None
        self.overflowed = False
        self.untold = False
        self.tries = 0
        self.after: list[Callable[[bool], None]] = []  # bounded by the operations on their way

    def healed(self, well: bool) -> None:
        """Nothing is held any more."""
        self.held = None
        after, self.after = self.after, []
        for callback in after:
            callback(well)

    def note(self, entry: Entry) -> None:
        self.offset, self.epoch = entry.publication.offset, entry.epoch
        self.micros = entry.micros


class Heard:
    """See the module.

    Args:
        options: finds what is kept of a group.
        calls: makes commands.
        ask: sends them.
        ears: where publications go.
    """

    def __init__(
        self, options: Lookup, calls: Calls, ask: Ask, ears: Ears, counters: Counters
    ) -> None:
        self._options = options
        self._calls = calls
        self._ask = ask
        self._ears = ears
        self._counters = counters
        self._groups: dict[str, _Group | None] = {}  # those without history: None
        # Groups that must be kept from being forgotten, the one whose turn is next first.
        self._kept: OrderedDict[str, None] = OrderedDict()
        # Groups that wait to be looked after; bounded by those there are.
        self._ill: OrderedDict[str, None] = OrderedDict()
        self._healing = 0

    def __contains__(self, group: str) -> bool:
        return group in self._groups

    def all(self) -> list[str]:
        """The groups that are subscribed to."""
        return [group for group in self._groups if group != SPREAD]

    def add(self, group: str, options: GroupConfig | None) -> None:
        """It is subscribed to."""
        with_history = options is not None and options.history_size > 0
        self._groups[group] = _Group(options) if options is not None and with_history else None
        if options is not None:
            self._kept[group] = None

    def remove(self, group: str) -> None:
        """It is not any more."""
        state = self._groups.pop(group, None)
        self._kept.pop(group, None)
        self._ill.pop(group, None)
        if state is not None:
            state.healed(True)

    def told(self, group: str, position: Position) -> None:
        """How far a group has come. All up to there has been heard, as answers come in order."""
        state = self._groups.get(group)
        if state is not None and not state.epoch:
            state.offset, state.epoch = position.offset, position.epoch

    def untold(self, group: str) -> None:
        """Somebody here could not be told how far a group has come: that is made up for with the
        next connection, before which anything may be published."""
        state = self._groups.get(group)
        if state is not None and not state.epoch:
            state.untold = True

    def after(self, group: str, callback: Callable[[bool], None]) -> None:
        """Call once nothing earlier is still to be delivered; with False if that is not to be had
        now. A group that is just being healed would else repeat what a history has told."""
        state = self._groups.get(group)
        if state is None or (state.held is None and group not in self._ill):
            callback(True)
        elif state.held is None:
            callback(False)
        else:
            state.after.append(callback)

    # ------------------------------------------------------------------ publications

    def take(self, group: str, entry: Entry) -> None:
        """A publication came."""
        if group not in self._groups:
            return
        state = self._groups[group]
        offset = entry.publication.offset
        if state is None or not offset:
            self._ears.heard(group, entry)
        elif state.held is not None:
            self._hold(state, entry)
        elif not state.epoch or (offset == state.offset + 1 and entry.epoch == state.epoch):
            state.note(entry)
            self._ears.heard(group, entry)
        elif entry.epoch != state.epoch or offset > state.offset:
            state.held = [entry]
            self._read_on(group, state)

    def overflow(self, group: str) -> None:
        """A publication had to be dropped here."""
        state = self._groups.get(group)
        if state is None:
            self._ears.missed(group, NOWHERE)
        elif state.epoch and state.held is None:
            self._ill[group] = None

    def _hold(self, state: _Group, entry: Entry) -> None:
        assert state.held is not None
        if len(state.held) >= MAX_HELD:
            state.held.clear()
            state.overflowed = True
        state.held.append(entry)

    # ------------------------------------------------------------------ holes

    def reconnected(self, concerns: Callable[[str], bool]) -> None:
        """Anything may have happened meanwhile in the groups that it concerns."""
        for group in self._groups:
            if concerns(group):
                self._ill[group] = None
        self.heal()

    def heal(self) -> None:
        """Look after groups, some at a time. To be called now and then."""
        looked = 0
        while self._ill and self._healing < MAX_HEALING and looked < PAGE:
            looked += 1
            group, _ = self._ill.popitem(last=False)
            state = self._groups.get(group)
            if state is None:
                self._ears.missed(group, NOWHERE)
            elif state.untold and state.held is None:
                self._healing += 1
                call = self._calls.position(group, state.options)
                self._ask(call, partial(self._placed, group, state))
            elif state.epoch and state.held is None:
                state.held = []
                # What was heard may be what a server that took over has never had.
                renew = self._calls.renew(group, state.epoch, state.offset, state.micros)
                self._healing += 1
                self._ask(renew, partial(self._renewed, group, state))

    @property
    def ill(self) -> int:
        """Groups that wait to be looked after."""
        return len(self._ill)

    def _placed(self, group: str, state: _Group, outcome: Position | Failure) -> None:
        self._healing -= 1
        if isinstance(outcome, Failure):
            self._fell_ill(group, state, outcome)
        elif self._groups.get(group) is state:
            state.untold = False
            self.told(group, outcome)  # unless it was heard from meanwhile
            self._ears.missed(group, Position(state.offset, state.epoch))

    def _renewed(self, group: str, state: _Group, outcome: bool | Failure) -> None:
        self._healing -= 1
        if isinstance(outcome, Failure):
            self._fell_ill(group, state, outcome)
        elif self._groups.get(group) is state:
            if outcome:
                self._counters["engine_lost_data"] += 1
            self._read_on(group, state)

    def _read_on(self, group: str, state: _Group) -> None:
        since = Position(state.offset, state.epoch)
        self._healing += 1
        call = self._calls.history(group, state.options, since, PAGE, PAGE_BYTES)
        self._ask(call, partial(self._found, group, state))

    def _found(self, group: str, state: _Group, found: Found | Failure) -> None:
        self._healing -= 1
        if isinstance(found, Failure):
            self._fell_ill(group, state, found)
            return
        if self._groups.get(group) is not state or state.held is None:
            return
        position = found.position
        same = position.epoch == state.epoch
        entries = found.entries
        if not same:  # offsets do not compare, but times do
            entries = [each for each in entries if state.micros and each.micros > state.micros]
        end = entries[-1].publication.offset if entries else position.offset
        if end >= position.offset:  # the last page: what came meanwhile belongs to it
            held = [each for each in state.held if each.epoch == position.epoch]
            known = {each.publication.offset for each in entries}
            entries = entries + [each for each in held if each.publication.offset not in known]
            entries.sort(key=lambda each: each.publication.offset)
        due = [e for e in entries if not same or e.publication.offset > state.offset]
        if not found.complete:
            self._counters["engine_gaps"] += 1
            before = due[0].publication.offset - 1 if due else position.offset
            self._ears.missed(group, Position(before, position.epoch))
        for entry in due:
            same = True
            state.note(entry)
            self._counters["engine_healed"] += 1
            self._ears.heard(group, entry)
        if end < position.offset or state.overflowed:
            state.overflowed = False
            self._read_on(group, state)
            return
        state.tries = 0
        if not same or position.offset > state.offset:
            state.offset, state.epoch, state.micros = position.offset, position.epoch, 0
        state.healed(True)

    def _fell_ill(self, group: str, state: _Group, failure: Failure) -> None:
        """It cannot be looked after now."""
        if self._groups.get(group) is not state:
            return
        state.tries += failure.code in ("engine_refused", "engine_garbled")
        if state.tries < MAX_TRIES:
            self._ill[group] = None
            state.healed(False)
            return
        held = state.held or []
        state.offset = state.micros = state.tries = 0
        state.epoch, state.overflowed, state.untold = "", False, False
        self._ears.missed(group, NOWHERE)
        state.healed(True)
        for entry in held:
            self.take(group, entry)

    # ------------------------------------------------------------------ being kept

    def keep(self, part: float) -> None:
        """Keep a part of the groups from being forgotten.

        Args:
            part: of all, from 0 to 1; those whose turn was the longest ago come first.
        """
        for _ in range(min(len(self._kept), 1 + int(len(self._kept) * part))):
            group = next(iter(self._kept))
            self._kept.move_to_end(group)
            options = SPREADS if group == SPREAD else self._options(group)
            if options is not None:
                for call in self._calls.keep(group, options):
                    self._ask(call, _ignore)


def _ignore(outcome: object) -> None:
    """It comes again."""
