"""The oracle itself: it has to see what is wrong."""

from __future__ import annotations

import pytest

from .cluster import Segment
from .load import Session
from .oracle import judge, judge_group
from .told import Event, judge_told

pytestmark = pytest.mark.system


class Journal:
    """Stands for a project: pairs of number and pid that were handled, and closes."""

    def __init__(self, handled, closes=1):
        self._notes = [["process", f"w{pid}", pid, 0.0] for pid in (1, 2)]
        self._notes += [["handled", "c", pid, 0.0, number, number] for number, pid in handled]
        self._notes += [["close", "c", 1, 0.0, 1000, ""]] * closes

    def journal(self):
        return self._notes


def verdict(handled, *, sent=3, answers=(1, 2, 3), code=None, closes=1, deaths=None):
    session = Session("c", sent, [(number, number) for number in answers], code)
    found = judge([session], Journal(handled, closes), deaths)
    return {
        name: value
        for name, value in vars(found).items()
        if value and name not in ("sent", "handled", "cut", "details")
    }


@pytest.mark.parametrize(
    ("handled", "others", "expected"),
    [
        ([(1, 1), (2, 1), (3, 1)], {}, {}),
        ([(1, 1), (2, 1)], {"answers": (1, 2)}, {"lost": 1, "unsignalled": 1}),
        ([(1, 1), (2, 1)], {"answers": (1, 2), "code": 1012}, {"lost": 1}),
        ([(1, 1), (2, 1), (3, 1)], {"answers": (1, 2)}, {"unsignalled": 1}),
        ([(1, 1), (2, 1), (2, 2), (3, 2)], {}, {"repeated": 1, "unexplained": 1}),
        ([(1, 1), (2, 1), (2, 2), (3, 2)], {"deaths": {1: 0.5}}, {"repeated": 1}),
        ([(1, 1), (2, 1), (2, 2), (3, 2)], {"deaths": {"w1": 0.5}}, {"repeated": 1}),
        (
            [(1, 1), (2, 1), (2, 2), (3, 2)],
            {"deaths": {"w1": 5.0}},
            {"repeated": 1, "unexplained": 1},
        ),
        (
            [(1, 1), (2, 1), (2, 1), (3, 1)],
            {},
            {"repeated": 1, "reordered": 1, "unexplained": 1},
        ),
        ([(1, 1), (3, 1), (2, 1)], {}, {"reordered": 2}),
        ([(1, 1), (2, 1), (3, 1)], {"answers": (1, 3, 2)}, {"reordered": 1}),
        ([(1, 1), (2, 1), (3, 1)], {"answers": (1, 2, 2, 3)}, {"repeated": 1}),
        ([(1, 1), (2, 1), (3, 1)], {"closes": 0}, {"ghosts": 1}),
        ([(1, 1), (2, 1), (3, 1)], {"closes": 2}, {"closed_again": 1, "unexplained": 1}),
    ],
)
def test_oracle(handled, others, expected):
    assert verdict(handled, **others) == expected


def test_a_state_that_does_not_fit():
    journal = Journal([])
    journal._notes.append(["handled", "c", 1, 0.0, 1, 2])
    assert judge([Session("c", 1, [(1, 2)])], journal).wrong_state == 1


def test_a_message_after_on_close():
    journal = Journal([(1, 1)])
    journal._notes.append(["handled", "c", 1, 0.0, 2, 2])
    assert judge([Session("c", 2, [(1, 1), (2, 2)])], journal).unexplained == 1


CONFIRMED = {("e", 6): "a", ("e", 7): "b", ("e", 8): "c"}


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([Segment(5, "e", ["a", "b", "c"])], {}),
        ([Segment(6, "e", ["b", "c"])], {}),
        ([Segment(5, "e", ["a", "b", "c", "unconfirmed"])], {"late": 1}),  # who is the other one
        ([Segment(5, "e", ["a", "b"])], {"late": 1, "lost": 1}),
        ([Segment(5, "e", ["a", "c"])], {"late": 1, "lost": 1, "misplaced": 1}),
        ([Segment(5, "e", ["a", "a", "b", "c"])], {"late": 1, "misplaced": 2}),
        ([Segment(5, "e", ["b", "a", "c"])], {"misplaced": 2}),
        ([Segment(5, "e", ["a"]), Segment(20, "f", [])], {}),  # another memory
    ],
)
def test_groups(segments, expected):
    whole = [Segment(5, "e", ["a", "b", "c"])]
    verdict = judge_group({"whole": whole, "one": segments}, CONFIRMED)
    found = {
        name: value
        for name, value in vars(verdict).items()
        if value and name not in ("published", "heard", "details")
    }
    assert found == expected
    assert bool(verdict.wrong()) == bool(expected)


def heard(*offsets, epoch="e"):
    return [Event(offset, epoch, f"{epoch}{offset}") for offset in offsets]


def joined(offset, epoch="e", recovered=True):
    return [Event(offset, epoch, None, recovered)]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (joined(5) + heard(6, 7, 8), {}),
        (joined(5) + heard(6) + joined(6) + heard(7, 8), {}),
        (joined(5) + heard(6) + joined(7, recovered=False) + heard(8), {"told": 1}),
        (joined(0, "", recovered=False) + heard(8), {"told": 1}),
        (joined(9, "d") + joined(5, recovered=False) + heard(6, 7, 8), {"told": 1}),
        (joined(5) + heard(6, 8), {"silent": 1}),
        (joined(5) + heard(6) + joined(7) + heard(8), {"silent": 1}),
        (joined(9, "d") + heard(6, 7, 8), {"silent": 1}),
        (joined(5) + heard(6, 6, 7, 8), {"repeated": 1}),
        (joined(5) + heard(6, 7), {"late": 1}),
        (joined(5) + heard(6) + [Event(7, "e", "other")] + heard(8), {"misplaced": 1}),
        ([*joined(4), Event(5, "e", "e8"), *heard(6, 7, 8)], {"twice": 1}),
    ],
)
def test_what_members_are_told(events, expected):
    confirmed = {("e", offset): f"e{offset}" for offset in (6, 7, 8)}
    verdict = judge_told({"one": events}, confirmed, ("e", 8))
    found = {
        name: value
        for name, value in vars(verdict).items()
        if value and name not in ("heard", "details")
    }
    assert found == expected
    assert bool(verdict.wrong()) == bool(set(expected) - {"told"})
