"""Django processes that speak to the engine themselves, with a real server."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from redis.exceptions import ReadOnlyError

import django_ws
from django_ws import outlet, publisher_engine
from django_ws.exceptions import GatewayUnavailable, PublishError, PublishTimeout
from django_ws.options import GroupConfig, PublisherConfig
from django_ws.publisher_engine import Engine
from django_ws.store import client
from django_ws.store.calls import Call
from django_ws.store.client import Away, Client, Late
from django_ws.store.forms import present
from django_ws.store.names import Names
from django_ws.store.urls import parse
from django_ws.wire.messages import TEXT, Expel, GetPresence, Publish, Recheck, UseTicket
from tests.valkey import Valkey, valkey

GROUPS = {"kept*": GroupConfig(history_size=5, history_ttl=60), "who": GroupConfig(presence=True)}


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


@pytest.fixture
def own() -> Iterator[Valkey]:
    """A server to be killed."""
    with valkey() as server:
        yield server


def engine_at(server: Valkey, project: str) -> Engine:
    config = PublisherConfig(project=project, groups=GROUPS, engine=server.url)
    return Engine(config)


@pytest.fixture
def engine(server: Valkey, request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = engine_at(server, request.node.name)
    before = outlet.set_outlet(engine)
    yield engine
    outlet.set_outlet(before)
    engine.close()


@pytest.fixture
def lonely(own: Valkey) -> Iterator[Engine]:
    engine = engine_at(own, "lonely")
    before = outlet.set_outlet(engine)
    yield engine
    outlet.set_outlet(before)
    engine.close()


pytestmark = pytest.mark.usefixtures("engine")


def test_what_is_published_stands_in_the_history() -> None:
    before = django_ws.position("kept")
    done = django_ws.publish("kept", {"number": 1}, event="moved", wait=True)
    assert done is not None
    assert (done.offset, done.epoch) == (before.offset + 1, before.epoch)
    django_ws.publish_many([("kept", "two"), ("kept", b"three"), ("plain", "four")])
    history = django_ws.history("kept", since=before)
    assert [each.data for each in history.publications] == [{"number": 1}, "two", b"three"]
    assert history.complete
    assert history.publications[0].event == "moved"
    assert abs(history.publications[0].time - time.time()) < 5
    assert django_ws.position("kept").offset == before.offset + 3


def test_without_history_there_is_nothing_to_ask() -> None:
    done = django_ws.publish("plain", "text", wait=True)
    assert done is not None
    assert done.offset == django_ws.position("plain").offset == 0
    assert django_ws.history("plain").publications == []
    assert django_ws.presence("plain") == []


def test_presence_is_of_gateways_that_live(engine: Engine, server: Valkey) -> None:
    names: Names = engine._calls.names
    key = names.present("who").decode()
    server.command("HSET", key, "", 2, "a-1", "5.0 1 1\n7null", "b-1", "6.0 2 0\n")
    (found,) = engine.ask([GetPresence(1, "who")], 1.0)[0]
    assert msgspec.msgpack.decode(found) == []
    server.command("ZADD", names.live().decode(), (time.time() + 9) * 1e6, "a")
    assert [each.user for each in django_ws.presence("who")] == ["7"]
    assert present(b"b-1", b"6.0 2 0\n")[0] == 2


def test_a_ticket_is_good_once(engine: Engine) -> None:
    expires = time.time() + 60
    for expected in (1, 0):
        (found,) = engine.ask([UseTicket(1, "nonce", expires)], 1.0)[0]
        assert msgspec.msgpack.decode(found) == expected


def test_nobody_waits_long_for_gateways_that_do_not_answer(engine: Engine) -> None:
    began = time.monotonic()
    for message in (Expel(1, "7", "", "", "", 4401, ""), Recheck(2, "7")):
        (found,) = engine.ask([message], 1.0)[0]
        assert msgspec.msgpack.decode(found) == 0  # nobody is there
    assert time.monotonic() - began < 1.0


def test_answers_of_gateways_are_counted(engine: Engine, server: Valkey) -> None:
    token = "token"
    key = engine._calls.names.replies(token).decode()
    server.command("RPUSH", key, 3, 4)
    assert engine._count(token, 2, time.monotonic() + 5) == 7
    server.command("RPUSH", key, 5)
    began = time.monotonic()
    assert engine._count(token, 2, began + 0.1) == 5
    assert 0.1 <= time.monotonic() - began < 1.0


def test_many_threads_publish_at_once(engine: Engine) -> None:
    def publish(thread: int) -> list[int]:
        done = [django_ws.publish("kept-t", f"{thread}", wait=True) for _ in range(20)]
        return [each.offset for each in done if each is not None]

    with ThreadPoolExecutor(40) as threads:
        found = list(threads.map(publish, range(40)))
    assert all(offsets == sorted(offsets) for offsets in found)
    everything = sorted(offset for offsets in found for offset in offsets)
    assert everything == list(range(everything[0], everything[0] + 800))


def test_many_publications_have_the_time_that_they_take(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an engine that goes on taking them."""
    monkeypatch.setattr(publisher_engine, "PATIENCE", 0.2)
    monkeypatch.setattr(publisher_engine, "MAX_COMMANDS", 5)
    run = engine._client.run

    def slowly(calls: Sequence[Call[object]], deadline: float) -> list[object]:
        time.sleep(0.1)
        return run(calls, deadline)

    monkeypatch.setattr(engine._client, "run", slowly)
    django_ws.publish_many([("kept", str(number)) for number in range(20)])
    assert [each.data for each in django_ws.history("kept").publications] == list(
        map(str, range(15, 20))
    )


def test_a_child_makes_its_own_connections(engine: Engine) -> None:
    before = django_ws.position("kept")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            done = django_ws.publish("kept", "from the child", wait=True)
            os.write(writing, json.dumps(done.offset if done else 0).encode())
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert json.loads(os.read(reading, 100)) == before.offset + 1
    os.close(reading)
    os.close(writing)
    assert django_ws.position("kept").offset == before.offset + 1


def test_async_code_waits_without_blocking_the_loop(engine: Engine) -> None:
    async def run() -> None:
        done = await django_ws.apublish("kept", "text", wait=True)
        assert done is not None
        assert done.offset

    asyncio.run(run())


def test_a_server_that_knows_no_scripts_is_told(engine: Engine, server: Valkey) -> None:
    django_ws.publish("kept", "a", wait=True)
    server.command("SCRIPT", "FLUSH")
    done = django_ws.publish_many([("kept", "b"), ("kept", "c")], wait=True)
    assert done[1].offset == done[0].offset + 1


# ---------------------------------------------------------------- it is away


def test_a_server_that_was_killed(lonely: Engine, own: Valkey) -> None:
    django_ws.publish("kept", "a", wait=True)
    own.kill()
    for wait in (True, False):
        with pytest.raises(GatewayUnavailable, match="is away"):
            django_ws.publish("kept", "lost", wait=wait)
    began = time.monotonic()
    for _ in range(10):
        with pytest.raises(GatewayUnavailable):
            django_ws.publish("kept", "lost")
        with pytest.raises(GatewayUnavailable):
            django_ws.history("kept")
    assert time.monotonic() - began < 0.5
    own.start()
    lonely._resting = 0.0
    assert django_ws.publish("kept", "b", wait=True) is not None


def test_a_connection_that_was_cut_meanwhile_costs_nothing(lonely: Engine, own: Valkey) -> None:
    django_ws.publish("kept", "a", wait=True)
    own.kill()
    own.start()
    assert django_ws.publish("kept", "b", wait=True) is not None


def test_a_server_that_is_paused(
    lonely: Engine, own: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    django_ws.publish("kept", "a", wait=True)
    lonely._client = Client(lonely._server, 0.2)
    monkeypatch.setattr(publisher_engine, "PATIENCE", 0.2)
    django_ws.publish("kept", "a", wait=True)
    own.pause()
    try:
        began = time.monotonic()
        with pytest.raises(PublishTimeout):
            django_ws.publish("kept", "may come", wait=True)
        lonely._resting = 0.0
        with pytest.raises(GatewayUnavailable):
            django_ws.publish("kept", "may come")
        with pytest.raises(GatewayUnavailable):
            django_ws.publish("kept", "lost", wait=True)  # at once
        assert time.monotonic() - began < 2.0
    finally:
        own.resume()


def test_a_server_that_is_full(lonely: Engine, own: Valkey) -> None:
    own.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(PublishError, match="maxmemory"):
        django_ws.publish("kept", "a", wait=True)
    assert django_ws.publish("plain", "needs no room", wait=True) is not None


def test_threads_wait_for_a_connection_no_longer_than_for_the_server(
    lonely: Engine, own: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_ws.store.client.MAX_CONNECTIONS", 1)
    monkeypatch.setattr(publisher_engine, "PATIENCE", 0.3)
    lonely._client.close()
    lonely._client = Client(lonely._server, 0.3)
    django_ws.publish("kept", "a", wait=True)
    own.pause()
    outcomes: list[type] = []

    def publish() -> None:
        try:
            lonely.ask([Publish(1, "kept", TEXT, b"x")], 5.0)
        except PublishError as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=publish) for _ in range(5)]
    try:
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began < 3.0
        assert len(outcomes) == 5
    finally:
        own.resume()


# ---------------------------------------------------------------- what is not ours, or not there


@pytest.mark.parametrize(
    ("second", "expected"), [(["two"], ["one", "two"]), (ReadOnlyError("no"), Late), (Away(), Late)]
)
def test_what_was_done_before_a_failover_is_not_done_again(
    server: Valkey, monkeypatch: pytest.MonkeyPatch, second: object, expected: object
) -> None:
    sent: list[int] = []

    def exchange(pool: object, commands: Sequence[object], deadline: float) -> list[object]:
        sent.append(len(commands))
        if len(sent) == 1:
            return ["one", ReadOnlyError("it is a replica now")]
        if isinstance(second, Away):
            raise second
        return second if isinstance(second, list) else [second]

    monkeypatch.setattr(client, "_exchange", exchange)
    calls = [Call(0, None, ("GET", "a"), 1, str)] * 2
    found = Client(parse(server.url), 1.0)
    if expected is Late:
        with pytest.raises(Late):
            found.run(calls, time.monotonic() + 1)
    else:
        assert found.run(calls, time.monotonic() + 1) == expected
    assert sent == [2, 1]


def test_a_history_that_another_one_wrote_is_refused(engine: Engine, server: Valkey) -> None:
    django_ws.publish("kept", "a", wait=True)
    names = engine._calls.names
    server.command("RPUSH", names.history("kept").decode(), "nonsense")
    with pytest.raises(PublishError, match="not ours"):
        django_ws.history("kept")
    server.command("DEL", names.history("kept").decode())
    server.command("SADD", names.history("kept").decode(), "x")
    with pytest.raises(PublishError, match="WRONGTYPE"):
        django_ws.publish("kept", "b", wait=True)


def test_a_password_that_the_server_does_not_ask_for_is_no_harm(server: Valkey) -> None:
    """As a gateway has none by it: both speak to the server, or neither."""
    url = server.url.replace("//", "//:secret@")
    engine = Engine(PublisherConfig(project="secret", groups=GROUPS, engine=url))
    try:
        engine.ask([GetPresence(1, "who")], 5)
    finally:
        engine.close()
