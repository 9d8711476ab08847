"""Who is waited for, and for how long."""

from __future__ import annotations

from typing import Any, cast

import pytest

from django_ws.gateway.laggards import LOOK, PACE, PATIENCE, REMOTE_PATIENCE, Laggards
from tests.unit.gateway.fakes import FakeLoop


class Browser:
    def __init__(self) -> None:
        self.lag = 0
        self.behind = False
        self.backlog = 0
        self.acknowledges = False
        self.closed = False

    def too_slow(self) -> None:
        self.closed = True


class World:
    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.slow = 0
        self.free = 0
        self.laggards = Laggards(cast(Any, self.loop), self._slow, self._free)

    def _slow(self) -> None:
        self.slow += 1

    def _free(self) -> None:
        self.free += 1

    def lags(self, browser: Browser, lag: int, *, behind: bool = True, backlog: int = 1000) -> None:
        browser.lag, browser.behind, browser.backlog = lag, behind, backlog
        self.laggards.note(browser)

    def pass_time(self, seconds: float, browser: Browser | None = None, rate: float = 0.0) -> None:
        """Let time pass; meanwhile the browser reads so many bytes a second of its backlog."""
        for _ in range(round(seconds / LOOK)):
            if browser is not None:
                browser.backlog -= int(rate * LOOK)
            self.loop.advance(LOOK)


@pytest.fixture
def world() -> World:
    return World()


def test_who_reads_nothing_is_closed_soon(world: World) -> None:
    browser = Browser()
    world.lags(browser, 5000)
    assert world.laggards
    world.pass_time(PATIENCE)
    assert not browser.closed
    world.pass_time(3 * LOOK)
    assert browser.closed
    assert not world.laggards
    assert (world.slow, world.free) == (1, 1)


def test_what_is_acknowledged_has_to_come_through_the_network(world: World) -> None:
    far, gone = Browser(), Browser()
    for browser in (far, gone):
        browser.acknowledges = True
        world.lags(browser, 2 * PACE, backlog=PACE)
    for _ in range(4):
        world.pass_time(0.4)
        far.backlog -= PACE // 4
        assert gone.closed is (world.loop.now > 1000 + REMOTE_PATIENCE)
    assert not far.closed


@pytest.mark.parametrize(("rate", "closed"), [(1.1 * PACE, False), (0.5 * PACE, True)])
def test_who_reads_has_to_keep_a_pace_after_the_first_second(
    world: World, rate: float, closed: bool
) -> None:
    browser = Browser()
    world.lags(browser, 5000, backlog=100 * PACE)
    world.pass_time(0.9, browser, rate)
    assert not browser.closed
    world.pass_time(3.0, browser, rate)
    assert browser.closed is closed


def test_who_is_not_behind_is_watched_but_not_waited_for(world: World) -> None:
    browser = Browser()
    world.lags(browser, 10, behind=False)
    assert not world.laggards
    world.pass_time(10)
    assert not browser.closed
    world.lags(browser, 5000)
    # It has not moved for long, which counts as soon as somebody waits.
    world.pass_time(2 * LOOK)
    assert browser.closed


def test_who_catches_up_is_waited_for_no_more(world: World) -> None:
    one, two = Browser(), Browser()
    world.lags(one, 5000)
    world.lags(two, 5000)
    world.lags(one, 10, behind=False)
    assert world.laggards
    assert world.free == 0
    world.lags(two, 0, behind=False)
    assert not world.laggards
    assert world.free == 1
    world.laggards.discard(one)
    world.laggards.discard(one)
    assert world.free == 1


def test_nobody_is_looked_at_when_none_lags(world: World) -> None:
    browser = Browser()
    world.lags(browser, 10, behind=False)
    world.lags(browser, 0, behind=False)
    world.loop.advance(LOOK)
    assert [timer for timer in world.loop.timers if not timer.cancelled] == []


def test_at_the_end_nobody_is_closed(world: World) -> None:
    browser = Browser()
    world.lags(browser, 5000)
    world.laggards.close()
    assert not world.laggards
    world.pass_time(10)
    assert not browser.closed
    world.laggards.close()
