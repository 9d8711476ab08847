"""What is wrong with the settings, in words for people."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Problem", "nearest"]


@dataclass(frozen=True)
class Problem:
    """Something wrong with the settings or with a handler.

    Attributes:
        id: of the system check, like ``"E001"``; those with ``W`` keep nothing from starting.
    """

    id: str
    message: str
    hint: str

    @property
    def fatal(self) -> bool:
        """Whether nothing can start like this."""
        return self.id.startswith("E")


def nearest(name: object, known: Iterable[str]) -> str:
    """What somebody meant who wrote ``name``, as a sentence."""
    by_fold = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(str(name).casefold(), by_fold, n=1)
    if close:
        return f"Did you mean {by_fold[close[0]]!r}?"
    return f"Known: {', '.join(sorted(by_fold.values()))}."
