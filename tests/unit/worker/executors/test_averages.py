"""When a hook counts as blocking, and when that is tried again."""

from __future__ import annotations

import pytest

from django_ws.worker.executors import averages as module
from django_ws.worker.executors.averages import (
    CLIP,
    PROBE_FIRST,
    PROBE_LAST,
    SLOW,
    Average,
    waiting,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("wall", "computed", "found"),
    [(0.01, 0.0, 0.01), (0.01, 0.006, 0.004), (0.01, 0.008, 0.0), (0.01, 0.02, 0.0), (0.0, 0.0, 0)],
)
def test_what_counts_is_waiting_in_a_process_that_is_not_busy(
    wall: float, computed: float, found: float
) -> None:
    assert waiting(wall, computed) == pytest.approx(found)


def test_one_long_call_does_not_make_a_hook_slow(clock: Clock) -> None:
    average = Average()
    average.add(10.0, 10.0)
    assert average.blocked == CLIP / 4 < SLOW
    average.add(10.0, 10.0)
    assert average.blocked > SLOW
    assert average.wall < CLIP


def test_it_falls_faster_than_it_rises(clock: Clock) -> None:
    average = Average()
    for _ in range(20):
        average.add(CLIP, CLIP)
    rose = average.blocked
    average.add(0.0, 0.0)
    average.add(0.0, 0.0)
    assert average.blocked == rose / 4 < SLOW


def test_a_slow_one_is_tried_again_ever_more_rarely(clock: Clock) -> None:
    average = Average()
    for _ in range(3):
        average.add(1.0, 1.0)
    assert average.blocked > SLOW
    waited = average.patience
    assert PROBE_FIRST < waited < PROBE_LAST
    assert not average.probe()
    clock.now += waited + 0.001
    assert average.probe()
    assert not average.probe()  # one at a time
    average.add(1.0, 1.0)
    assert average.patience == 2 * waited
    for _ in range(10):
        average.add(1.0, 1.0)
    assert average.patience == PROBE_LAST


def test_one_that_has_become_fast_is_tried_again_soon(clock: Clock) -> None:
    average = Average()
    for _ in range(10):
        average.add(1.0, 1.0)
    average.add(0.0, 0.0)
    assert average.blocked > SLOW
    assert average.patience == PROBE_FIRST
    clock.now += PROBE_FIRST + 0.001
    assert average.probe()
