"""Logouts and changes of users while connections are on their way."""

from __future__ import annotations

import pytest

from django_ws.gateway.session_state import State
from django_ws.wire.messages import (
    TEXT,
    Accept,
    Expel,
    Identity,
    Recheck,
    Released,
    Restore,
    Retiring,
    Revalidate,
    Snapshot,
)
from tests.unit.gateway.fakes import FakeClient, FakeWorker, World
from tests.unit.gateway.test_publishers import publisher


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def logout(key: str, over: bool = True) -> Expel:
    return Expel(0, "", key, "", "", 4401, "logged out", over)


def looked_at(worker: FakeWorker) -> list[int]:
    return [event.conn for event in worker.take() if isinstance(event, Revalidate)]


def test_a_handshake_during_the_logout_does_not_slip_through(world: World) -> None:
    worker = world.worker()
    session = world.handshake()
    publisher(world, logout("a"))
    worker.say(Accept(session.conn, "", "7", "a"), acks={session.conn: 1})
    client = FakeClient(session)
    session.attach(client)
    assert client.closed == (4401, "logged out")
    worker.take()
    # Nor what is found to be of it later, or comes with the old cookie.
    later, closed = world.connection(worker)
    worker.say(Identity(later.conn, "7", "a"))
    assert closed.closed == (4401, "logged out")
    worker.take()
    assert world.connection(worker, user="7", key="a")[1].closed == (4401, "logged out")
    worker.take()
    assert world.connection(worker, user="7", key="b")[1].closed is None


def test_it_is_forgotten_after_a_time(world: World) -> None:
    worker = world.worker()
    publisher(world, logout("a"))
    world.loop.now += 3600
    assert world.connection(worker, user="7", key="a")[1].closed is None


def test_who_is_only_sent_away_may_come_back(world: World) -> None:
    worker = world.worker()
    publisher(world, logout("a", over=False), logout("", over=True))
    assert world.connection(worker, user="7", key="a")[1].closed is None
    assert world.connection(worker)[1].closed is None


def test_a_handshake_during_a_change_is_looked_at(world: World) -> None:
    worker = world.worker()
    session = world.handshake()
    publisher(world, Recheck(0, "7"))
    worker.take()
    worker.say(Accept(session.conn, "", "7", "a"), acks={session.conn: 1})
    assert looked_at(worker) == [session.conn]
    # Who comes after the change has been let in by it.
    world.connection(worker, user="7", key="a")
    assert looked_at(worker) == []


@pytest.mark.parametrize("dies", [True, False])
def test_one_between_two_workers_is_looked_at_by_the_next(world: World, dies: bool) -> None:
    old = world.worker("w1")
    session, client = world.connection(old, user="7", key="a")
    if dies:
        publisher(world, Recheck(0, "7"))
        old.take()
        old.link_changes(False)  # before it has looked
    else:
        old.say(Retiring())
        old.say(Released(session.conn, Snapshot()))
        publisher(world, Recheck(0, "7"))
    new = world.worker("w2", started=2)
    world.loop.run()
    restore, *others = new.take()
    assert isinstance(restore, Restore)
    assert (restore.user, restore.session) == ("7", "a")
    assert others == [Revalidate(session.conn)]
    assert client.closed is None
    assert session.state is State.OPEN


def test_who_is_being_closed_is_not_looked_at(world: World) -> None:
    worker = world.worker()
    session, _ = world.connection(worker, stays=True, user="7")
    session.receive(TEXT, b"hello")
    session.give_up(4000, "")
    worker.take()
    publisher(world, Recheck(0, "7"))
    assert looked_at(worker) == []


def test_where_logouts_may_have_been_missed_all_are_looked_at(world: World) -> None:
    """An engine keeps a bounded number of them for a gateway whose connection broke."""
    worker = world.worker()
    first, _ = world.connection(worker, user="7", key="a")
    second, _ = world.connection(worker, user="8", key="b")
    world.connection(worker)  # nobody's
    worker.take()
    world.registry.sessions.recheck_all()
    assert looked_at(worker) == [first.conn, second.conn]
