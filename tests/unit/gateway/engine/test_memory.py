"""The engine in memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from django_ws.gateway.engine.memory import Memory
from django_ws.group_patterns import lookup
from django_ws.options import GroupConfig
from django_ws.wire.messages import TEXT, Position, Present

from . import contract
from .contract import GROUPS, Ears, history, position, publish, texts


class MemoryBench:
    """See :class:`.contract.Bench`."""

    epochs = itertools.count(1)

    def __init__(self, max_bytes: int = 2**40) -> None:
        self.now = 1_000_000.0
        self.ears = Ears()
        self.max_bytes = max_bytes
        self.lose_memory()

    def lose_memory(self) -> None:
        patterns = {name: GroupConfig(**options) for name, options in GROUPS.items()}
        self.engine = Memory(
            lookup(patterns),
            self.ears,
            clock=lambda: self.now,
            epoch=f"epoch-{next(self.epochs)}",
            max_bytes=self.max_bytes,
        )

    def wait_for(self, condition: Callable[[], bool]) -> None:
        assert condition()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.engine.expire()

    @property
    def groups(self) -> int:
        return len(self.engine._histories)

    @property
    def bytes(self) -> int:
        return self.engine._histories._bytes


@pytest.fixture
def bench() -> MemoryBench:
    return MemoryBench()


class TestPublications(contract.Publications):
    pass


class TestHistory(contract.History):
    pass


class TestPresence(contract.Presence):
    pass


def test_a_group_that_nobody_is_in_costs_nothing(bench: MemoryBench) -> None:
    for number in range(100):
        position(bench, f"kept-{number}")
        publish(bench, f"kept-{number}", "a")
    assert bench.groups == 100
    bench.pass_time(61)
    assert (bench.groups, bench.bytes) == (0, 0)
    bench.engine.enter("who-1", Present("g-1", "7", 0.0, b""))
    bench.engine.leave("who-1", "g-1")
    assert not bench.engine._roster._members
    assert not bench.engine._roster._users


def test_members_keep_an_offset_and_no_more(bench: MemoryBench) -> None:
    bench.engine.subscribe("kept-1")
    publish(bench, "kept-1", "a" * 10_000)
    bench.pass_time(61)
    assert bench.groups == 1
    assert bench.bytes < 1000
    bench.engine.unsubscribe("kept-1")
    assert (bench.groups, bench.bytes) == (0, 0)


def test_a_group_that_was_left_early_keeps_its_history(bench: MemoryBench) -> None:
    bench.engine.subscribe("kept-1")
    (one,) = publish(bench, "kept-1", "a")
    bench.engine.unsubscribe("kept-1")
    assert texts(history(bench, "kept-1").publications) == ["a"]
    bench.pass_time(59)
    publish(bench, "kept-1", "b")
    assert texts(history(bench, "kept-1", one).publications) == ["b"]


def test_beyond_its_bytes_the_quietest_group_is_emptied() -> None:
    bench = MemoryBench(max_bytes=4_000)
    (one,) = publish(bench, "kept-1", "a" * 1_000)
    bench.now += 1
    publish(bench, "kept-2", "b" * 1_000)
    bench.now += 1
    publish(bench, "kept-3", "c" * 1_000)
    assert bench.bytes <= 4_000
    recent = history(bench, "kept-1", one)
    assert recent.publications == []
    publish(bench, "kept-1", "d")
    assert not history(bench, "kept-1", Position(one.offset - 1, one.epoch)).complete
    assert history(bench, "kept-3").publications


def test_a_publication_larger_than_all_the_room_is_delivered_all_the_same() -> None:
    bench = MemoryBench(max_bytes=2_000)
    bench.engine.subscribe("kept-1")
    one, two = publish(bench, "kept-1", "a" * 5_000, "b")
    assert two.offset == one.offset + 1
    assert len(bench.ears.publications) == 2
    assert bench.bytes < 2_000


def test_asking_for_positions_of_ever_new_groups_is_bounded() -> None:
    bench = MemoryBench(max_bytes=10_000)
    for number in range(1_000):
        position(bench, f"kept-{number}")
    assert bench.groups < 50
    assert bench.bytes <= 10_000


def test_an_answer_has_a_bounded_size(bench: MemoryBench) -> None:
    start = position(bench, "kept-1")
    publish(bench, "kept-1", *("x" * 1_500_000 for _ in range(5)))
    recent = history(bench, "kept-1", start)
    assert len(recent.publications) == 2
    assert recent.complete
    assert recent.publications[0].offset == start.offset + 1
    assert len(history(bench, "kept-1").publications) == 2


def test_a_pattern_without_an_end_keeps_for_ever() -> None:
    ears = Ears()
    now = 0.0
    engine = Memory(lookup({"*": GroupConfig(history_size=3)}), ears, clock=lambda: now, epoch="e")
    engine.publish("a", TEXT, b"x")
    now = 1e9
    engine.expire()
    found: list[object] = []
    engine.history("a", None, 10, found.append)
    assert len(found[0].publications) == 1  # type: ignore[attr-defined]
