"""Publications that are kept, by group: offsets, and bounds by number, age and bytes."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import islice

from ...options import GroupConfig
from ...wire.messages import Position, Publication, Recent
from .base import MAX_RECENT

__all__ = ["Histories"]

#: Bytes to count for a publication besides its payload, and for a group.
OVERHEAD = 256

#: Groups worked off at a time when they are too old.
EXPIRED_A_TURN = 5000


class _History:
    """One group's. It may be empty: then it only holds the group's offset.

    Attributes:
        start: the offset at which it began; nothing is known of those before.
        offset: of the last publication.
        kept: the newest ones, without a gap.
        touched: when something was published, or its position was told, for the last time.
        pinned: the group has members.
    """

    __slots__ = ("kept", "offset", "options", "pinned", "size", "start", "touched")

    def __init__(self, start: int, options: GroupConfig, pinned: bool) -> None:
        self.start = self.offset = start
        self.options = options
        self.kept: deque[Publication] = deque()
        self.size = OVERHEAD
        self.touched = 0.0
        self.pinned = pinned


class Histories:
    """All groups' histories.

    A group without publications, members and recently told positions does not exist. All that
    remains of it is ``_beyond``, the highest offset of any group that was forgotten: a group that
    comes (back) goes on from there, so that no offset is ever used twice under one epoch.

    Args:
        epoch: names this memory.
        max_bytes: of all publications; beyond it the group that was quiet for the longest loses its
            history.

    Attributes:
        evicted: how often that has happened.
    """

    def __init__(self, epoch: str, max_bytes: int) -> None:
        self._epoch = epoch
        self._max_bytes = max_bytes
        self._groups: dict[str, _History] = {}
        # By the time to keep, the groups in the order in which they were touched.
        self._aging: dict[float, OrderedDict[str, _History]] = {}
        self._pinned: set[str] = set()  # members, but no history yet
        self._beyond = 0
        self._bytes = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._groups)

    def append(self, group: str, options: GroupConfig, draft: Publication) -> Publication:
        """Keep a publication.

        Args:
            draft: with its time, and without offset.

        Returns:
            The publication with its offset.
        """
        history = self._touch(group, options, draft.time)
        history.offset += 1
        publication = Publication(
            history.offset, draft.opcode, draft.data, draft.event, draft.json, draft.time
        )
        history.kept.append(publication)
        self._grow(history, OVERHEAD + len(publication.data))
        self._trim(history, draft.time)
        if self._bytes > self._max_bytes:
            self._evict()
        return publication

    def position(self, group: str, options: GroupConfig, now: float) -> Position:
        """How far a group has come. From now on its offset is kept for ``history_ttl``."""
        offset = self._touch(group, options, now).offset
        if self._bytes > self._max_bytes:
            self._evict()
        return Position(offset, self._epoch)

    def recent(
        self, group: str, options: GroupConfig, since: Position | None, limit: int, now: float
    ) -> Recent:
        """See :meth:`.Engine.history`."""
        position = self.position(group, options, now)
        history = self._groups.get(group)
        if history is None:  # there is no room even for its offset
            return Recent([], position, since == position)
        self._trim(history, now)
        kept = history.kept
        if since is None or since.epoch != self._epoch or not 0 <= since.offset <= history.offset:
            return Recent(_newest(kept, limit), position, False)
        first = history.offset - len(kept)  # the offset before those that are kept
        complete = since.offset >= first and since.offset >= history.start
        skip = max(0, since.offset - first)
        return Recent(_first(islice(kept, skip, None), limit), position, complete)

    def pin(self, group: str) -> None:
        """The group has members: they hear each offset, so it must not be forgotten."""
        self._pinned.add(group)
        if group in self._groups:
            self._groups[group].pinned = True

    def unpin(self, group: str) -> None:
        """The group has no members any more."""
        self._pinned.discard(group)
        history = self._groups.get(group)
        if history is not None:
            history.pinned = False
            if group not in self._aging[history.options.history_ttl]:
                self._forget(group, history)

    def expire(self, now: float) -> None:
        """Free what is too old, a bounded part of it at a time."""
        left = EXPIRED_A_TURN
        for ttl, groups in self._aging.items():
            while ttl and groups and left:
                group, history = next(iter(groups.items()))
                if history.touched + ttl > now:
                    break
                left -= 1
                del groups[group]
                self._empty(group, history)

    # ------------------------------------------------------------------ one history

    def _touch(self, group: str, options: GroupConfig, now: float) -> _History:
        aging = self._aging.get(options.history_ttl)
        if aging is None:
            aging = self._aging[options.history_ttl] = OrderedDict()
        history = self._groups.get(group)
        if history is None:
            history = _History(self._beyond, options, group in self._pinned)
            self._groups[group] = history
            self._bytes += OVERHEAD
        aging[group] = history
        aging.move_to_end(group)
        history.touched = now
        return history

    def _grow(self, history: _History, size: int) -> None:
        history.size += size
        self._bytes += size

    def _trim(self, history: _History, now: float) -> None:
        kept, options = history.kept, history.options
        while len(kept) > options.history_size:
            self._grow(history, -OVERHEAD - len(kept.popleft().data))
        oldest = now - options.history_ttl if options.history_ttl else float("-inf")
        while kept and kept[0].time <= oldest:
            self._grow(history, -OVERHEAD - len(kept.popleft().data))

    def _empty(self, group: str, history: _History) -> None:
        """Drop what is kept; with members the offset stays."""
        if not history.pinned:
            self._forget(group, history)
        elif history.kept:
            history.kept.clear()
            self._grow(history, OVERHEAD - history.size)

    def _forget(self, group: str, history: _History) -> None:
        del self._groups[group]
        self._bytes -= history.size
        self._beyond = max(self._beyond, history.offset)

    def _evict(self) -> None:
        """Make room; what members need in order to hear each offset stays."""
        while self._bytes > self._max_bytes:
            fronts = (next(iter(groups.items())) for groups in self._aging.values() if groups)
            group, history = min(fronts, key=lambda front: front[1].touched, default=("", None))
            if history is None:
                return
            del self._aging[history.options.history_ttl][group]
            self._empty(group, history)
            self.evicted += 1


def _newest(kept: deque[Publication], limit: int) -> list[Publication]:
    newest = _first(reversed(kept), limit)
    newest.reverse()
    return newest


def _first(publications: Iterator[Publication], limit: int) -> list[Publication]:
    """As many as an answer may have, at least one."""
    found: list[Publication] = []
    size = 0
    for publication in islice(publications, max(0, limit)):
        size += len(publication.data)
        if found and size > MAX_RECENT:
            break
        found.append(publication)
    return found
