"""What any Django process may ask of a gateway, without ever having said Hello."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest

from django_ws.gateway.session_state import State
from django_ws.options import GroupConfig
from django_ws.wire.codec import ReplyBatch, encode
from django_ws.wire.messages import (
    TEXT,
    WIRE_VERSION,
    Accept,
    Answer,
    Disconnect,
    Expel,
    GetHistory,
    GetPosition,
    GetPresence,
    Heartbeat,
    Identity,
    Info,
    Join,
    Joined,
    Position,
    Present,
    Publish,
    Recent,
    Recheck,
    Refuse,
    Restore,
    Revalidate,
    Role,
    Send,
    UseTicket,
)
from tests.unit.gateway.fakes import FakeClient, FakeWorker, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def publisher(world: World, *messages: Any, project: str = "p", role: int = Role.PUBLISHER) -> None:
    """One batch of a publisher."""
    batch = ReplyBatch(WIRE_VERSION, project, "p" * 16, "", 0, 0, list(messages), {}, role)
    world.replies.batches.append((b"a dealer", encode(batch)))
    world.loop.fire(7)


def answers(world: World) -> list[Any]:
    found, world.replies.answers = world.replies.answers, []
    assert all(identity == b"a dealer" for identity, _ in found)
    return [answer for _, answer in found]


def value(answer: Answer, kind: Any) -> Any:
    return msgspec.msgpack.decode(answer.value, type=kind)


def expel(**which: str) -> Expel:
    words = {"user": "", "session": "", "group": "", "id": ""} | which
    return Expel(9, code=4401, reason="logged out", **words)


def test_a_publication_reaches_the_members_and_is_answered(world: World) -> None:
    worker = world.worker()
    (session, client), (_, other) = world.connection(worker), world.connection(worker)
    worker.say(Join(session.conn, "g"))
    publisher(world, Publish(5, "g", TEXT, b"hello"), Publish(0, "g", TEXT, b"unasked"))
    assert (client.got, other.got) == ([b"hello", b"unasked"], [])
    (answer,) = answers(world)
    assert answer.request == 5
    assert value(answer, Position).offset == 0


def test_a_publication_needs_no_worker(world: World) -> None:
    publisher(world, Publish(1, "g", TEXT, b"hello"))
    assert [type(answer) for answer in answers(world)] == [Answer]


@pytest.mark.parametrize(
    ("exclude", "excluded"), [("gw-1", True), ("other-1", False), ("gw-2", False), ("x", False)]
)
def test_who_is_excluded_is_named_by_its_id(world: World, exclude: str, excluded: bool) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    worker.say(Join(session.conn, "g"))
    publisher(world, Publish(1, "g", TEXT, b"hello", exclude))
    assert (client.got == []) == excluded


def test_what_is_too_big_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, max_message_size=2_000_000)
    publisher(world, Publish(1, "g", TEXT, bytes(2_000_001)), Publish(2, "g", TEXT, b""))
    failed, answer = answers(world)
    assert (failed.request, failed.code, answer.request) == (1, "too_big", 2)


KEPT = {"kept-*": GroupConfig(history_size=3, history_ttl=60, presence=True, join_leave=True)}


@pytest.fixture
def keeping(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch, groups=KEPT)


def asked(world: World, message: Any, kind: Any) -> Any:
    publisher(world, message)
    return value(answers(world)[-1], kind)


def test_publications_are_numbered_and_kept(keeping: World) -> None:
    for number in range(4):
        publisher(keeping, Publish(0, "kept-a", TEXT, b"%d" % number))
    position = asked(keeping, GetPosition(7, "kept-a"), Position)
    assert position.offset == 4
    recent = asked(keeping, GetHistory(8, "kept-a", None, 10), Recent)
    assert [(each.offset, each.data) for each in recent.publications] == [
        (2, b"1"), (3, b"2"), (4, b"3"),
    ]  # fmt: skip
    since = Position(3, position.epoch)
    newer = asked(keeping, GetHistory(9, "kept-a", since, 10), Recent)
    assert [each.offset for each in newer.publications] == [4]
    assert asked(keeping, GetPosition(9, "other"), Position).offset == 0


def test_who_joins_from_a_position_has_first_what_came_since(keeping: World) -> None:
    worker = keeping.worker()
    session, client = keeping.connection(worker)
    publisher(keeping, Publish(0, "kept-a", TEXT, b"1"), Publish(0, "kept-a", TEXT, b"2"))
    epoch = asked(keeping, GetPosition(7, "kept-a"), Position).epoch
    worker.say(Join(session.conn, "kept-a", 5, Position(1, epoch)))
    publisher(keeping, Publish(0, "kept-a", TEXT, b"3"))
    assert client.got == [b"2", b"3"]
    keeping.loop.run()
    assert Joined(session.conn, 5, 2, epoch) in worker.take()


def test_who_joins_before_it_is_accepted_misses_nothing(keeping: World) -> None:
    worker = keeping.worker()
    session = keeping.handshake()
    worker.say(Join(session.conn, "kept-a", 5))
    publisher(keeping, Publish(0, "kept-a", TEXT, b"1"))
    worker.say(Accept(session.conn, ""))
    client = FakeClient(session)
    session.attach(client)
    assert client.got == [b"1"]


def test_nobody_is_told_of_who_is_not_accepted(keeping: World) -> None:
    worker = keeping.worker()
    _, client = keeping.connection(worker)
    worker.say(Join(client.session.conn, "kept-a"))
    for position in (None, Position(0, "")):
        session = keeping.handshake()
        before = len(client.got)
        worker.say(Info(session.conn, b'{"name":"ann"}'))
        worker.say(Join(session.conn, "kept-a", 5, position))
        assert len(asked(keeping, GetPresence(7, "kept-a"), list[Present])) == 1
        worker.say(Accept(session.conn, "", "7", "s"))
        who = {"id": f"gw-{session.conn}", "user": "7", "info": {"name": "ann"}}
        assert [json.loads(each) for each in client.got[before:]] == [who]
        assert asked(keeping, GetPresence(7, "kept-a"), list[Present])[1].user == "7"
        session.attach(FakeClient(session))
        session.disconnected(1001, "")
        keeping.loop.run()
        assert [json.loads(each) for each in client.got[before:]] == [who, who]

    refused = keeping.handshake()
    before = len(client.got)
    worker.say(Join(refused.conn, "kept-a", 5), Refuse(refused.conn, 403, ""))
    assert len(client.got) == before


def test_who_is_there_and_who_comes_and_goes(keeping: World) -> None:
    worker = keeping.worker()
    first, client = keeping.connection(worker)
    second, other = keeping.connection(worker)
    worker.say(Identity(first.conn, "7", "s"), Info(first.conn, b'{"name":"ann"}'))
    worker.say(Join(first.conn, "kept-a"), Join(second.conn, "kept-a"))
    present = asked(keeping, GetPresence(7, "kept-a"), list[Present])
    assert [(each.id, each.user, each.info) for each in present] == [
        (f"gw-{first.conn}", "7", b'{"name":"ann"}'), (f"gw-{second.conn}", "", b""),
    ]  # fmt: skip
    assert b"gw-%d" % second.conn in client.got[-1]
    worker.say(Info(second.conn, b'{"name":"bob"}'))
    present = asked(keeping, GetPresence(7, "kept-a"), list[Present])
    assert present[1].info == b'{"name":"bob"}'
    other.session.disconnected(1001, "")
    keeping.loop.run()
    assert len(client.got) == 2
    assert [each.id for each in asked(keeping, GetPresence(7, "kept-a"), list[Present])] == [
        f"gw-{first.conn}"
    ]


def test_a_message_to_a_user_reaches_each_of_its_connections(world: World) -> None:
    worker = world.worker()
    clients = []
    for user in ("7", "7", "8"):
        session, client = world.connection(worker)
        worker.say(Identity(session.conn, user, ""))
        clients.append(client)
    publisher(world, Publish(4, "", TEXT, b"x", user="7"))
    assert [client.got for client in clients] == [[b"x"], [b"x"], []]
    assert answers(world)[-1].request == 4


def test_a_ticket_is_used_up_once(world: World) -> None:
    use = UseTicket(3, "n" * 32, time.time() + 60)
    publisher(world, use)
    publisher(world, use)
    assert [value(answer, int) for answer in answers(world)] == [1, 0]


def test_the_workers_of_a_user_are_asked_whether_it_may_stay(world: World) -> None:
    worker = world.worker()
    (session, _), _ = world.connection(worker, user="7"), world.connection(worker, user="8")
    publisher(world, Recheck(3, "7"))
    assert [value(answer, int) for answer in answers(world)] == [1]
    assert worker.take() == [Revalidate(session.conn)]


def test_another_project_is_told_so(world: World, caplog: pytest.LogCaptureFixture) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    worker.say(Join(session.conn, "g"))
    publisher(world, Publish(3, "g", TEXT, b"x"), Publish(0, "g", TEXT, b"x"), project="another")
    (failed,) = answers(world)
    assert (failed.request, failed.code) == (3, "wrong_project")
    assert client.got == []
    assert world.registry.counters["replies_misplaced"] == 2
    publisher(world, Publish(0, "g", TEXT, b"x"), project="another")
    (record,) = caplog.records
    assert "'another'" in record.getMessage()


def test_a_publisher_says_nothing_that_is_a_workers_and_the_other_way_round(world: World) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    publisher(world, Send(session.conn, TEXT, b"x"), Heartbeat(accepting=False), Join(1, "g"))
    worker.say(Publish(4, "g", TEXT, b"x"), Send(session.conn, TEXT, b"y"))
    assert client.got == [b"y"]
    assert world.registry.counters["replies_misplaced"] == 3
    assert (world.registry.workers, answers(world)) == (1, [])


@pytest.mark.parametrize("role", [Role.GATEWAY, 17])
def test_other_roles_are_passed_over(world: World, role: int) -> None:
    publisher(world, Publish(1, "g", TEXT, b"x"), role=role)
    assert world.registry.counters["replies_misplaced"] == 1
    assert answers(world) == []


def test_a_request_that_only_a_newer_publisher_knows_is_skipped(world: World) -> None:
    batch = encode([2, "p", "p" * 16, "", 0, 0, [[99, 1], [35, 2, "g"]], {}, 3])
    world.replies.batches.append((b"a dealer", batch))
    world.loop.fire(7)
    assert world.registry.counters["messages_unknown"] == 1
    assert [answer.request for answer in answers(world)] == [2]


# ---------------------------------------------------------------- closing


def people(world: World, worker: FakeWorker) -> list[Any]:
    """Connections of users 1, 1 (another session), 2 and nobody; the first two in a group."""
    found = [
        world.connection(worker, user=user, key=key)
        for user, key in [("1", "a"), ("1", "b"), ("2", "c"), ("", "")]
    ]
    worker.say(Join(1, "g"), Join(2, "g"))
    return found


@pytest.mark.parametrize(
    ("which", "closed"),
    [
        ({"user": "1"}, [1, 2]),
        ({"session": "b"}, [2]),
        ({"user": "2", "session": "b"}, []),
        ({"group": "g"}, [1, 2]),
        ({"group": "g", "session": "a"}, [1]),
        ({"id": "gw-4"}, [4]),
        ({"id": "gw-1", "user": "2"}, []),
        ({"id": "other-1"}, []),
        ({"id": "gw-99"}, []),
        ({"user": "3"}, []),
        ({}, []),
    ],
    ids=str,
)
def test_all_of_what_is_said_must_apply(
    world: World, which: dict[str, str], closed: list[int]
) -> None:
    worker = world.worker()
    clients = people(world, worker)
    publisher(world, expel(**which))
    assert [s.conn for s, client in clients if client.closed == (4401, "logged out")] == closed
    assert [s.conn for s, client in clients if client.closed] == closed
    (answer,) = answers(world)
    assert value(answer, int) == len(closed)
    assert [event.conn for event in worker.take() if isinstance(event, Disconnect)] == closed


@pytest.mark.parametrize(("code", "reason"), [(999, ""), (5000, ""), (4401, "ä" * 62)])
def test_what_no_close_frame_can_say_closes_nothing(world: World, code: int, reason: str) -> None:
    worker = world.worker()
    _, client = world.connection(worker, user="1")
    publisher(world, Expel(3, "1", "", "", "", code, reason))
    assert client.closed is None
    assert [answer.code for answer in answers(world)] == ["bad_close"]


def test_whose_connection_it_is_may_change(world: World) -> None:
    worker = world.worker()
    session, client = world.connection(worker, user="1", key="a")
    worker.say(Identity(session.conn, "2", "b"))
    publisher(world, expel(user="1"), expel(session="a"))
    assert client.closed is None
    publisher(world, expel(user="2", session="b"))
    assert client.closed == (4401, "logged out")


def test_nothing_is_left_of_those_who_left(world: World) -> None:
    worker = world.worker()
    for session, _ in people(world, worker):
        session.disconnected(1001, "")
        worker.take()
        worker.say(acks={session.conn: session.seq})
    world.loop.run()
    sessions = world.registry.sessions
    assert not sessions.by_conn
    assert not sessions.by_user.find("1") + sessions.by_key.find("a")
    assert (sessions.by_user.count("1"), sessions.by_key.count("b")) == (0, 0)
    publisher(world, expel(user="1"))
    assert value(answers(world)[0], int) == 0


def test_one_without_a_worker_is_closed_too_and_ends_at_the_next(world: World) -> None:
    old = world.worker("w1")
    session, client = world.connection(old, user="1")
    session.receive(TEXT, b"not handled yet")
    old.link_changes(False)
    publisher(world, expel(user="1"))
    assert client.closed == (4401, "logged out")
    assert session.state is State.ENDING_ADRIFT
    new = world.worker("w2", started=2)
    restore, disconnect = new.take()
    assert isinstance(restore, Restore)
    assert (restore.ended, disconnect.code) == (True, 4401)


def test_who_is_closed_is_no_match_any_more(world: World) -> None:
    worker = world.worker()
    world.connection(worker, stays=True, user="1")
    publisher(world, expel(user="1"), expel(user="1"))
    assert [value(answer, int) for answer in answers(world)] == [1, 0]
