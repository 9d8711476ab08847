"""A client says from where on it wants its groups: what comes first, and what it is told."""

from __future__ import annotations

import pytest

from django_ws.gateway.outgoing import Membership
from django_ws.gateway.session import Session
from django_ws.gateway.wanted import Wanted
from django_ws.options import GroupConfig
from django_ws.wire.messages import (
    TEXT,
    Accept,
    Connect,
    GroupSend,
    Join,
    Joined,
    Leave,
    Position,
)
from tests.unit.gateway.fakes import FakeClient, FakeWorker, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch, groups={"room*": GroupConfig(history_size=3)})


def publish(worker: FakeWorker, group: str, *texts: str) -> None:
    worker.say(*[GroupSend(group, TEXT, text.encode()) for text in texts])


def epoch(world: World) -> str:
    found: list[str] = []
    engine = world.registry.sessions.groups.engine
    engine.position("room", lambda position: found.append(position.epoch))  # type: ignore[union-attr]
    return found[0]


def begin(
    world: World, worker: FakeWorker, *wanted: tuple[str, Position], join: Join | None = None
) -> tuple[Session, FakeClient]:
    """A client that wants something, and joins before it is accepted."""
    session = world.handshake()
    session.wanted = Wanted(wanted)
    assert [type(event) for event in worker.take()] == [Connect]
    worker.say(join or Join(session.conn, "room", 1))
    worker.say(Accept(session.conn, ""), acks={session.conn: 1})
    client = FakeClient(session)
    session.attach(client)
    return session, client


def test_what_was_published_meanwhile_comes_first(world: World) -> None:
    worker = world.worker()
    publish(worker, "room", "1", "2", "3")
    session, client = begin(world, worker, ("room", Position(1, epoch(world))))
    publish(worker, "room", "4")
    assert client.got == [b"joined 1", b"2", b"3", b"4"]
    assert client.told == [Membership("room", Position(1, epoch(world)), recovered=True)]
    assert worker.take()[-1] == Joined(session.conn, 1, 3, epoch(world))


def test_a_history_that_does_not_reach_back_is_told(world: World) -> None:
    worker = world.worker()
    publish(worker, "room", "1", "2", "3", "4", "5")
    _, client = begin(world, worker, ("room", Position(1, epoch(world))))
    assert client.got == [b"joined 2", b"3", b"4", b"5"]
    assert not client.told[0].recovered


def test_another_epoch_is_another_history(world: World) -> None:
    worker = world.worker()
    publish(worker, "room", "1")
    _, client = begin(world, worker, ("room", Position(1, "before")))
    assert client.got == [b"joined 0", b"1"]
    assert not client.told[0].recovered


def test_without_a_position_it_is_told_where_it_begins(world: World) -> None:
    worker = world.worker()
    publish(worker, "room", "1")
    _, client = begin(world, worker, ("other", Position(1, epoch(world))))
    publish(worker, "room", "2")
    assert client.got == [b"joined 1", b"2"]
    assert client.told[0].recovered


@pytest.mark.parametrize(("offset", "got"), [(2, [b"joined 2", b"3"]), (9, [b"joined 3"])])
def test_one_without_a_group_is_no_group_s_that_is_not_as_far(
    world: World, offset: int, got: list[bytes]
) -> None:
    worker = world.worker()
    publish(worker, "room", "1", "2", "3")
    _, client = begin(world, worker, ("", Position(offset, epoch(world))))
    assert client.got == got
    assert client.told[0].recovered


def test_a_handler_that_says_so_itself_is_right(world: World) -> None:
    worker = world.worker()
    publish(worker, "room", "1", "2", "3")
    join = Join(1, "room", 1, Position(2, epoch(world)))
    _, client = begin(world, worker, ("room", Position(0, epoch(world))), join=join)
    assert client.got == [b"joined 2", b"3"]


def test_groups_without_history_have_no_positions(world: World) -> None:
    worker = world.worker()
    session, client = begin(world, worker, ("plain", Position(5, "any")), join=Join(1, "plain", 0))
    publish(worker, "plain", "a")
    assert client.got == [b"joined 0", b"a"]
    assert client.told == [Membership("plain", Position(0, ""))]
    worker.say(Leave(session.conn, "plain"))
    assert client.told[-1] == Membership("plain", None)


def test_a_handshake_that_is_asked_about_again_begins_anew(world: World) -> None:
    worker = world.worker()
    publish(worker, "room", "1", "2")
    session = world.handshake()
    session.wanted = Wanted([("room", Position(1, epoch(world)))])
    worker.take()
    worker.say(Join(session.conn, "room", 1))
    worker.link_changes(False)
    other = world.worker("w2")
    assert [type(event) for event in other.take()] == [Connect]
    other.say(Join(session.conn, "room", 1))
    other.say(Accept(session.conn, ""), acks={session.conn: 1})
    client = FakeClient(session)
    session.attach(client)
    assert client.got == [b"joined 1", b"2"]


def test_plain_clients_hear_nothing_of_it(world: World) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    worker.say(Join(session.conn, "room", 1), Leave(session.conn, "room"))
    assert client.got == []
