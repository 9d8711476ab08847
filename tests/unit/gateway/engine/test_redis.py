"""The engine that a server has, against a real one."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import uvloop

from django_ws.gateway.engine import backlog, leases, link, operations, redis
from django_ws.gateway.engine.base import Failure
from django_ws.gateway.engine.redis import Redis
from django_ws.gateway.engine.wire import Wire
from django_ws.group_patterns import lookup
from django_ws.options import GroupConfig
from django_ws.store.names import Names
from django_ws.store.urls import parse
from django_ws.wire.messages import TEXT, Expel, Publish
from tests.valkey import Valkey, valkey

from . import contract
from .contract import GROUPS, Ears, ask, heard, history, member, position, present, publish, texts

PATTERNS = lookup({name: GroupConfig(**options) for name, options in GROUPS.items()})


class RedisBench:
    """See :class:`.contract.Bench`; each has a project of its own in one server."""

    numbers = itertools.count(1)

    def __init__(self, server: Valkey, url: str = "", *, up: bool = True) -> None:
        self.server = server
        self.url = url or server.url
        self.loop = uvloop.new_event_loop()  # as the gateway has it
        self.now = 1_000_000.0
        self.project = f"project-{next(self.numbers)}"
        self.engines: list[Redis] = []
        self.ears = Ears()
        self.counters: Counter[str] = Counter()
        self.engine = self.make("g", self.ears, up=up)

    def make(self, incarnation: str, ears: Ears, *, up: bool = True) -> Redis:
        engine = Redis(
            parse(self.url),
            self.project,
            incarnation,
            PATTERNS,
            ears,
            loop=self.loop,
            counters=self.counters,
            clock=lambda: self.now,
        )
        self.engines.append(engine)
        if up:
            self.wait_for(lambda: not engine.away)
        return engine

    def wait_for(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        async def wait() -> None:
            async with asyncio.timeout(seconds):
                while not condition():
                    await asyncio.sleep(0.001)

        if not condition():
            self.loop.run_until_complete(wait())

    def pass_time(self, seconds: float) -> None:
        """The clock is ours; what the server counts itself is moved on by hand."""
        self.now += seconds
        milliseconds = round(seconds * 1000)
        self.server.command(
            "EVAL",
            "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do "
            "local left = redis.call('PTTL', key) "
            "if left > 0 then redis.call('PEXPIRE', key, math.max(0, left - ARGV[2])) end end",
            0,
            f"django_ws:{self.project}:*",
            milliseconds,
        )
        for engine in self.engines:
            engine.expire()

    def lose_memory(self) -> None:
        self.server.command("FLUSHALL")

    def cut(self, engine: Redis) -> None:
        """Break the connection of one engine, and wait until it knows."""
        engine._servers._link.abort("cut by the test")
        self.wait_for(lambda: engine.away > 0)

    def back(self, *engines: Redis) -> None:
        """Wait until these are connected."""
        self.wait_for(lambda: not any(engine.away for engine in engines or self.engines))

    def fail(self, operation: Callable[..., None], *args: object, **options: object) -> Failure:
        """How an operation fails."""
        answers: list[object] = []
        operation(*args, **options, done=answers.append)
        self.wait_for(lambda: bool(answers))
        assert isinstance(answers[0], Failure)
        return answers[0]

    def close(self) -> None:
        for engine in self.engines:
            engine.close()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


@pytest.fixture
def bench(server: Valkey) -> Iterator[RedisBench]:
    bench = RedisBench(server)
    yield bench
    bench.close()


class TestPublications(contract.Publications):
    pass


class TestHistory(contract.History):
    pass


class TestPresence(contract.Presence):
    pass


# ---------------------------------------------------------------- two gateways


@pytest.fixture
def other(bench: RedisBench) -> Redis:
    return bench.make("h", Ears())


def ears_of(engine: Redis) -> Ears:
    ears = engine._listener
    assert isinstance(ears, Ears)
    return ears


def test_what_one_gateway_publishes_all_hear_at_the_same_offsets(
    bench: RedisBench, other: Redis
) -> None:
    for engine in (bench.engine, other):
        engine.subscribe("kept-1")
        ask(bench, engine.position, "kept-1")
    for number in range(20):
        engine = (bench.engine, other)[number % 2]
        ask(bench, engine.publish, "kept-1", TEXT, str(number).encode())
    expected = [str(number) for number in range(20)]
    told = heard(bench, 20)
    bench.wait_for(lambda: len(ears_of(other).publications) == 20)
    assert texts([each for _, each, _ in told]) == expected
    assert ears_of(other).publications == told


def test_what_concerns_all_gateways_is_counted_over_all(bench: RedisBench, other: Redis) -> None:
    bench.ears.applies, ears_of(other).applies = 3, 4
    message = Expel(0, "7", "", "", "", 4401, "logged out")
    assert ask(bench, bench.engine.spread, message) == 7
    assert ask(bench, other.spread, message) == 7
    assert bench.ears.messages == ears_of(other).messages == [message, message]


def test_publications_to_users_reach_all_gateways(bench: RedisBench, other: Redis) -> None:
    message = Publish(0, "", TEXT, b"hello", "", "event", True, "7")
    bench.engine.spread(message)
    bench.wait_for(lambda: bool(bench.ears.messages and ears_of(other).messages))
    assert ears_of(other).messages == [message]


def test_nobody_waits_for_a_gateway_that_does_not_answer(
    bench: RedisBench, other: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_ws.gateway.engine.spreads.PATIENCE", 0.05)
    bench.ears.applies = 3
    other._spreads.take = lambda entry: None  # type: ignore[method-assign]
    answers: list[object] = []
    bench.engine.spread(Expel(0, "7", "", "", "", 4401, ""), answers.append)

    def answered() -> bool:
        bench.engine.expire()
        return bool(answers)

    bench.wait_for(answered)
    assert answers == [3]
    assert bench.counters["engine_unanswered"] == 1


def test_a_ticket_is_good_once_over_all_gateways(bench: RedisBench, other: Redis) -> None:
    late = 4_000_000_000.0
    assert ask(bench, bench.engine.use_ticket, "one", late) is True
    assert ask(bench, other.use_ticket, "one", late) is False
    assert ask(bench, other.use_ticket, "two", late) is True
    assert ask(bench, other.use_ticket, "three", 5.0) is True  # over, which others look at
    assert ask(bench, bench.engine.use_ticket, "three", 5.0) is True  # not kept


# ---------------------------------------------------------------- presence


def test_who_was_at_a_gateway_that_died_is_gone_when_its_lease_ends(
    bench: RedisBench, other: Redis
) -> None:
    bench.engine.subscribe("loud-1")
    bench.engine.enter("loud-1", member("g-1"))
    other.enter("loud-1", member("h-1", "7"))
    ask(bench, other.position, "kept-1")
    assert present(bench, "loud-1") == ["g-1", "h-1"]
    bench.engines.remove(other)
    other._servers.close()
    heard(bench, 2)
    for _ in range(7):
        bench.engine._ticked = 0.0
        bench.pass_time(1)
        ask(bench, bench.engine.position, "kept-1")
    assert present(bench, "loud-1") == ["g-1"]
    leave = heard(bench, 3)[2][1]
    assert (leave.event, leave.data) == ("leave", b'{"id":"h-1","user":"7","info":null}')


def renew(bench: RedisBench) -> None:
    """Let the first gateway look who lives."""
    bench.engine._ticked = 0.0
    bench.engine.expire()
    ask(bench, bench.engine.position, "kept-1")


def test_after_an_outage_nobody_counts_as_dead_who_is_on_the_way_back(
    bench: RedisBench, other: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All leases have ended meanwhile. Else members would hear that all at other gateways leave and
    join."""
    monkeypatch.setattr(leases, "GRACE", 0.5)
    bench.engine.subscribe("loud-1")
    other.enter("loud-1", member("h-1"))
    heard(bench, 1)
    renew(bench)
    back = asyncio.Event()
    dial = other._servers._link._dial

    async def later(make: Callable[[], Wire]) -> Wire:
        await back.wait()
        return await dial(make)

    other._servers._link._dial = later
    bench.cut(other)
    bench.cut(bench.engine)
    bench.now += 10
    bench.back(bench.engine)
    for _ in range(3):
        renew(bench)
    back.set()
    bench.back()
    ask(bench, other.position, "kept-1")
    assert present(bench, "loud-1") == ["h-1"]
    renew(bench)
    heard(bench, 1)

    bench.engines.remove(other)
    other._servers.close()  # this time for good
    bench.now += 10
    bench.cut(bench.engine)
    bench.back()
    renew(bench)
    assert present(bench, "loud-1") == []
    heard(bench, 1)

    def reaped() -> bool:
        bench.engine._ticked = 0.0
        bench.engine.expire()
        return len(bench.ears.publications) == 2

    bench.wait_for(reaped)
    assert heard(bench, 2)[1][1].event == "leave"


def test_a_gateway_that_drains_takes_its_members_along_at_once(
    bench: RedisBench, other: Redis
) -> None:
    other.enter("who-1", member("h-1"))
    ask(bench, other.position, "kept-1")
    assert present(bench, "who-1") == ["h-1"]
    bench.loop.run_until_complete(other.drain(1.0))
    assert present(bench, "who-1") == []


def test_a_gateway_that_was_taken_for_dead_comes_back_with_its_members(
    bench: RedisBench, other: Redis
) -> None:
    other.enter("who-1", member("h-1"))
    ask(bench, other.position, "kept-1")
    bench.now += 10
    assert present(bench, "who-1") == []
    other._ticked = 0.0
    other.expire()
    ask(bench, other.position, "kept-1")
    assert present(bench, "who-1") == ["h-1"]


def test_who_comes_and_goes_while_the_engine_is_away_is_right_afterwards(bench: RedisBench) -> None:
    bench.engine.enter("who-1", member("g-1"))
    bench.engine.enter("who-1", member("g-2"))
    ask(bench, bench.engine.position, "kept-1")
    bench.cut(bench.engine)
    bench.engine.leave("who-1", "g-1")
    bench.engine.enter("who-1", member("g-3"))
    bench.back()
    bench.wait_for(lambda: not bench.engine._leases._changed)
    assert present(bench, "who-1") == ["g-2", "g-3"]


def test_a_server_without_its_data_is_told_who_is_present(bench: RedisBench) -> None:
    bench.engine.enter("who-1", member("g-1"))
    ask(bench, bench.engine.position, "kept-1")
    bench.lose_memory()
    bench.engine._ticked = 0.0
    bench.engine.expire()
    ask(bench, bench.engine.position, "kept-1")
    assert present(bench, "who-1") == ["g-1"]


# ---------------------------------------------------------------- holes


def test_what_was_missed_comes_from_the_history_and_before_what_is_new(
    bench: RedisBench, other: Redis
) -> None:
    bench.engine.subscribe("kept-1")
    bench.engine.subscribe("plain")
    ask(bench, bench.engine.publish, "kept-1", TEXT, b"a")
    bench.cut(bench.engine)
    bench.engine.enter("who-1", member("g-1"))
    for text in (b"b", b"c"):
        ask(bench, other.publish, "kept-1", TEXT, text)
    bench.back()
    ask(bench, other.publish, "kept-1", TEXT, b"d")
    told = [each for group, each, _ in heard(bench, 4) if group == "kept-1"]
    assert texts(told) == list("abcd")
    offsets = [each.offset for each in told]
    assert offsets == list(range(offsets[0], offsets[0] + 4))
    assert bench.ears.gaps == ["plain"]


def test_a_hole_that_cannot_be_healed_is_told(bench: RedisBench, other: Redis) -> None:
    bench.engine.subscribe("kept-1")
    ask(bench, bench.engine.publish, "kept-1", TEXT, b"a")
    bench.cut(bench.engine)
    for text in "bcdefgh":  # five are kept
        ask(bench, other.publish, "kept-1", TEXT, text.encode())
    bench.back()
    told = heard_after(bench, 6)
    assert texts(told) == list("adefgh")
    assert bench.ears.gaps == ["kept-1"]
    assert bench.counters["engine_gaps"] == 1


def heard_after(bench: RedisBench, number: int) -> list[object]:
    bench.wait_for(lambda: len(bench.ears.publications) >= number)
    return [each for _, each, _ in bench.ears.publications]


def test_a_hole_on_the_way_is_healed_before_anything_later_is_told(bench: RedisBench) -> None:
    bench.engine.subscribe("kept-1")
    ask(bench, bench.engine.publish, "kept-1", TEXT, b"a")
    take = bench.engine._heard.take
    dropped: list[object] = []

    def lossy(group: str, entry: object) -> None:
        if not dropped and entry.publication.data == b"b":  # type: ignore[attr-defined]
            dropped.append(entry)
        else:
            take(group, entry)  # type: ignore[arg-type]

    bench.engine._backlog._take = lossy  # type: ignore[assignment]
    for text in (b"b", b"c", b"d"):
        bench.engine.publish("kept-1", TEXT, text)
    assert texts([each for _, each, _ in heard(bench, 4)]) == list("abcd")
    assert dropped
    assert bench.ears.gaps == []


def test_who_comes_from_a_position_while_a_hole_is_healed_hears_nothing_twice(
    bench: RedisBench, other: Redis
) -> None:
    bench.engine.subscribe("kept-1")
    (start,) = publish(bench, "kept-1", "a")
    bench.cut(bench.engine)
    for text in (b"b", b"c"):
        ask(bench, other.publish, "kept-1", TEXT, text)
    told: list[str] = []
    bench.engine.history(
        "kept-1",
        start,
        100,
        lambda found: told.extend(
            [
                *(each.data.decode() for each in found.publications),
                f"{len(bench.ears.publications)} heard",
            ]
        ),
    )
    bench.wait_for(lambda: bool(told))
    assert told == ["b", "c", "3 heard"]  # so nothing of that comes afterwards
    ask(bench, other.publish, "kept-1", TEXT, b"d")
    assert texts([each for _, each, _ in heard(bench, 4)]) == list("abcd")


def test_a_server_that_took_over_without_the_last_ones_has_another_memory(
    bench: RedisBench, other: Redis
) -> None:
    bench.engine.subscribe("kept-1")
    for text in (b"a", b"b"):
        ask(bench, bench.engine.publish, "kept-1", TEXT, text)
    before = position(bench, "kept-1")
    bench.cut(bench.engine)
    names = Names(bench.project)
    bench.server.command("RPOP", names.history("kept-1").decode())
    bench.server.command("HINCRBY", names.meta("kept-1").decode(), "o", -1)
    bench.now += 1
    ask(bench, other.publish, "kept-1", TEXT, b"another b")
    ask(bench, other.publish, "kept-1", TEXT, b"c")
    bench.back()
    assert texts(heard_after(bench, 4)) == ["a", "b", "another b", "c"]
    assert bench.ears.gaps == ["kept-1"]
    assert position(bench, "kept-1").epoch != before.epoch
    ask(bench, other.publish, "kept-1", TEXT, b"d")
    assert texts(heard_after(bench, 5))[-1] == "d"


def test_another_memory_is_told_and_goes_on(bench: RedisBench) -> None:
    bench.engine.subscribe("kept-1")
    publish(bench, "kept-1", "a", "b")
    bench.lose_memory()
    bench.now += 1
    publish(bench, "kept-1", "c", "d")
    assert texts([each for _, each, _ in heard(bench, 4)]) == list("abcd")
    assert bench.ears.gaps == ["kept-1"]


def test_a_group_with_members_is_not_forgotten(bench: RedisBench) -> None:
    bench.engine.subscribe("kept-1")
    (one,) = publish(bench, "kept-1", "a")
    for _ in range(6):
        bench.pass_time(1000)
        bench.engine._heard.keep(1.0)
        ask(bench, bench.engine.position, "who-1")
        bench.wait_for(lambda: bench.engine._servers.idle)
    (two,) = publish(bench, "kept-1", "b")
    assert (two.epoch, two.offset) == (one.epoch, one.offset + 1)
    assert bench.ears.gaps == []


# ---------------------------------------------------------------- too much


def test_publications_wait_for_members_that_are_slow(bench: RedisBench) -> None:
    room: list[bool] = [False]
    bench.engine._backlog._room = lambda: room[0]
    bench.engine.subscribe("kept-1")
    (one, *_) = publish(bench, "kept-1", "a", "b", "c")
    found: list[object] = []
    bench.engine.history("kept-1", one, 100, found.append)
    bench.engine.position("kept-1", found.append)
    bench.wait_for(lambda: bench.engine._servers.idle)
    assert bench.ears.publications == []
    assert found == []  # behind what it tells of
    room[0] = True
    assert texts([each for _, each, _ in heard(bench, 3)]) == list("abc")
    bench.wait_for(lambda: len(found) == 2)


def test_what_does_not_fit_is_dropped_and_healed(
    bench: RedisBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MAX_WAITING", 2)
    room: list[bool] = [True]
    bench.engine._backlog._room = lambda: room[0]
    bench.engine.subscribe("kept-1")
    bench.engine.subscribe("plain")
    publish(bench, "kept-1", "a")
    room[0] = False
    publish(bench, "kept-1", *"bcde")
    publish(bench, "plain", "dropped")
    room[0] = True
    assert texts([each for _, each, _ in heard(bench, 5)]) == list("abcde")
    assert bench.ears.gaps == ["plain"]
    assert bench.counters["engine_overflow"] == 3


def test_ten_thousand_joins_and_leaves_go_in_a_few_writes(bench: RedisBench) -> None:
    groups = [f"group-{number}" for number in range(5_000)]
    for group in groups:
        bench.engine.subscribe(group)
    for group in groups[:4_990]:
        bench.engine.unsubscribe(group)
    ask(bench, bench.engine.position, groups[-1])
    ask(bench, bench.engine.publish, groups[-1], TEXT, b"heard")
    ask(bench, bench.engine.publish, groups[0], TEXT, b"unheard")
    heard(bench, 1)
    subscribed = len(bench.engine._servers._link._subscriptions)
    assert subscribed == 12  # with what concerns all gateways, and the inbox


def test_what_waits_is_bounded(bench: RedisBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "MAX_QUEUED", 10)
    answers: list[object] = []
    for _ in range(100):
        bench.engine.publish("plain", TEXT, b"x", done=answers.append)
    assert len(answers) == 90
    assert all(answer == operations.BUSY for answer in answers)
    assert bench.counters["engine_lost"] == 90
    bench.wait_for(lambda: len(answers) == 100)


def test_whoever_publishes_faster_than_the_server_takes_it_waits(
    bench: RedisBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is lost, neither on the way there nor on the way back."""
    monkeypatch.setattr(operations, "MAX_QUEUED", 100)
    monkeypatch.setattr(backlog, "MAX_WAITING", 100)
    monkeypatch.setattr(backlog, "TURN", 10)
    monkeypatch.setattr(link, "MAX_IN_FLIGHT", 20)
    told: list[bool] = []
    bench.engine._on_crowded = told.append
    bench.engine._backlog._room = lambda: len(bench.ears.publications) % 10 != 9 or bool(told)
    bench.engine.subscribe("plain")
    published = 0
    while published < 1000:
        while published < 1000 and not (told and told[-1]):
            bench.engine.publish("plain", TEXT, b"%d" % published)
            published += 1
        bench.wait_for(lambda: told[-1] is False)
    assert texts([each for _, each, _ in heard(bench, 1000)]) == [str(n) for n in range(1000)]
    assert told[:4] == [True, False, True, False]
    assert bench.counters["engine_lost"] == 0


def test_nobody_waits_for_members_to_take_what_others_publish(
    bench: RedisBench, other: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be in vain, and for as long as they go on."""
    monkeypatch.setattr(backlog, "MAX_WAITING", 100)
    told: list[bool] = []
    bench.engine._on_crowded = told.append
    bench.engine._backlog._room = lambda: False
    bench.engine.subscribe("plain")
    for _ in range(80):
        other.publish("plain", TEXT, b"x")
    bench.wait_for(lambda: bench.engine._backlog.load > 0.7)
    ask(bench, bench.engine.publish, "plain", TEXT, b"y")
    assert told == []


# ---------------------------------------------------------------- it goes away


@pytest.fixture
def own() -> Iterator[Valkey]:
    with valkey("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
def lonely(own: Valkey) -> Iterator[RedisBench]:
    """A bench with a server of its own, to be killed."""
    bench = RedisBench(own)
    yield bench
    bench.close()


def test_killed_and_back_with_its_data(lonely: RedisBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "UNTOLD", 0.01)
    bench = lonely
    bench.engine.subscribe("kept-1")
    publish(bench, "kept-1", "a", "b")
    bench.server.kill()
    bench.wait_for(lambda: bench.engine.away > 0)
    assert bench.fail(bench.engine.publish, "kept-1", TEXT, b"lost").code.startswith("engine_")
    bench.server.start()
    bench.back()
    publish(bench, "kept-1", "c")
    assert texts([each for _, each, _ in heard(bench, 3)]) == list("abc")
    assert bench.ears.gaps == []
    assert bench.counters["engine_lost"] == 1
    # Whoever logged out meanwhile could tell nobody.
    bench.wait_for(lambda: bench.ears.missed_some == 1)


def test_killed_and_back_without_its_data(lonely: RedisBench) -> None:
    bench = lonely
    bench.engine.subscribe("kept-1")
    (one, _) = publish(bench, "kept-1", "a", "b")
    bench.server.kill()
    bench.wait_for(lambda: bench.engine.away > 0)
    bench.server.start("--appendonly", "no")
    bench.now += 1
    bench.back()
    (three,) = publish(bench, "kept-1", "c")
    assert three.epoch != one.epoch
    assert texts(heard_after(bench, 3)) == list("abc")
    assert bench.ears.gaps == ["kept-1"]
    assert not history(bench, "kept-1", one).complete


def test_paused(lonely: RedisBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-open, too: nobody says that it is gone."""
    monkeypatch.setattr(link, "REPLY_TIMEOUT", 0.3)
    monkeypatch.setattr(link, "CONNECT_TIMEOUT", 0.3)
    monkeypatch.setattr(operations, "PATIENCE", 0.3)
    bench = lonely
    bench.engine.subscribe("kept-1")
    publish(bench, "kept-1", "a")
    bench.server.pause()
    first = bench.fail(bench.engine.publish, "kept-1", TEXT, b"b")
    assert first.code == "engine_unknown"  # it may be published, and will
    assert bench.fail(bench.engine.publish, "kept-1", TEXT, b"lost").code == "engine_away"
    bench.engine.subscribe("kept-2")
    assert bench.fail(bench.engine.position, "kept-2").code == "engine_away"
    assert bench.engine.away > 0
    bench.server.resume()
    bench.back()
    publish(bench, "kept-1", "c")
    assert texts([each for _, each, _ in heard(bench, 3)]) == list("abc")
    publish(bench, "kept-2", "d")
    heard(bench, 4)


def test_nobody_waits_for_a_server_that_takes_nothing(
    lonely: RedisBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "MAX_QUEUED", 100)
    monkeypatch.setattr(link, "MAX_IN_FLIGHT", 20)
    monkeypatch.setattr(link, "SILENT", 0.1)
    bench = lonely
    told: list[bool] = []
    bench.engine._on_crowded = told.append
    bench.server.pause()
    try:
        for _ in range(100):
            bench.engine.publish("plain", TEXT, b"x")
        bench.engine.publish("plain", TEXT, b"x")
        bench.wait_for(lambda: told == [True, False])
        assert bench.engine.away == 0
        bench.engine.publish("plain", TEXT, b"x")
        assert told == [True, False]
    finally:
        bench.server.resume()


def test_full(lonely: RedisBench) -> None:
    bench = lonely
    bench.engine.subscribe("kept-1")
    bench.engine.subscribe("plain")
    publish(bench, "kept-1", "a")
    bench.server.command("CONFIG", "SET", "maxmemory", "1")
    failure = bench.fail(bench.engine.publish, "kept-1", TEXT, b"b")
    assert failure.code == "engine_refused"
    assert "OOM" in failure.words
    publish(bench, "plain", "goes on")
    assert bench.engine.away == 0
    bench.server.command("CONFIG", "SET", "maxmemory", "100mb")
    publish(bench, "kept-1", "c")
    told = [each for group, each, _ in heard(bench, 3) if group == "kept-1"]
    assert texts(told) == ["a", "c"]
    assert told[1].offset == told[0].offset + 1


def test_what_is_asked_while_it_is_away_fails_in_time(
    lonely: RedisBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "PATIENCE", 0.3)
    bench = lonely
    bench.server.kill()
    bench.wait_for(lambda: bench.engine.away > 0)
    engine = bench.engine
    assert bench.fail(engine.history, "kept-1", None, 10) == operations.AWAY
    assert bench.fail(engine.presence, "who-1") == operations.AWAY
    assert bench.fail(engine.use_ticket, "nonce", 4e9) == operations.AWAY
    # From then on at once, since a thousand members that come back would each hold up a hook.
    answers: list[object] = []
    engine.position("kept-1", answers.append)
    engine.history("kept-1", None, 10, answers.append)
    engine.presence("who-1", answers.append)
    assert answers == [operations.AWAY] * 3
    # What ends connections does so at least here.
    message = Expel(0, "7", "", "", "", 4401, "logged out")
    assert bench.fail(engine.spread, message) == operations.AWAY
    assert bench.ears.messages == [message]


def test_what_others_spread_meanwhile_is_done_when_it_is_back(
    bench: RedisBench, other: Redis
) -> None:
    bench.cut(bench.engine)
    message = Expel(0, "7", "", "", "", 4401, "logged out")
    ask(bench, other.spread, message)
    bench.back()
    bench.wait_for(lambda: bool(bench.ears.messages))
    assert bench.ears.messages == [message]


def test_more_spreads_than_are_kept_for_a_gateway(
    bench: RedisBench, other: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A logout is behind more messages to users than are kept: that is told."""
    monkeypatch.setattr(link, "FIRST_DELAY", 0.5)
    bench.cut(bench.engine)
    bench.back()  # from now on with this delay
    bench.cut(bench.engine)
    other.spread(Expel(0, "7", "", "", "", 4401, "logged out"))
    for _ in range(1000):
        other.spread(Publish(0, "", TEXT, b"x", user="8"))
    bench.wait_for(lambda: other._servers.idle)
    assert bench.engine.away > 0
    bench.wait_for(lambda: len(bench.ears.messages) == 1000)
    assert bench.ears.missed_some == 1


def test_many_groups_are_looked_after(bench: RedisBench, other: Redis) -> None:
    """Of a thousand groups each is healed, or told, soon after the connection is back."""
    groups = [f"{kind}-{number}" for kind in ("kept", "plain") for number in range(500)]
    for group in groups:
        bench.engine.subscribe(group)
        bench.engine.publish(group, TEXT, b"a")
    heard(bench, 1000)
    bench.cut(bench.engine)
    for group in groups[:500]:
        other.publish(group, TEXT, b"b")
    bench.wait_for(lambda: other._servers.idle)
    bench.wait_for(lambda: len(bench.ears.publications) == 1500 and not bench.engine._heard.ill)
    assert sorted(bench.ears.gaps) == sorted(groups[500:])
    assert bench.counters["engine_healed"] == 500


# ---------------------------------------------------------------- who may speak to it


def test_passwords_users_and_databases(own: Valkey) -> None:
    own.command("ACL", "SETUSER", "shop", "on", ">p@ss", "~django_ws:*", "&django_ws:*", "+@all")
    url = f"unix://shop:p%40ss@{own.path}?db=3"
    bench = RedisBench(own, url)
    try:
        bench.engine.subscribe("kept-1")
        publish(bench, "kept-1", "a")
        heard(bench, 1)
        assert b"db3" in own.command("INFO", "keyspace")
        assert b"db0" not in own.command("INFO", "keyspace")
    finally:
        bench.close()


def test_a_wrong_password_is_said(own: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    bench = RedisBench(own, f"unix://shop:secret@{own.path}", up=False)
    try:
        bench.wait_for(lambda: bool(caplog.records))
        assert "WRONGPASS" in caplog.text
        assert "secret" not in caplog.text
        assert bench.engine.away == float("inf")
    finally:
        bench.close()


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        (("~*", "resetchannels"), "a channel"),  # as a server gives new users none
        (("~shop:*", "&*"), "key"),
        (("~django_ws:*", "&django_ws:*"), ""),
    ],
)
def test_a_user_without_our_keys_and_channels_is_told_at_once(
    own: Valkey, caplog: pytest.LogCaptureFixture, rights: tuple[str, ...], words: str
) -> None:
    """Else the gateway would say that it is ready, and its members would hear nothing."""
    own.command("ACL", "SETUSER", "me", "on", ">secret", "+@all", *rights)
    bench = RedisBench(own, own.url.replace("//", "//me:secret@"), up=not words)
    if words:
        bench.wait_for(lambda: "is away" in caplog.text)
        assert f"{words}: its user needs ~django_ws:*, &django_ws:*" in caplog.text
        assert bench.engine.away == float("inf")
    else:
        bench.engine.subscribe("kept-1")
        publish(bench, "kept-1", "a")
        heard(bench, 1)
    bench.close()
