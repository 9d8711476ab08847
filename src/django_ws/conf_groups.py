"""What is suspicious about the patterns of ``DJANGO_WS["GROUPS"]``."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator

from .conf_problems import Problem

__all__ = ["problems"]

#: What is no syntax of fnmatch, so that it stands for itself: ``<slug:room>``, ``{room}``, ``\d``,
#: ``^`` at the beginning, ``$`` at the end.
_OTHER_SYNTAX = re.compile(r"<\w+(?::\w+)?>|\{\w*\}|\\[dDwWsS]|^\^|\$$|\(\?")

#: A wildcard of fnmatch: one character of some, any one, any number.
_WILDCARD = re.compile(r"\[(!?)([^]]+)\]|\?|\*")

#: What samples have in place of ``*``.
_FILLINGS = ("", "7", "some-Name_0.1/é")


def problems(patterns: Iterable[str]) -> Iterator[Problem]:
    """Patterns that will not match what was meant."""
    earlier: list[str] = []
    for pattern in patterns:
        if (other := _OTHER_SYNTAX.search(pattern)) is not None:
            yield Problem(
                "W014",
                f'DJANGO_WS["GROUPS"]: {other[0]!r} in {pattern!r} stands only for itself.',
                "Patterns are those of fnmatch: * for any text, ? for a character, [a-f] for one "
                "of some.",
            )
        samples = [each for each in _samples(pattern) if fnmatch.fnmatchcase(each, pattern)]
        for before in earlier:
            if samples and all(fnmatch.fnmatchcase(each, before) for each in samples):
                yield Problem(
                    "W013",
                    f'DJANGO_WS["GROUPS"]: {before!r} takes the groups of {pattern!r}.',
                    f"The first that matches counts: move {pattern!r} before {before!r}.",
                )
                break
        earlier.append(pattern)


def _samples(pattern: str) -> Iterator[str]:
    """Names that a pattern matches, but for rare ones."""
    for filling in _FILLINGS:

        def filled(wildcard: re.Match[str], filling: str = filling) -> str:
            if wildcard[0] == "*":
                return filling
            if wildcard[0] == "?":
                return "x"
            return "~" if wildcard[1] else wildcard[2][0]

        yield _WILDCARD.sub(filled, pattern)
