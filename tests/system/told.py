"""What members of django-ws.v1 hear of a group, and the oracle over it: whatever breaks, each hears
every publication once and in order, or is told that something is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Event", "Verdict", "judge_told"]


class Event(NamedTuple):
    """One envelope about the group.

    Attributes:
        text: what was published; ``None`` for a ``j``.
        recovered: of a ``j``.
    """

    offset: int
    epoch: str
    text: str | None
    recovered: bool = True


@dataclass
class Verdict:
    """What the oracle counted.

    Attributes:
        heard: publications, by all members.
        told: how often a member heard ``recovered: false``.
        silent: publications were left out, and nobody said so.
        repeated: heard again.
        misplaced: another publication at an offset than was confirmed, or than another one heard.
        twice: published at two places, though it was published once.
        late: members that were not where the last one was in the end.
    """

    heard: int = 0
    told: int = 0
    silent: int = 0
    repeated: int = 0
    misplaced: int = 0
    twice: int = 0
    late: int = 0
    details: list[str] = field(default_factory=list)

    def wrong(self) -> list[str]:
        """Which promises were broken."""
        zero = ("silent", "repeated", "misplaced", "twice", "late")
        broken = [f"{name}={getattr(self, name)}" for name in zero if getattr(self, name)]
        return broken + self.details if broken else []

    def note(self, text: str) -> None:
        """Keep a few examples."""
        if len(self.details) < 10:
            self.details.append(text)


def judge_told(
    members: Mapping[str, Sequence[Event]],
    confirmed: Mapping[tuple[str, int], str],
    end: tuple[str, int],
) -> Verdict:
    """Compare what members heard with what was confirmed; all is quiet by now.

    Args:
        members: by name, what each heard.
        confirmed: by epoch and offset, what was published.
        end: epoch and offset of the last publication.
    """
    verdict = Verdict()
    known = dict(confirmed)
    for who, events in members.items():
        last = _follow(verdict, who, events, known)
        if last != end:
            verdict.late += 1
            verdict.note(f"{who}: ends at {last}, not at {end}")
    places: dict[str, tuple[str, int]] = {}
    for place, text in known.items():
        if places.setdefault(text, place) != place:
            verdict.twice += 1
            verdict.note(f"{text}: at {places[text]} and at {place}")
    return verdict


def _follow(
    verdict: Verdict, who: str, events: Sequence[Event], known: dict[tuple[str, int], str]
) -> tuple[str, int] | None:
    """Go through what a member heard; returns where it is in the end."""
    at: tuple[str, int] | None = None  # nowhere: the next one may be any
    for event in events:
        place = (event.epoch, event.offset)
        if event.text is None:
            if not event.recovered:
                verdict.told += 1
            elif at is not None and place != at:
                verdict.silent += 1
                verdict.note(f"{who}: recovered at {place}, but was at {at}")
            at = place if event.epoch else None
            continue
        verdict.heard += 1
        if at is not None and event.epoch == at[0] and event.offset <= at[1]:
            verdict.repeated += 1
            verdict.note(f"{who}: {event.text} at {place}, but was at {at}")
        elif at is not None and place != (at[0], at[1] + 1):
            verdict.silent += 1
            verdict.note(f"{who}: {event.text} at {place}, after {at}")
        expected = known.setdefault(place, event.text)
        if event.text != expected:
            verdict.misplaced += 1
            verdict.note(f"{who}: {event.text} at {place}, not {expected}")
        at = place
    return at
