"""Tells clients of django-ws.v1 what is handled, where nothing else has told them."""

from __future__ import annotations

import asyncio
from typing import Protocol

__all__ = ["Debtor", "Receipts"]

#: Seconds from an envelope until a client hears that it is handled.
SWEEP = 1.0


class Debtor(Protocol):
    """Whoever has something to acknowledge."""

    def settle(self) -> bool:
        """Say what is handled and was not said. True if nothing is left to be said."""


class Receipts:
    """One timer for all; it runs only while somebody owes something."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._debtors: dict[Debtor, None] = {}  # in order; bounded by the sessions there are
        self._timer: asyncio.TimerHandle | None = None

    def owe(self, debtor: Debtor) -> None:
        """Something came that is to be acknowledged."""
        self._debtors[debtor] = None
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP, self._sweep)

    def close(self) -> None:
        """Tell nobody any more."""
        self._debtors.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        debtors, self._debtors = self._debtors, {}
        for debtor in debtors:
            if not debtor.settle():
                self.owe(debtor)
