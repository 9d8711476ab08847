"""Notices that workers have other settings than this gateway was started with."""

from __future__ import annotations

import logging
from collections.abc import Mapping

__all__ = ["Drift"]

logger = logging.getLogger("django_ws.gateway.workers")


class Drift:
    """Compares digests of settings, and says once what is new.

    Args:
        fingerprints: this gateway's digests; none if it does not know its settings.
        started: when they were read, in seconds since the epoch.
    """

    def __init__(self, fingerprints: Mapping[str, str], started: float) -> None:
        self._ours = fingerprints
        self._started = started
        self._compared: Mapping[str, str] = {}  # the last that were said to be other settings

    def compare(self, theirs: Mapping[str, str], started: float) -> None:
        """Look at a worker's; those of one that started before this gateway are no news."""
        ours = self._ours
        if not ours or not theirs or started < self._started:
            return
        outdated = sorted(
            name
            for name in {*ours, *theirs}
            # Empty: a flag decides.
            if ours.get(name) != theirs.get(name) and "" not in (ours.get(name), theirs.get(name))
        )
        if outdated and theirs != self._compared:
            self._compared = theirs
            logger.warning(
                "%s changed since this gateway was started: restart run_wsserver (or "
                "run_wsgateway) for it to take effect",
                ", ".join(outdated),
            )
