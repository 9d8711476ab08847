"""The oracle of the fault harness: accounts for every message by what both sides noted."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

from .load import Session, soon
from .server import Project

__all__ = ["GroupVerdict", "Verdict", "all_closed", "judge", "judge_group"]

#: Seconds before a death within which its worker may not have got rid of its last words.
DYING = 1.0


@dataclass(frozen=True)
class _Note:
    """One that a hook left: in its process, in the worker to which that belongs, and when."""

    what: str
    pid: int
    worker: str
    time: float
    more: list[int]

    def died(self, deaths: Mapping[str | int, float]) -> float:
        """When its process died, or its worker; 0 if both live."""
        return deaths.get(self.pid, deaths.get(self.worker, 0.0))


@dataclass
class Verdict:
    """What the oracle counted.

    Attributes:
        lost: sent, but never handled.
        repeated: handled again.
        reordered: handled or answered after a later one.
        unsignalled: neither handled and answered, nor followed by a close that the client saw.
        wrong_state: handled with a state that does not fit.
        ghosts: accepted connections without an ``on_close``.
        closed_again: ``on_close`` that ran more than once.
        unexplained: what was handled or closed again though the process and the worker that had
            done so lived on, or died much later; and what was handled after ``on_close``.
        cut: sessions closed by the server, by close code.
    """

    sent: int = 0
    handled: int = 0
    lost: int = 0
    repeated: int = 0
    reordered: int = 0
    unsignalled: int = 0
    wrong_state: int = 0
    ghosts: int = 0
    closed_again: int = 0
    unexplained: int = 0
    cut: dict[int, int] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in asdict(self).items() if value)

    def note(self, text: str) -> None:
        """Keep a few examples."""
        if len(self.details) < 10:
            self.details.append(text)


def judge(
    sessions: list[Session],
    project: Project,
    deaths: Mapping[str | int, float] | None = None,
) -> Verdict:
    """Compare what clients saw with what handlers noted; all connections are closed by now.

    Args:
        deaths: those that the fault made, see :attr:`.Load.deaths`.
    """
    verdict = Verdict()
    noted = _notes(project)
    closes = Counter(
        {who: sum(note.what == "close" for note in notes) for who, notes in noted.items()}
    )
    cut: Counter[int] = Counter()
    for session in sessions:
        all_notes = noted.get(session.who, [])
        _judge_repeats(verdict, session.who, all_notes, deaths or {})
        notes = [(*note.more[:2], note.pid) for note in all_notes if note.what == "handled"]
        if session.close_code is not None:
            cut[session.close_code] += 1
        _judge_session(verdict, session, notes)
        if closes[session.who] == 0:
            verdict.ghosts += 1
            verdict.note(f"{session.who}: no on_close")
        verdict.closed_again += max(0, closes[session.who] - 1)
    verdict.cut = dict(cut)
    return verdict


def _notes(project: Project) -> dict[str, list[_Note]]:
    """What was handled and closed, in order, by session."""
    workers: dict[int, str] = {}  # by pid, as of now: it may be used again
    found: dict[str, list[_Note]] = {}
    for what, who, pid, noted_at, *more in project.journal():
        if what == "process":
            workers[pid] = str(who)  # type: ignore[index]
        elif what in ("handled", "close"):
            note = _Note(what, pid, workers.get(pid, ""), noted_at, more)  # type: ignore[arg-type]
            found.setdefault(str(who), []).append(note)
    return found


def _judge_repeats(
    verdict: Verdict, who: str, notes: list[_Note], deaths: Mapping[str | int, float]
) -> None:
    """Whatever is done again must be due to a death."""
    first: dict[object, _Note] = {}
    closed: _Note | None = None
    for note in notes:
        key = "close" if note.what == "close" else note.more[0]
        before = first.get(key)
        first[key] = note
        if before is not None:
            died = before.died(deaths)
            if not died or before.time < died - DYING:
                verdict.unexplained += 1
                verdict.note(f"{who}: {key} again, though its first one lived: {before}, {note}")
        if closed is not None and note.what == "handled":
            verdict.unexplained += 1
            verdict.note(f"{who}: {note} after {closed}")
        closed = note if note.what == "close" else closed


def _judge_session(verdict: Verdict, session: Session, notes: list[tuple[int, int, int]]) -> None:
    numbers = [number for number, _, _ in notes]
    seen = set(numbers)
    answered = {number for number, _ in session.answers}
    verdict.sent += session.sent
    verdict.handled += len(seen)
    verdict.repeated += len(numbers) - len(seen)
    for number in range(1, session.sent + 1):
        verdict.lost += number not in seen
        if session.close_code is None and not (number in seen and number in answered):
            verdict.unsignalled += 1
            verdict.note(f"{session.who}: {number} of {session.sent} vanished")
    highest, before, before_pid = 0, 0, 0
    for number, count, pid in notes:
        # Going back is a redelivery, which only another worker does, from there on in order.
        if number <= before and pid == before_pid:
            verdict.reordered += 1
            verdict.note(f"{session.who}: {number} after {before}")
        if number > highest + 1:
            verdict.reordered += 1
            verdict.note(f"{session.who}: {number} after {highest}, a gap")
        highest, before, before_pid = max(highest, number), number, pid
        if count != number:
            verdict.wrong_state += 1
            verdict.note(f"{session.who}: count {count} with {number}")
    answers = [number for number, _ in session.answers]
    first = list(dict.fromkeys(answers))
    if first != sorted(first):
        verdict.reordered += 1
        verdict.note(f"{session.who}: answers {answers[:30]}")
    if len(first) != len(answers) and len(numbers) == len(seen):
        verdict.repeated += len(answers) - len(first)
        verdict.note(f"{session.who}: answers repeated {answers[:30]}")


async def all_closed(project: Project, sessions: list[Session], seconds: float = 5.0) -> float:
    """Wait until ``on_close`` has run for all of them; how long that took, in seconds."""
    began = time.monotonic()
    names = {session.who for session in sessions}
    with contextlib.suppress(AssertionError):  # the oracle says which
        await soon(
            lambda: names <= {note[1] for note in project.journal("close")},
            seconds,
        )
    return time.monotonic() - began


class Heard(Protocol):
    """What a member heard of a group in one piece, see :class:`.cluster.Segment`."""

    start: int
    epoch: str
    heard: list[str]


@dataclass
class GroupVerdict:
    """What the oracle counted in one group.

    Attributes:
        published: confirmed to who published it.
        heard: by members, in all.
        lost: confirmed, but missing at a member that should have heard it.
        misplaced: heard by a member at another offset than it was published with, or than another
            member heard it: it was repeated, or came in another order, or something was left out.
        late: members that were not as far as others in the end.
    """

    published: int = 0
    heard: int = 0
    lost: int = 0
    misplaced: int = 0
    late: int = 0
    details: list[str] = field(default_factory=list)

    def wrong(self) -> list[str]:
        """Which promises were broken."""
        zero = ("lost", "misplaced", "late")
        broken = [f"{name}={getattr(self, name)}" for name in zero if getattr(self, name)]
        return broken + self.details if broken else []

    def note(self, text: str) -> None:
        """Keep a few examples."""
        if len(self.details) < 10:
            self.details.append(text)


def judge_group(
    members: Mapping[str, Sequence[Heard]], confirmed: Mapping[tuple[str, int], str]
) -> GroupVerdict:
    """Compare what members heard with what was confirmed; all is quiet by now.

    Args:
        members: by name, what each heard.
        confirmed: by epoch and offset, what was published.
    """
    verdict = GroupVerdict(published=len(confirmed))
    known = dict(confirmed)
    last: dict[str, int] = {}
    for who, segments in members.items():
        for segment in segments:
            verdict.heard += len(segment.heard)
            for offset, text in enumerate(segment.heard, segment.start + 1):
                expected = known.setdefault((segment.epoch, offset), text)
                if text != expected:
                    verdict.misplaced += 1
                    verdict.note(f"{who}: {text} at {offset}, not {expected}")
    for epoch, offset in known:
        last[epoch] = max(last.get(epoch, 0), offset)
    for who, segments in members.items():
        for number, segment in enumerate(segments):
            end = segment.start + len(segment.heard)
            # Where the memory was lost, what came last in the old one is lost with it.
            if number == len(segments) - 1 and end < last.get(segment.epoch, 0):
                verdict.late += 1
                missing = [
                    text
                    for (epoch, offset), text in confirmed.items()
                    if epoch == segment.epoch and offset > end
                ]
                verdict.lost += len(missing)
                verdict.note(
                    f"{who}: ends at {end}, others at {last[segment.epoch]}: {missing[:5]}"
                )
    return verdict
