"""Who is waited for, and for how long."""

from __future__ import annotations

import pytest

from django_ws.gateway.laggards import PATIENCE, REMOTE_PATIENCE, Laggards
from tests.unit.gateway.fakes import FakeLoop

MIB = 1024 * 1024


class FakeLaggard:
    def __init__(self, acknowledges: bool = False) -> None:
        self.lag, self.behind, self.backlog = 2 * MIB, True, MIB
        self.acknowledges = acknowledges
        self.slow = 0

    def too_slow(self) -> None:
        self.slow += 1


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


def watched(loop: FakeLoop, laggard: FakeLaggard) -> Laggards:
    laggards = Laggards(loop, lambda: None, lambda: None)  # type: ignore[arg-type]
    laggards.note(laggard)
    return laggards


@pytest.mark.parametrize(("acknowledges", "patience"), [(False, PATIENCE), (True, REMOTE_PATIENCE)])
def test_without_progress_nobody_is_waited_for(
    loop: FakeLoop, acknowledges: bool, patience: float
) -> None:
    laggard = FakeLaggard(acknowledges)
    laggards = watched(loop, laggard)
    assert laggards
    loop.advance(patience - 0.05, 0.01)
    assert not laggard.slow
    loop.advance(0.1, 0.01)
    assert laggard.slow == 1
    assert not laggards


def test_what_a_client_far_away_acknowledges_is_progress(loop: FakeLoop) -> None:
    laggard = FakeLaggard(acknowledges=True)
    laggards = watched(loop, laggard)
    for _ in range(4):  # with 0.4 s between
        loop.advance(0.4, 0.01)
        laggard.backlog -= MIB // 4
    assert not laggard.slow
    laggard.lag = 0
    laggards.note(laggard)
    assert not laggards
