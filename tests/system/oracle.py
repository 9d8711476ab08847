"""The oracle of the fault harness: accounts for every message by what both sides noted."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

from .load import Session, soon
from .server import Project

__all__ = ["Verdict", "all_closed", "judge"]


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
    cut: dict[int, int] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in asdict(self).items() if value)

    def note(self, text: str) -> None:
        """Keep a few examples."""
        if len(self.details) < 10:
            self.details.append(text)


def judge(sessions: list[Session], project: Project) -> Verdict:
    """Compare what clients saw with what handlers noted; all connections are closed by now."""
    verdict = Verdict()
    handled: dict[str, list[tuple[int, int, int]]] = {}
    closes: Counter[str] = Counter()
    for what, who, pid, _, *more in project.journal():
        if what == "handled":
            handled.setdefault(str(who), []).append((more[0], more[1], pid))  # type: ignore[arg-type]
        elif what == "close":
            closes[str(who)] += 1
    cut: Counter[int] = Counter()
    for session in sessions:
        notes = handled.get(session.who, [])
        if session.close_code is not None:
            cut[session.close_code] += 1
        _judge_session(verdict, session, notes)
        if closes[session.who] == 0:
            verdict.ghosts += 1
            verdict.note(f"{session.who}: no on_close")
        verdict.closed_again += max(0, closes[session.who] - 1)
    verdict.cut = dict(cut)
    return verdict


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
