"""Replacing children one at a time, with children that are no processes."""

from __future__ import annotations

import pytest

from django_ws.supervisor.child import Role, State, fate
from django_ws.supervisor.slots import GRACE, Backoff, Rolling, Slot


class FakeChild:
    """Does what it is told, at once."""

    def __init__(self, state=State.STARTING):
        self.state = state
        self.told = []
        self.deadline = float("inf")

    def leave(self, deadline, message=None):
        self.state = State.LEAVING
        self.deadline = deadline
        self.told.append(message)

    def kill(self):
        self.state = State.LEAVING
        self.told.append("kill")


@pytest.fixture
def slots():
    """Two workers that run."""
    found = [Slot(Role.WORKER, index) for index in range(2)]
    for slot in found:
        slot.child = FakeChild(State.READY)
    return found


@pytest.fixture
def started():
    """What was started, in order."""
    return []


@pytest.fixture
def rolling(started):
    """Replaces; what it starts is in ``started``."""

    def start(slot):
        started.append(FakeChild())
        return started[-1]

    return Rolling(start)


def arrive(rolling, slot, child, now=0.0):
    child.state = State.READY
    assert slot.successor is child
    rolling.arrived(slot, now)


def test_the_new_one_is_ready_before_the_old_one_goes(rolling, slots, started):
    old = [slot.child for slot in slots]
    rolling.all(slots, 30.0)
    rolling.step(0.0)
    rolling.step(0.0)
    assert len(started) == 1
    assert old[0].told == []
    arrive(rolling, slots[0], started[0], now=5.0)
    assert old[0].told == [{"op": "retire", "seconds": 30.0}]
    assert old[0].deadline == 35.0 + GRACE
    rolling.step(6.0)
    assert len(started) == 1  # one at a time
    old[0].state = State.GONE
    rolling.step(7.0)
    assert len(started) == 2
    arrive(rolling, slots[1], started[1])
    old[1].state = State.GONE
    rolling.step(8.0)
    assert not rolling.busy
    assert [slot.child for slot in slots] == started


def test_a_new_version_that_cannot_start_leaves_the_old_one(rolling, slots, started):
    old = [slot.child for slot in slots]
    rolling.all(slots, 30.0)
    rolling.step(0.0)
    rolling.failed(slots[0])
    rolling.step(1.0)
    assert not rolling.busy
    assert len(started) == 1
    assert [slot.child for slot in slots] == old
    assert all(child.told == [] for child in old)


def test_asked_again_meanwhile_it_goes_round_once_more(rolling, slots, started):
    rolling.all(slots[:1], 30.0)
    rolling.step(0.0)
    for _ in range(5):
        rolling.all(slots[:1], 30.0)
    first = slots[0].child
    arrive(rolling, slots[0], started[0])
    first.state = State.GONE
    rolling.step(1.0)
    assert len(started) == 2
    arrive(rolling, slots[0], started[1])
    started[0].state = State.GONE
    rolling.step(2.0)
    assert not rolling.busy


def test_a_successor_that_is_out_of_date_is_killed(rolling, slots, started):
    rolling.all(slots, 30.0)
    rolling.step(0.0)
    rolling.afresh(slots, 0.5)
    assert started[0].told == ["kill"]
    rolling.step(0.1)
    assert slots[0].successor is started[1]


def test_where_nothing_runs_nothing_is_waited_for(rolling, slots, started):
    slots[0].child = None
    slots[1].child.state = State.STARTING
    starting = slots[1].child
    rolling.all(slots, 30.0)
    rolling.step(7.0)
    assert started == []
    assert starting.told == ["kill"]
    assert [slot.start_at for slot in slots] == [7.0, 7.0]
    assert not rolling.busy


def test_the_old_one_may_die_meanwhile(rolling, slots, started):
    rolling.one(slots[0], 30.0)
    rolling.one(slots[0], 30.0)
    rolling.step(0.0)
    slots[0].child = None
    arrive(rolling, slots[0], started[0])
    assert slots[0].child is started[0]
    assert not rolling.busy


def test_backoff_doubles_and_forgets():
    backoff = Backoff()
    assert [backoff.next(0.0) for _ in range(8)] == [
        0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0
    ]  # fmt: skip
    assert backoff.next(2.0) == 0.1
    assert backoff.next(1.9) == 0.2


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exited with status 0"),
        (3, "exited with status 3"),
        (-9, "was killed by SIGKILL (Killed)"),
        (-11, "was killed by SIGSEGV (Segmentation fault)"),
    ],
)
def test_fate(status, words):
    assert fate(status) == words
