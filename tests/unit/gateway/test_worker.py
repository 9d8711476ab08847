"""What goes to one worker while it takes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from django_ws.gateway import worker as module
from django_ws.options import MAX_BATCH
from django_ws.wire.codec import encode
from django_ws.wire.messages import TEXT, Message, Restore, Snapshot
from tests.unit.gateway.fakes import World


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all batches that are encoded."""
    sizes: list[int] = []

    def count(batch: Any) -> bytes:
        data = encode(batch)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(module, "encode", count)
    return sizes


def test_what_waits_is_encoded_once(monkeypatch: pytest.MonkeyPatch, encoded: list[int]) -> None:
    world = World(monkeypatch)
    worker = world.worker()
    (known,) = world.registry._workers.values()
    worker.sender.full = True
    encoded.clear()
    messages = [Message(1, seq, TEXT, bytes(60_000)) for seq in range(2, 402)]
    for message in messages:
        known.post(message)
        world.loop.run()
        known.flush()  # the socket says ever again that it could be written
    assert sum(encoded) <= 2 * MAX_BATCH
    worker.sender.full = False
    known.flush()
    taken = worker.take()
    while len(taken) < 400:
        worker.beat()  # returns credit
        taken += worker.take()
    assert taken == messages
    assert sum(encoded) < 1.2 * 400 * 60_000
    assert max(encoded) <= MAX_BATCH + 200


def test_what_a_refused_batch_has_is_not_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    old, new = world.worker("w1"), world.worker("w2", started=2)
    session, client = world.connection(old)
    old.sender.full = True
    session.receive(TEXT, b"a")
    world.loop.run()
    session.receive(TEXT, b"b")
    old.link_changes(False)
    assert client.closed is None
    restore, *messages = new.take()
    assert isinstance(restore, Restore)
    assert [message.data for message in messages] == [b"a", b"b"]


def test_a_single_event_over_the_size_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    worker = world.worker()
    (known,) = world.registry._workers.values()
    before = len(worker.sender.sent)
    sizes = [10, 2 * MAX_BATCH, 10, 10]
    for conn, size in enumerate(sizes, 1):
        known.post(Restore(conn, 1, "default", b"", "", [], Snapshot(bytes(size)), 0, ended=False))
    worker.take()
    batches = [[event.conn for event in batch.messages] for batch in worker.sender.sent[before:]]
    assert batches == [[1], [2], [3, 4]]
