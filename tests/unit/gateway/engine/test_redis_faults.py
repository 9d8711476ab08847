"""What the server or whoever shares it may do to an engine, beyond going away."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

import pytest

from django_ws.gateway.engine import link, operations
from django_ws.gateway.engine.base import Failure
from django_ws.gateway.engine.redis import Redis
from django_ws.store.names import Names
from django_ws.wire.messages import TEXT, Position
from tests.valkey import Valkey, valkey

from .contract import Ears, ask, heard, history, member, position, present, publish, texts
from .test_redis import RedisBench


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


@pytest.fixture
def bench(server: Valkey) -> Iterator[RedisBench]:
    bench = RedisBench(server)
    yield bench
    bench.close()


@pytest.fixture
def other(bench: RedisBench) -> Redis:
    return bench.make("h", Ears())


def names(bench: RedisBench) -> Names:
    return Names(bench.project)


# ---------------------------------------------------------------- joined while it is away


def test_who_joined_while_it_was_away_is_told_where_it_is(
    bench: RedisBench, other: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody would say what was published between the server's return and ours."""
    monkeypatch.setattr(link, "FIRST_DELAY", 1.0)
    monkeypatch.setattr(operations, "PATIENCE", 0.05)
    bench.cut(bench.engine)
    bench.back()  # from now on with these delays
    bench.cut(bench.engine)
    bench.engine.subscribe("kept-1")
    bench.engine.subscribe("kept-2")
    assert bench.fail(bench.engine.position, "kept-1") == operations.AWAY
    ask(bench, other.publish, "kept-1", TEXT, b"in between")
    bench.back()
    bench.wait_for(lambda: bench.engine._servers.idle)
    assert bench.ears.gaps == ["kept-1"]
    publish(bench, "kept-1", "later")
    assert texts([each for _, each, _ in heard(bench, 1)]) == ["later"]
    bench.cut(bench.engine)
    bench.back()
    bench.wait_for(lambda: bench.engine._servers.idle)
    assert bench.ears.gaps == ["kept-1"]


# ---------------------------------------------------------------- said in the log


def test_all_that_was_lost_is_said(
    bench: RedisBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(link, "FIRST_DELAY", 5.0)
    monkeypatch.setattr(operations, "PATIENCE", 0.05)
    bench.cut(bench.engine)
    bench.back()  # from now on with these delays
    bench.cut(bench.engine)
    for _ in range(5):
        bench.engine.publish("plain", TEXT, b"a")

    def said() -> int:
        bench.engine.expire()
        lines = [each.args for each in caplog.records if "publication(s) lost" in each.msg]
        return sum(args[0] for args in lines if isinstance(args, tuple))

    bench.wait_for(lambda: said() == 5)


# ---------------------------------------------------------------- who else writes there


@pytest.mark.parametrize("kind", ["m", "h", "e"])
def test_a_key_of_another_type_fails_what_needs_it(bench: RedisBench, kind: str) -> None:
    name = names(bench)
    keys = {
        "m": name.meta("kept-1"),
        "h": name.history("kept-1"),
        "e": name.epoch(name.bucket("kept-1")),
    }
    publish(bench, "kept-1", "first")
    bench.server.command("DEL", keys[kind].decode())
    bench.server.command("SADD", keys[kind].decode(), "x")
    bench.engine.subscribe("kept-1")
    failure = bench.fail(bench.engine.publish, "kept-1", TEXT, b"a")
    assert failure.code == "engine_refused"
    assert "WRONGTYPE" in failure.words
    bench.fail(bench.engine.history, "kept-1", None, 10) if kind != "h" else None
    bench.engine.subscribe("plain")
    publish(bench, "plain", "b")
    assert bench.engine.away == 0
    assert "plain" in [group for group, _, _ in bench.ears.publications]
    bench.server.command("DEL", keys[kind].decode())
    bench.now += 1
    publish(bench, "kept-1", "c")
    bench.wait_for(lambda: len(bench.ears.publications) == 2)


@pytest.mark.parametrize("value", ["nonsense", "1 2 3", "x y z - 1 1"])
def test_an_entry_of_another_one_in_a_history(bench: RedisBench, value: str) -> None:
    bench.engine.subscribe("kept-1")
    publish(bench, "kept-1", "a")
    bench.server.command("RPUSH", names(bench).history("kept-1").decode(), value)
    assert bench.fail(bench.engine.history, "kept-1", None, 10).code == "engine_garbled"
    assert not bench.engine.away


def test_members_of_a_group_with_such_a_history_are_told(bench: RedisBench) -> None:
    """It cannot be healed, and holds up nobody."""
    bench.engine.subscribe("kept-1")
    bench.engine.subscribe("kept-2")
    publish(bench, "kept-1", "a")
    publish(bench, "kept-2", "a")
    key = names(bench).history("kept-1").decode()
    bench.server.command("DEL", key)
    bench.server.command("SADD", key, "nonsense")
    bench.cut(bench.engine)
    bench.back()
    bench.wait_for(lambda: bench.ears.gaps == ["kept-1"])
    assert bench.counters["engine_away"] == 1
    assert not bench.engine._heard.ill
    bench.server.command("DEL", key)
    publish(bench, "kept-1", "b")
    publish(bench, "kept-2", "b")
    heard(bench, 4)
    assert bench.ears.gaps == ["kept-1"]


def test_presence_of_another_type_holds_up_nobody(bench: RedisBench) -> None:
    """One group's key is broken: others are present all the same, again and again."""
    bench.server.command("SET", names(bench).present("who-1").decode(), "x")
    bench.engine.subscribe("who-1")
    bench.engine.subscribe("who-2")
    bench.engine.enter("who-1", member("g-1"))
    bench.engine.enter("who-2", member("g-2"))
    for _ in range(3):
        bench.engine.leave("who-2", "g-2")
        until_present(bench, "who-2", [])
        bench.engine.enter("who-2", member("g-2"))
        until_present(bench, "who-2", ["g-2"])


def until_present(bench: RedisBench, group: str, ids: list[str]) -> None:
    deadline = time.monotonic() + 0.5
    while present(bench, group) != ids:
        assert time.monotonic() < deadline


def test_what_no_gateway_of_ours_says_in_a_channel(bench: RedisBench) -> None:
    channel = names(bench).channel("plain").decode()
    bench.engine.subscribe("plain")
    publish(bench, "plain", "a")
    for junk in ("", "junk", "\\xff\\xfe", "1 2", "9 9 e 1 0 0 0\nx"):
        bench.server.command("SPUBLISH", channel, junk)
    publish(bench, "plain", "b")
    found = texts([each for _, each, _ in heard(bench, 3)])
    assert found == ["a", "x", "b"]


def test_groups_with_odd_names(bench: RedisBench) -> None:
    for group in ("kept-\u00e9\u4e2d", "kept-}{:c:", "kept- \r\n", "kept-" + "x" * 500):
        bench.engine.subscribe(group)
        publish(bench, group, group)
    assert [group for group, _, _ in heard(bench, 4)] == texts(
        [each for _, each, _ in bench.ears.publications]
    )


# ---------------------------------------------------------------- sizes and numbers


def test_publications_of_several_megabytes(bench: RedisBench) -> None:
    bench.engine.subscribe("kept-1")
    big = "x" * 6_000_000
    publish(bench, "kept-1", big, big, "small")
    assert [len(each.data) for _, each, _ in heard(bench, 3)] == [6_000_000, 6_000_000, 5]
    (start,) = {each.offset for _, each, _ in bench.ears.publications[:1]}
    since = Position(start - 1, position(bench, "kept-1").epoch)
    found = []
    while len(found) < 3:
        page = history(bench, "kept-1", since, 10)
        found += page.publications
        since = Position(found[-1].offset, page.position.epoch)
    assert len(found) == 3
    bench.cut(bench.engine)
    bench.back()


def test_more_than_the_server_keeps_for_one_listener(bench: RedisBench, other: Redis) -> None:
    """It cuts off who has not read 32 MB, so answers are asked for as they are taken: for groups
    that are healed, and for members that come back."""
    groups = [f"kept-{number}" for number in range(10)]
    for group in groups:
        bench.engine.subscribe(group)
    since = {group: position(bench, group) for group in groups}
    bench.cut(bench.engine)
    for group in groups:
        for _ in range(5):
            other.publish(group, TEXT, b"x" * 800_000)
        bench.wait_for(lambda: other._servers.idle)
    heard(bench, 50)
    assert bench.counters["engine_away"] == 1
    assert not bench.ears.gaps

    answers: list[object] = []
    for _ in range(5):
        for group in groups:
            bench.engine.history(group, since[group], 1000, answers.append)
    bench.wait_for(lambda: len(answers) == 50, 20)
    assert not any(isinstance(each, Failure) for each in answers)
    assert bench.counters["engine_away"] == 1


def test_a_large_answer_may_take_its_time(
    bench: RedisBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a network that is slow. Else it would be asked for again, and so for ever."""
    monkeypatch.setattr(link, "REPLY_TIMEOUT", 0.3)
    bench.engine.subscribe("kept-1")
    since = position(bench, "kept-1")
    publish(bench, "kept-1", *["x" * 900_000] * 3)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rate: int) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(rate // 20):
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(len(data) / rate)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_unix_connection(bench.server.path)
        await asyncio.gather(carry(reader, there[1], 10**8), carry(there[0], writer, 2_000_000))
        await asyncio.gather(there[1].wait_closed(), writer.wait_closed())
        over.append(True)

    over: list[bool] = []
    slow = str(bench.server.directory / "slow")
    proxy = bench.loop.run_until_complete(asyncio.start_unix_server(serve, slow))
    bench.url = f"unix://{slow}"
    engine = bench.make("far", Ears())
    try:
        answers: list[object] = []
        for _ in range(3):
            engine.history("kept-1", since, 10, answers.append)
        bench.wait_for(lambda: len(answers) == 3, 10)
        assert not any(isinstance(each, Failure) for each in answers)
        assert bench.counters["engine_away"] == 0
    finally:
        bench.engines.remove(engine)
        engine.close()
        bench.wait_for(lambda: bool(over))
        proxy.close()
        bench.loop.run_until_complete(proxy.wait_closed())


def test_a_thousand_groups_at_once(bench: RedisBench) -> None:
    answers: list[object] = []
    for number in range(1000):
        bench.engine.subscribe(f"kept-{number}")
        bench.engine.position(f"kept-{number}", answers.append)
    bench.wait_for(lambda: len(answers) == 1000)
    assert not any(isinstance(each, Failure) for each in answers)
    for number in range(1000):
        bench.engine.publish(f"kept-{number}", TEXT, b"a")
    heard(bench, 1000)


def test_in_and_out_of_a_group_again_and_again(bench: RedisBench, other: Redis) -> None:
    bench.engine.subscribe("kept-1")
    publish(bench, "kept-1", "a")
    for number in range(200):
        bench.engine.unsubscribe("kept-1")
        bench.engine.subscribe("kept-1")
        if number % 3 == 0:
            bench.engine.position("kept-1", lambda found: None)
            bench.wait_for(lambda: bench.engine._servers.idle)
    position(bench, "kept-1")
    ask(bench, other.publish, "kept-1", TEXT, b"b")
    assert texts([each for _, each, _ in heard(bench, 2)]) == ["a", "b"]


# ---------------------------------------------------------------- clocks


def test_a_machines_clock_is_an_hour_off(server: Valkey) -> None:
    """Groups without history are stamped by the machine, all else by the server."""
    bench = RedisBench(server)
    try:
        for engine in bench.engines:
            engine._calls._clock = None
        bench.engine.subscribe("kept-1")
        publish(bench, "kept-1", "a")
        assert abs(heard(bench, 1)[0][1].time - time.time()) < 5
    finally:
        bench.close()
