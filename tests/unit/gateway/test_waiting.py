"""Handshakes that wait: in turn by address, and gone at once when their browser is."""

from __future__ import annotations

import pytest

from django_ws.wire.messages import Accept
from tests.unit.gateway.fakes import World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch, max_pending_handshakes=2)


def test_addresses_take_turns(world: World) -> None:
    for _ in range(600):
        world.handshake(address="10.0.0.1")
    world.handshake(address="10.0.0.2")
    world.handshake(address="10.0.0.3")
    worker = world.worker()
    asked = []
    for _ in range(3):
        for event in worker.take():
            asked.append(event.conn)
            worker.say(Accept(event.conn, ""), acks={event.conn: 1})
    assert asked[:4] == [1, 601, 602, 2]


def test_those_of_one_address_come_in_order(world: World) -> None:
    sessions = [world.handshake() for _ in range(10)]
    worker, asked = world.worker(), []
    while events := worker.take():
        for event in events:
            asked.append(event.conn)
            worker.say(Accept(event.conn, ""), acks={event.conn: 1})
    assert asked == [session.conn for session in sessions]


def test_namespaces_take_turns(world: World) -> None:
    worker = world.worker(chat="close")
    for _ in range(20):
        world.handshake("chat", address="10.0.0.1")
    world.handshake("default", address="10.0.0.2")
    (first, second) = worker.take()
    worker.say(Accept(first.conn, ""), Accept(second.conn, ""))
    assert "default" in [event.namespace for event in worker.take()]


def test_whoever_leaves_is_gone_at_once(world: World) -> None:
    """Also behind one that stays, and while there is no worker at all."""
    world.handshake()
    for _ in range(1000):
        world.handshake().disconnected(1006, "")
    world.loop.run()
    assert len(world.registry.sessions) == 1
    assert [session.conn for session in world.registry.sessions.waiting] == [1]
    waiting = world.registry.sessions.waiting
    assert waiting.namespaces == ["default"]


def test_nothing_is_left_of_addresses_and_namespaces(world: World) -> None:
    for number in range(100):
        session = world.handshake(f"n{number}", address=f"10.0.0.{number}")
        session.disconnected(1006, "")
    world.loop.run()
    assert not world.registry.sessions.waiting
