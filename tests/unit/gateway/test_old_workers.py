"""A gateway of today and a worker of the release before, which speaks version 1 of the wire."""

from __future__ import annotations

import pytest

from django_ws.gateway.session_state import State
from django_ws.wire.codec import encode
from django_ws.wire.messages import TEXT, Accept, Refuse, Snapshot
from tests import version_one as old
from tests.unit.gateway.fakes import FakeClient, FakeSender, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch, incarnation=old.GATEWAY)


def hear(world: World, data: bytes) -> None:
    world.replies.batches.append((b"an old worker", data))
    world.loop.fire(7)


def said(world: World, sender: FakeSender) -> list[str]:
    """What an old worker reads of all that it was sent since the last time."""
    world.loop.advance(0.002, 0.002)
    batches, sender.sent = sender.sent, []
    names = {1: "Welcome", 2: "Connect", 3: "Message", 4: "Disconnect", 5: "Confirm", 6: "Release"}
    return [
        names.get(message[0], "Restore")
        for batch in batches
        for message in old.read(encode(batch), old.EVENTS)
    ]


def test_an_old_worker_serves_connections_of_a_new_gateway(world: World) -> None:
    hear(world, old.HELLO)
    (sender,) = world.senders
    assert said(world, sender) == ["Welcome"]
    hear(world, old.HEARTBEAT)
    assert world.registry.workers == 1
    assert world.registry.sessions.namespaces["default"].on_worker_lost == "redeliver"
    one, two, three = (world.handshake() for _ in range(3))
    assert said(world, sender) == ["Connect"] * 3

    hear(world, old.ACCEPTED)
    assert one.verdict.result() == Accept(1, "chat", "7")
    assert world.registry.sessions.find("7", "", "", 0) == [one]
    client = FakeClient(one)
    one.attach(client)
    assert client.got == [b"hi"]
    assert one.snapshot == Snapshot(b"\x81\xa1n\x01", "backend\x001", movable=True)

    one.receive(TEXT, b"x")
    assert said(world, sender) == ["Message"]
    hear(world, old.SAID)
    assert client.got == [b"hi", b"all"]
    assert client.closed == (4000, "enough")
    assert said(world, sender) == ["Disconnect"]

    hear(world, old.REFUSED)
    assert two.verdict.result() == Refuse(2, 418, "teapot")
    three.attach(FakeClient(three))
    hear(world, old.RETIRING)
    assert said(world, sender) == ["Release", "Release"]
    hear(world, old.RELEASED)
    assert three.state is State.ADRIFT
    assert world.registry.counters == {}


def test_a_connection_moves_from_a_new_worker_to_an_old_one_and_back(world: World) -> None:
    hear(world, old.HELLO)
    hear(world, old.HEARTBEAT)
    (sender,) = world.senders
    session = world.handshake()
    hear(world, old.ACCEPTED)
    session.attach(FakeClient(session))
    said(world, sender)
    new = world.worker("w2", started=2000.0)
    sender.events.append(False)
    world.loop.fire(sender.monitor_fileno())
    (restore,) = new.take()
    assert (restore.conn, restore.subprotocol, restore.groups) == (1, "chat", ["g"])
    assert {batch.version for batch in new.sender.sent} == {2}
