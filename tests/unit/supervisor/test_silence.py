"""Workers that report no more are found; nobody is blamed for the supervisor's own pause."""

from __future__ import annotations

from typing import Any

import pytest

from django_ws.supervisor.child import State
from django_ws.supervisor.silence import LATER, LOOK, Lateness, Silence


class FakeChild:
    def __init__(self, reported: float) -> None:
        self.reported = reported
        self.killed = False
        self.incarnation = hex(id(self))
        self.started = reported
        self.state = State.STARTING


def look(silence: Silence, children: Any, since: float, until: float) -> tuple[float, list[Any]]:
    """Look in time, until there is something to see. Returns when and what."""
    now = since
    while now < until:
        if found := silence.look(children, now):
            return now, found
        now = max(now + 0.1, min(silence.look_at, now + 0.5))
    return until, []


def test_one_that_reports_no_more_is_found() -> None:
    silence = Silence(10.0)
    silent, starting = FakeChild(100.0), FakeChild(0.0)
    when, found = look(silence, [silent, starting], 100.0, 200.0)
    assert found == [silent]
    assert 110.0 < when <= 110.0 + LATER + 2 * LOOK
    silent.killed = True
    assert look(silence, [silent, starting], when, 200.0)[1] == []


def test_one_that_reports_is_left_alone() -> None:
    silence = Silence(1.0)
    child = FakeChild(100.0)
    for tenth in range(1000, 2000):
        child.reported = float(tenth // 10)
        assert silence.look([child], tenth / 10) == []


def test_a_pause_of_the_supervisor_itself_gives_everybody_another_chance() -> None:
    silence = Silence(10.0)
    child = FakeChild(100.0)
    assert look(silence, [child], 100.0, 105.0)[1] == []
    assert silence.look([child], 1000.0) == []
    when, found = look(silence, [child], 1000.1, 1100.0)
    assert found == [child]
    assert when > 1010.0


@pytest.mark.parametrize("now", [0.0, 1e6])
def test_without_a_timeout_nobody_looks(now: float) -> None:
    silence = Silence(0.0)
    assert silence.look([FakeChild(1.0)], now) == []
    assert silence.look_at == float("inf")


def test_one_that_does_not_get_ready_is_found_once() -> None:
    lateness = Lateness(10.0)
    one, two = children = [FakeChild(100.0), FakeChild(105.0)]
    assert lateness.next(children) == 110.0
    assert lateness.look(children, 109.9) == []
    assert lateness.look(children, 110.0) == [one]
    assert lateness.next(children) == 115.0
    two.state = State.READY
    assert lateness.look(children, 200.0) == []
    assert lateness.next(children) == float("inf")


def test_without_a_start_timeout_any_time_will_do() -> None:
    child = FakeChild(100.0)
    assert Lateness(0.0).look([child], 1e9) == []
    assert Lateness(0.0).next([child]) == float("inf")
