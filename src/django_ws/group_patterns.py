"""Which options a group has: ``DJANGO_WS["GROUPS"]``, first match wins."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Mapping

from .options import GroupConfig

__all__ = ["Lookup", "lookup"]

#: Finds the options of a group; ``None`` if no pattern names it.
Lookup = Callable[[str], GroupConfig | None]

#: Groups whose options are remembered; the one that was asked for the longest ago is dropped.
REMEMBERED = 8192


def lookup(patterns: Mapping[str, GroupConfig]) -> Lookup:
    """Compile patterns, which are those of :func:`fnmatch.fnmatchcase`."""
    compiled = [
        (re.compile(fnmatch.translate(pattern)), options) for pattern, options in patterns.items()
    ]
    if not compiled:
        return lambda group: None

    @functools.lru_cache(maxsize=REMEMBERED)
    def find(group: str) -> GroupConfig | None:
        for expression, options in compiled:
            if expression.match(group):
                return options
        return None

    return find
