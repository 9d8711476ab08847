"""The replies link is read in turns, whatever comes, and everything stays in order."""

from __future__ import annotations

from typing import Any

import pytest

from django_ws.gateway.replies import TURN_BYTES, TURN_DELIVERIES
from django_ws.gateway.session import Session
from django_ws.wire.codec import encode
from django_ws.wire.messages import TEXT, GroupSend, Join, Send
from tests.unit.gateway.fakes import FakeClient, FakeWorker, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def members(world: World, worker: FakeWorker, count: int) -> list[tuple[Session, FakeClient]]:
    connections = [world.connection(worker) for _ in range(count)]
    worker.say(*(Join(session.conn, "g") for session, _ in connections))
    return connections


def queue(worker: FakeWorker, *messages: Any) -> None:
    """A batch that is there when the loop next looks."""
    worker.number += 1
    batch = worker.batch(list(messages), worker.number)
    worker.world.replies.batches.append((worker.incarnation.encode(), encode(batch)))


def turn(world: World) -> None:
    """One turn of the loop."""
    todo, world.loop.soon = world.loop.soon, []
    for callback, args in todo:
        callback(*args)


def begin(world: World) -> None:
    callback, args = world.loop.readers[7]
    callback(*args)


def delivered(connections: list[tuple[Session, FakeClient]]) -> int:
    return sum(len(client.got) for _, client in connections)


@pytest.mark.parametrize(("count", "size"), [(50, 10), (5, 60_000)])
def test_a_burst_of_group_messages_takes_many_turns(world: World, count: int, size: int) -> None:
    worker = world.worker()
    connections = members(world, worker, count)
    for number in range(400):
        queue(worker, GroupSend("g", TEXT, b"%03d" % number + bytes(size)))
    begin(world)
    before, turns = 0, 1
    while (now := delivered(connections)) < 400 * count:
        assert now - before <= TURN_DELIVERIES
        assert (now - before) * size <= TURN_BYTES + count * size
        before, turns = now, turns + 1
        turn(world)
    assert turns >= 10
    for _, client in connections:
        assert [data[:3] for data in client.got] == [b"%03d" % number for number in range(400)]


def test_a_group_larger_than_a_turn_gets_its_message_in_parts(world: World) -> None:
    worker = world.worker()
    connections = members(world, worker, 30)
    queue(worker, GroupSend("g", TEXT, bytes(100_000)), Send(1, TEXT, b"after"))
    begin(world)
    assert 0 < delivered(connections) < 30
    world.loop.run()
    assert delivered(connections) == 31
    assert connections[0][1].got[-1] == b"after"


def test_own_messages_and_those_of_groups_stay_in_order(world: World) -> None:
    worker = world.worker()
    connections = members(world, worker, 40)
    for number in range(100):
        queue(
            worker,
            GroupSend("g", TEXT, b"%d" % (2 * number) + b" " * 2000),
            *(Send(session.conn, TEXT, b"%d" % (2 * number + 1)) for session, _ in connections),
        )
    begin(world)
    turn(world)
    connections[7][0].disconnected(1001, "")  # leaves in the middle
    world.loop.run()
    for index, (_, client) in enumerate(connections):
        numbers = [int(data) for data in client.got]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) == 200 or index == 7


def test_while_it_is_held_it_delivers_and_takes_nothing_on(world: World) -> None:
    """Also in the middle of a batch, and a worker that has died meanwhile is heard to the end."""
    replies = world.registry._replies
    assert replies is not None
    worker = world.worker()
    connections = members(world, worker, 30)
    queue(worker, GroupSend("g", TEXT, bytes(100_000)), *(Join(1, f"g{n}") for n in range(3)))
    queue(worker, Send(1, TEXT, b"after"))
    begin(world)
    assert 0 < delivered(connections) < 30
    replies.hold(True)
    world.loop.run()
    assert delivered(connections) == 30
    world.registry.worker_died("w1")
    assert world.registry.workers == 1
    replies.hold(False)
    world.loop.run()
    assert connections[0][1].got[-1] == b"after"
    assert world.registry.workers == 0


def test_what_a_worker_said_before_its_end_counts_in_later_turns(world: World) -> None:
    worker = world.worker()
    connections = members(world, worker, 40)
    for number in range(100):
        queue(worker, GroupSend("g", TEXT, b"%d" % number + b" " * 5000))
    queue(worker, Send(1, TEXT, b"last"))
    begin(world)
    world.registry.worker_died("w1")
    assert delivered(connections) < 4000
    world.loop.run()
    assert delivered(connections) == 4001
    assert world.registry.workers == 0


def test_a_message_that_fails_here_takes_no_other_along(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = world.worker()
    (_, bad), (_, good) = members(world, worker, 2)

    def fails(opcode: int, data: bytes) -> None:
        raise OSError("no buffers")

    monkeypatch.setattr(bad, "send", fails)
    worker.say(Send(1, TEXT, b"x"), Send(2, TEXT, b"y"))
    worker.say(Send(1, TEXT, b"x"), GroupSend("g", TEXT, b"z"))
    assert good.got == [b"y", b"z"]
    assert world.registry.counters["replies_failed"] == 2
    assert "no buffers" in caplog.text
    worker.beat()
    assert world.registry.workers == 1


def test_a_batch_that_cannot_be_begun_does_not_end_the_reading(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when there is no descriptor left for the link to a new worker."""

    def fails(endpoint: str, silence: float) -> None:
        raise OSError(24, "Too many open files")

    worker = world.worker()
    (_, client), _ = members(world, worker, 2)
    with monkeypatch.context() as patch:
        patch.setattr("django_ws.gateway.workers.EventsSender", fails)
        world.stranger("w2").hello()
    worker.say(Send(1, TEXT, b"x"))
    assert client.got == [b"x"]
    world.worker("w2", started=2)
    assert world.registry.workers == 2
