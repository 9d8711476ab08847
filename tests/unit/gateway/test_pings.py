"""The wheel of pings and the watch over backlogs, tick by tick."""

from __future__ import annotations

from collections import Counter

import pytest

from django_ws.gateway.pings import Pings, Stalls, tick_length


class FakePeer:
    def __init__(self, number: int = 1) -> None:
        self.number = number
        self.slot = 0
        self.heard = True
        self.held = False
        self.writable = True
        self.backlog = 0
        self.pings = 0
        self.answers = False
        self.dead = self.slow = False

    def ping(self) -> None:
        self.pings += 1
        if self.answers:
            self.heard = True

    def no_pong(self) -> None:
        self.dead = True

    def too_slow(self) -> None:
        self.slow = True


def ticks_until_dead(pings: Pings, peer: FakePeer, limit: int = 200) -> int:
    for tick in range(1, limit):
        pings.tick()
        if peer.dead:
            return tick
    return 0


@pytest.mark.parametrize("number", range(25))
def test_a_silent_peer_dies_after_interval_and_timeout(number: int) -> None:
    pings, peer = Pings(25, 8, 1), FakePeer(number)
    pings.add(peer)
    assert 13 + 8 <= ticks_until_dead(pings, peer) <= 25 + 8


def test_a_peer_that_answers_lives() -> None:
    pings, peer = Pings(25, 8, 1), FakePeer()
    peer.answers = True
    pings.add(peer)
    assert ticks_until_dead(pings, peer) == 0
    assert peer.pings in (7, 8)


def test_a_peer_that_is_not_read_lives() -> None:
    pings, peer = Pings(25, 8, 1), FakePeer()
    peer.held = True
    pings.add(peer)
    assert ticks_until_dead(pings, peer) == 0


def test_a_timeout_longer_than_the_interval_is_kept() -> None:
    pings, peer = Pings(2, 10, 1), FakePeer()
    pings.add(peer)
    assert 10 < ticks_until_dead(pings, peer) <= 22


def test_pings_without_a_timeout() -> None:
    pings, peer = Pings(4, 0, 1), FakePeer()
    pings.add(peer)
    assert ticks_until_dead(pings, peer) == 0
    assert peer.pings > 40


def test_no_pings_at_all() -> None:
    pings, peer = Pings(0, 8, 1), FakePeer()
    pings.add(peer)
    assert ticks_until_dead(pings, peer) == 0
    assert peer.pings == 0
    assert len(pings) == 1
    assert list(pings) == [peer]


def test_those_who_come_together_are_not_pinged_together() -> None:
    pings = Pings(24, 8, 1)
    peers = [FakePeer(number) for number in range(1200)]
    for peer in peers:
        peer.answers = True
        pings.add(peer)
    per_tick: Counter[int] = Counter()
    for tick in range(1, 25):
        before = sum(peer.pings for peer in peers)
        pings.tick()
        per_tick[tick] = sum(peer.pings for peer in peers) - before
    assert sum(per_tick.values()) == 1200
    assert max(per_tick.values()) == 100


def test_those_who_left_are_forgotten() -> None:
    pings, peer = Pings(4, 2, 1), FakePeer()
    pings.add(peer)
    pings.discard(peer)
    assert ticks_until_dead(pings, peer) == 0
    assert (peer.pings, len(pings)) == (0, 0)


def test_a_client_without_progress_is_too_slow() -> None:
    stalls, peer = Stalls(10, 1), FakePeer()
    peer.backlog = 1000
    stalls.add(peer)
    for _ in range(9):
        stalls.tick()
    assert not peer.slow
    stalls.tick()
    assert peer.slow


def test_any_progress_starts_the_time_anew() -> None:
    stalls, peer = Stalls(10, 1), FakePeer()
    peer.backlog = 1000
    stalls.add(peer)
    for _ in range(5):
        for _ in range(9):
            stalls.tick()
        peer.backlog -= 1
    assert not peer.slow
    stalls.discard(peer)
    for _ in range(20):
        stalls.tick()
    assert not peer.slow
    assert len(stalls) == 0


def test_slow_clients_may_be_tolerated() -> None:
    stalls, peer = Stalls(0, 1), FakePeer()
    stalls.add(peer)
    for _ in range(100):
        stalls.tick()
    assert not peer.slow


@pytest.mark.parametrize(
    ("limits", "tick"), [((25, 8, 10), 1.0), ((0, 0, 0), 1.0), ((0.2, 0.4), 0.05), ((0.01,), 0.02)]
)
def test_ticks_are_fine_enough(limits: tuple[float, ...], tick: float) -> None:
    assert tick_length(*limits) == pytest.approx(tick)


def test_a_client_that_drains_a_backlog_slowly_is_not_dead() -> None:
    pings, peer = Pings(4, 2, 1), FakePeer()
    pings.add(peer)
    peer.writable = False
    assert ticks_until_dead(pings, peer) == 0
    peer.writable, peer.answers = True, True  # whatever came before, it is asked anew
    assert ticks_until_dead(pings, peer) == 0


def test_one_that_falls_behind_between_ping_and_pong_is_not_dead() -> None:
    pings, peer = Pings(4, 2, 1), FakePeer()
    pings.add(peer)
    while not peer.pings:
        pings.tick()
    peer.writable = False  # its pong waits behind what it has yet to read
    assert ticks_until_dead(pings, peer) == 0
