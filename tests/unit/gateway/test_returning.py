"""A browser is back: the gateway's question to a worker, and what becomes of it."""

from __future__ import annotations

import pytest

from django_ws.gateway.returning import Returning
from django_ws.gateway.session import Session
from django_ws.gateway.session_state import State
from django_ws.wire.messages import (
    TEXT,
    Accept,
    Disconnect,
    Message,
    Refuse,
    Release,
    Released,
    Restore,
    Resume,
    Resumed,
    Retiring,
    Snapshot,
)
from tests.unit.gateway.fakes import FakeClient, FakeWorker, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def ask(world: World, session: Session, number: int = 1) -> Returning:
    question = Returning(number, b"handshake %d" % number, world.loop.create_future())
    session.ask_to_resume(question)
    return question


def test_a_yes_brings_the_new_handshake(world: World) -> None:
    worker = world.worker()
    session, _ = world.connection(worker, user="7")
    question = ask(world, session)
    assert worker.take() == [Resume(session.conn, 1, b"handshake 1", "7")]
    worker.say(Resumed(session.conn, 1, 0, "", False))
    assert question.verdict.result() == Accept(session.conn, "")
    assert session.handshake == b"handshake 1"
    assert not session.returning
    assert session.live


def test_a_no_ends_the_session(world: World) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    question = ask(world, session)
    worker.take()
    worker.say(Resumed(session.conn, 1, 403, "not you", True))
    assert question.verdict.result() == Refuse(session.conn, 403, "not you")
    assert client.closed == (4403, "not you")
    assert [type(event) for event in worker.take()] == [Disconnect]


def test_a_no_to_somebody_else_does_not(world: World) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    before = session.handshake
    question = ask(world, session)
    worker.say(Resumed(session.conn, 1, 403, "another user", False))
    assert isinstance(question.verdict.result(), Refuse)
    assert client.closed is None
    assert session.handshake == before
    assert session.live


def test_a_worker_that_has_just_closed_it_says_so(world: World) -> None:
    worker = world.worker()
    session, _ = world.connection(worker)
    question = ask(world, session)
    worker.say(Resumed(session.conn, 1, 410, "", False))
    assert question.gone


def test_the_newest_question_counts(world: World) -> None:
    worker = world.worker()
    session, _ = world.connection(worker)
    first, second = ask(world, session, 1), ask(world, session, 2)
    assert (first.replaced, first.gone) == (True, False)
    worker.say(Resumed(session.conn, 1, 0, "", False))
    assert not second.verdict.done()
    worker.say(Resumed(session.conn, 2, 0, "", False))
    assert session.handshake == b"handshake 2"


def test_a_question_that_was_withdrawn_changes_nothing(world: World) -> None:
    worker = world.worker()
    session, _ = world.connection(worker)
    before = session.handshake
    session.withdraw(ask(world, session))
    worker.say(Resumed(session.conn, 1, 0, "", False))
    assert session.handshake == before
    assert session.live


def test_a_worker_of_an_earlier_release_is_not_asked(world: World) -> None:
    worker = world.stranger("w1", resumes=False).join()
    session, _ = world.connection(worker)
    question = ask(world, session)
    assert question.gone
    assert worker.take() == []
    assert session.live


@pytest.mark.parametrize("resumes", [True, False])
def test_the_next_worker_is_asked_behind_what_came_before(world: World, resumes: bool) -> None:
    worker = world.worker()
    session, _ = world.connection(worker)
    question = ask(world, session)
    worker.take()
    worker.link_changes(False)
    other = world.stranger("w2", resumes=resumes).join()
    events = other.take()
    assert [type(event) for event in events] == [Restore, Resume][: 1 + resumes]
    assert question.gone is not resumes
    assert session.live


def test_one_that_moves_is_asked_where_it_arrives(world: World) -> None:
    worker, other = world.worker(), world.stranger("w2")
    session, _ = world.connection(worker)
    other.join()
    worker.say(Retiring())
    question = ask(world, session)
    session.receive(TEXT, b"x")
    assert [type(event) for event in worker.take()] == [Release, Release]
    worker.say(Released(session.conn, Snapshot()))
    assert [type(event) for event in other.take()] == [Restore, Message, Resume]
    other.say(Resumed(session.conn, 1, 0, "", False))
    assert isinstance(question.verdict.result(), Accept)


def test_a_question_that_kills_workers_is_asked_of_three(world: World) -> None:
    session, client = world.connection(world.worker("w1"))
    ask(world, session)
    for number in range(1, 4):
        worker = FakeWorker(world, f"w{number + 1}", {"default": world_namespace(world)}, 1.0)
        assert client.closed is None
        (current,) = list(world.registry._workers.values())
        sender = next(s for s in world.senders if s.endpoint == current.hello.endpoint)
        sender.events.append(False)
        world.loop.fire(sender.monitor_fileno())
        if client.closed is None:
            worker.join()
    assert client.closed == (1012, "workers were lost over it")


def world_namespace(world: World) -> object:
    return world.registry.sessions.namespaces["default"]


def test_a_session_that_ends_answers_its_question(world: World) -> None:
    worker = world.worker()
    session, _ = world.connection(worker)
    question = ask(world, session)
    session.disconnected(1006, "")
    assert question.gone
    assert isinstance(question.verdict.result(), Refuse)
    assert session.state is State.ENDING


def test_what_is_handled_is_no_more_than_what_is(world: World) -> None:
    worker = world.worker()
    session, _ = world.connection(worker)
    assert session.handled_seq == 1
    session.receive(TEXT, b"a")
    session.receive(TEXT, b"b")
    assert session.handled_seq == 1
    worker.say(acks={session.conn: 2})
    assert session.handled_seq == 2
    worker.say(acks={session.conn: 3})
    assert session.handled_seq == 3
    session.receive(TEXT, b"c")
    stays = FakeClient(session, stays=True)
    session.attach(stays)
    session.give_up(4401, "logged out")
    assert session.handled_seq == 0  # c was dropped
