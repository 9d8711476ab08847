"""How an engine does, and what its troubles have cost: counted, and said now and then."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..counters import Counters
from .base import Failure

__all__ = ["Health"]

logger = logging.getLogger("django_ws.gateway.engine")

#: Seconds between lines in the log about losses, and about ever other reasons to be away.
QUIET = 1.0
QUIET_AWAY = 10.0


class Health:
    """See the module.

    Args:
        name: of the engine, for people.
        clock: loop time.
    """

    def __init__(self, name: str, clock: Callable[[], float], counters: Counters) -> None:
        self._name = name
        self._clock = clock
        self._counters = counters
        self._away_since: float | None = float("-inf")
        self._trouble = ""
        self._troubled = float("-inf")  # when that was said
        self._said = float("-inf")
        # Since the last line in the log: publications, and groups of which some may be missing.
        self._lost = 0
        self._why = ""  # the last one of these
        self._missed = 0

    @property
    def away(self) -> float:
        """See :attr:`.base.Engine.away`."""
        # Also in the turn of the loop in which it went: its clock stands still there.
        return 0.0 if self._away_since is None else max(1e-6, self._clock() - self._away_since)

    def up(self) -> None:
        """It is there."""
        if self._trouble:
            logger.warning("the engine at %s is back", self._name)
        self._away_since = None
        self._trouble = ""

    def down(self, reason: str) -> None:
        """It is not; called for each attempt to reach it."""
        now = self._clock()
        if self._away_since is None:
            self._away_since = now
            self._counters["engine_away"] += 1
        if not self._trouble or (reason != self._trouble and now - self._troubled > QUIET_AWAY):
            self._trouble, self._troubled = reason, now
            logger.error("the engine at %s is away: %s", self._name, reason)

    def lost(self, failure: Failure, *, told: bool) -> None:
        """A publication was not taken.

        Args:
            told: whoever published it knows.
        """
        self._counters["engine_lost"] += 1
        if told:
            return
        self._lost += 1
        self._why = failure.words
        self.report()

    def missed(self) -> None:
        """Publications of a group may be missing here."""
        self._counters["engine_missed"] += 1
        self._missed += 1

    def report(self) -> None:
        """Say what was lost and missed; to be called each second."""
        now = self._clock()
        if now - self._said < QUIET:
            return
        if self._lost:
            self._said = now
            logger.error("%d publication(s) lost: %s", self._lost, self._why)
            self._lost = 0
        if self._missed:
            self._said = now
            logger.warning("publications of %d group(s) may be missing here", self._missed)
            self._missed = 0
