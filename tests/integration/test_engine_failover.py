"""Several servers that act as one: Sentinels and their primary, and clusters."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import msgspec
import pytest

from django_ws.exceptions import GatewayUnavailable, PublishTimeout
from django_ws.gateway.engine.nodes import SLOTS, Nodes, slot
from django_ws.options import GroupConfig, PublisherConfig
from django_ws.publisher_engine import Engine
from django_ws.store.names import Names
from django_ws.wire.messages import (
    TEXT,
    Expel,
    GetHistory,
    GetPresence,
    Position,
    Publish,
    Recent,
    UseTicket,
)
from tests.valkey import Cluster, Sentinel, wait

from ..unit.gateway.engine import contract
from ..unit.gateway.engine.contract import GROUPS, ask, member, position, present, texts
from ..unit.gateway.engine.test_redis import RedisBench


class ClusterBench(RedisBench):
    """See :class:`.contract.Bench`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        super().__init__(cluster)  # type: ignore[arg-type]

    def everywhere(self, *parts: object) -> None:
        for node in self.cluster.nodes:
            node.command(*parts)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for node in self.cluster.nodes:
            keys = node.command("KEYS", f"django_ws:{self.project}:*").split(b"\r\n")[2::2]
            for key in filter(None, keys):
                left = int(node.command("PTTL", key.decode())[1:-2])
                if left > 0:
                    rest = max(0, left - round(seconds * 1000))
                    node.command("PEXPIRE", key.decode(), rest)
        self.engine.expire()

    def lose_memory(self) -> None:
        self.everywhere("FLUSHALL")

    def group_at(self, node: int, kind: str = "kept") -> str:
        """A group, with history, whose keys lie at a node."""
        assert isinstance(self.engine._servers, Nodes)
        port = self.cluster.nodes[node].port
        names = Names(self.project)
        return next(
            group
            for group in (f"{kind}-{number}" for number in range(10_000))
            if self.engine._servers._owners[names.bucket(group)] == ("127.0.0.1", port)
        )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(2)
    yield cluster
    cluster.remove()


@pytest.fixture
def bench(cluster: Cluster) -> Iterator[ClusterBench]:
    bench = ClusterBench(cluster)
    yield bench
    bench.close()


class TestPublications(contract.Publications):
    pass


class TestHistory(contract.History):
    pass


class TestPresence(contract.Presence):
    pass


def test_slots_are_those_of_the_specification() -> None:
    assert slot(b"123456789") == 0x31C3 % 16384
    assert len(set(SLOTS)) == 256


def test_a_slot_is_moved(bench: ClusterBench) -> None:
    """Members hear everything, before, while and after it is."""
    group = bench.group_at(0)
    bench.engine.subscribe(group)
    start = position(bench, group)
    for number in range(3):
        ask(bench, bench.engine.publish, group, TEXT, b"%d" % number)
    number = SLOTS[Names(bench.project).bucket(group)]
    source, target = bench.cluster.nodes
    bench.cluster.move_slot(number, source, target)
    try:
        for number_ in range(3, 6):
            ask(bench, bench.engine.publish, group, TEXT, b"%d" % number_)
        bench.wait_for(lambda: len(bench.ears.publications) >= 6)
        told = [each for _, each, _ in bench.ears.publications]
        assert texts(told) == list("012345")
        assert [each.offset for each in told] == list(range(start.offset + 1, start.offset + 7))
        assert bench.ears.gaps == []
    finally:
        bench.cluster.move_slot(number, target, source)


def publisher(url: str, project: str) -> Engine:
    groups = {name: GroupConfig(**options) for name, options in GROUPS.items()}
    return Engine(PublisherConfig(project=project, groups=groups, engine=url))


def test_django_processes_speak_to_clusters(bench: ClusterBench) -> None:
    own = publisher(bench.cluster.url, bench.project)
    bench.engine._calls._clock = time.time
    groups = [bench.group_at(0), bench.group_at(1), "plain"]
    for group in groups:
        bench.engine.subscribe(group)
        position(bench, group)
    own.send([Publish(0, group, TEXT, b"hello") for group in groups])
    bench.wait_for(lambda: len(bench.ears.publications) == 3)
    (found,) = own.ask([GetHistory(1, groups[0], None, 10)], 1.0)[0]
    assert texts(msgspec.msgpack.decode(found, type=Recent).publications) == ["hello"]
    (used,) = own.ask([UseTicket(1, "nonce", time.time() + 60)], 1.0)[0]
    assert msgspec.msgpack.decode(used) == 1
    bench.engine._leases.renew()  # by the true time
    bench.engine.enter("who-1", member("g-1"))
    bench.wait_for(lambda: bench.engine._servers.idle)
    (there,) = own.ask([GetPresence(1, "who-1")], 1.0)[0]
    assert [each[0] for each in msgspec.msgpack.decode(there)] == ["g-1"]
    own.send([Expel(0, "7", "", "", "", 4401, "")])
    bench.wait_for(lambda: bool(bench.ears.messages))
    own.close()


def test_django_processes_find_a_slot_that_is_moved(bench: ClusterBench) -> None:
    """While it is moved nobody can begin a group there, which is waited for, for a while."""
    own = publisher(bench.cluster.url, bench.project)
    group, other = bench.group_at(0), bench.group_at(1)
    number = SLOTS[Names(bench.project).bucket(group)]
    source, target = bench.cluster.nodes
    own.send([Publish(0, other, TEXT, b"a")])
    for node, state, peer in ((target, "IMPORTING", source), (source, "MIGRATING", target)):
        node.command("CLUSTER", "SETSLOT", number, state, peer.id)
    timer = threading.Timer(0.3, bench.cluster.move_slot, (number, source, target))
    try:
        timer.start()
        own.ask([Publish(1, each, TEXT, b"b") for each in (other, group, other)], 2.0)
        timer.join()
        own.ask([Publish(1, each, TEXT, b"c") for each in (group, other)], 2.0)
        for name, expected in ((group, ["b", "c"]), (other, ["a", "b", "b", "c"])):
            (found,) = own.ask([GetHistory(1, name, None, 10)], 1.0)[0]
            assert texts(msgspec.msgpack.decode(found, type=Recent).publications) == expected
    finally:
        timer.join()
        bench.cluster.move_slot(number, target, source)
        own.close()


@pytest.mark.parametrize("stuck", [0, 1])
def test_django_processes_say_nothing_twice_to_a_node_that_is_stuck(
    bench: ClusterBench, stuck: int
) -> None:
    """What it had before it stopped it does when it goes on: so nobody may send it again."""
    own = publisher(bench.cluster.url, bench.project)
    group, other = bench.group_at(stuck), bench.group_at(1 - stuck)
    own.send([Publish(0, each, TEXT, b"a") for each in (group, other)])
    # Nobody is to notice but who waits.
    bench.everywhere("CONFIG", "SET", "cluster-node-timeout", 15_000)
    node = bench.cluster.nodes[stuck]
    node.pause()
    began = time.monotonic()
    try:
        with pytest.raises(PublishTimeout):
            own.ask([Publish(1, group, TEXT, b"b")], 5.0)
        assert time.monotonic() - began < 1.8
    finally:
        node.resume()
        bench.everywhere("CONFIG", "SET", "cluster-node-timeout", 500)
    wait(lambda: publishes(own, other, b"c"))
    wait(lambda: publishes(own, group, b"d"))
    (found,) = own.ask([GetHistory(1, group, None, 10)], 1.0)[0]
    assert texts(msgspec.msgpack.decode(found, type=Recent).publications) == ["a", "b", "d"]
    own.close()


def publishes(own: Engine, group: str, data: bytes) -> bool:
    """Try once."""
    try:
        own.ask([Publish(1, group, TEXT, data)], 1.0)
    except GatewayUnavailable:
        return False
    return True


def test_a_node_fails_and_its_replica_takes_over() -> None:
    cluster = Cluster(3, replica=True)
    bench = ClusterBench(cluster)
    try:
        group = bench.group_at(0)
        bench.engine.subscribe(group)
        ask(bench, bench.engine.publish, group, TEXT, b"a")
        wait(lambda: b"master_link_status:up" in cluster.nodes[-1].command("INFO", "replication"))
        cluster.nodes[0].kill()
        cluster.nodes[-1].command("CLUSTER", "FAILOVER", "TAKEOVER")
        done: list[object] = []
        publish_until_done(bench, group, b"b", done)
        bench.wait_for(lambda: len(bench.ears.publications) >= 2, 10)
        assert texts([each for _, each, _ in bench.ears.publications]) == ["a", "b"]
        bench.wait_for(lambda: not bench.engine.away, 10)
    finally:
        bench.close()
        cluster.remove()


def test_a_node_that_has_lost_its_data_is_told_who_is_present() -> None:
    """The leases lie at another one, and so do not tell."""
    cluster = Cluster(2)
    bench = ClusterBench(cluster)
    try:
        group = bench.group_at(0, "who")
        bench.engine.enter(group, member("g-1"))
        bench.wait_for(lambda: bench.engine._servers.idle)
        assert present(bench, group) == ["g-1"]
        cluster.nodes[0].kill()
        bench.wait_for(lambda: bench.engine.away > 0)
        cluster.nodes[0].start()
        wait(lambda: all(b"state:ok" in n.command("CLUSTER", "INFO") for n in cluster.nodes))
        bench.wait_for(lambda: not bench.engine.away, 20)
        bench.wait_for(lambda: bench.engine._servers.idle, 10)
        bench.engine._ticked = 0.0
        bench.engine.expire()
        bench.wait_for(lambda: bench.engine._servers.idle, 10)
        assert present(bench, group) == ["g-1"]
    finally:
        bench.close()
        cluster.remove()


def publish_until_done(bench: RedisBench, group: str, data: bytes, done: list[object]) -> None:
    """Try again until it is taken, as whoever is told that it failed may."""

    def tried(outcome: object) -> None:
        if isinstance(outcome, Position):
            done.append(outcome)
        else:
            bench.loop.call_later(0.05, lambda: bench.engine.publish(group, TEXT, data, done=tried))

    bench.engine.publish(group, TEXT, data, done=tried)
    bench.wait_for(lambda: bool(done), 20)


@pytest.fixture
def sentinel() -> Iterator[Sentinel]:
    sentinel = Sentinel()
    yield sentinel
    sentinel.remove()


def test_sentinels_name_another_primary(sentinel: Sentinel) -> None:
    """Several seconds: a Sentinel wants to be sure."""
    bench = RedisBench(sentinel)  # type: ignore[arg-type]
    own = publisher(sentinel.url, bench.project)
    bench.engine._calls._clock = time.time
    try:
        bench.engine.subscribe("kept-1")
        position(bench, "kept-1")
        own.send([Publish(0, "kept-1", TEXT, b"a")])
        bench.wait_for(lambda: len(bench.ears.publications) == 1)
        wait(lambda: replicated(sentinel))
        sentinel.primary.kill()
        bench.wait_for(lambda: bench.engine.away > 0)
        bench.wait_for(lambda: not bench.engine.away, 20)
        ask(bench, bench.engine.publish, "kept-1", TEXT, b"b")
        wait(lambda: sent(own, Publish(0, "kept-1", TEXT, b"c")))
        bench.wait_for(lambda: len(bench.ears.publications) == 3)
        told = [each for _, each, _ in bench.ears.publications]
        assert texts(told) == ["a", "b", "c"]
        assert [each.offset - told[0].offset for each in told] == [0, 1, 2]
        assert bench.ears.gaps == []
    finally:
        own.close()
        bench.close()


def sent(engine: Engine, message: Publish) -> bool:
    """Whether it was taken; redis-py believes a Sentinel only when it is sure."""
    engine._resting = 0.0
    try:
        engine.send([message])
    except GatewayUnavailable:
        return False
    return True


def replicated(sentinel: Sentinel) -> bool:
    def offset(info: bytes, name: bytes) -> bytes:
        return info.partition(name + b":")[2].partition(b"\r\n")[0]

    ours = offset(sentinel.primary.command("INFO", "replication"), b"master_repl_offset")
    theirs = offset(sentinel.replica.command("INFO", "replication"), b"slave_repl_offset")
    return ours == theirs


def test_a_node_of_a_cluster_is_no_single_server(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    bench = RedisBench(cluster.nodes[0], up=False)
    try:
        bench.wait_for(lambda: "ENGINE has to begin with redis+cluster://" in caplog.text)
        assert bench.engine.away > 0
    finally:
        bench.close()
