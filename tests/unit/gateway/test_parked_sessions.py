"""Sessions whose client is away: real ones, with real conversations, and all that befalls them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from django_ws.gateway.clients.conversation import Conversation
from django_ws.gateway.clients.receipts import Receipts
from django_ws.gateway.parking import Parking
from django_ws.gateway.session import Session
from django_ws.gateway.session_state import State
from django_ws.gateway.wanted import Wanted
from django_ws.wire.messages import (
    TEXT,
    Accept,
    Close,
    Confirm,
    Connect,
    Disconnect,
    GroupSend,
    Join,
    Message,
    Restore,
    Send,
)
from tests.unit.gateway.clients.test_conversation import FakeLine
from tests.unit.gateway.fakes import FakeWorker, World

MAX_PENDING = 4000


class Stage:
    """A gateway's registry, its parking, and one session of user 7."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, policy: str = "close", **limits: Any):
        self.world = World(monkeypatch, max_pending=MAX_PENDING, **limits)
        self.parking = Parking(self.world.loop, 60.0, 0, 0, Counter())  # type: ignore[arg-type]
        self.worker = self.world.worker(policy=policy)
        self.session, self.conversation, self.line = self.begin("token")

    def begin(self, token: str) -> tuple[Session, Conversation, FakeLine]:
        session = self.world.handshake()
        session.wanted = Wanted()
        assert [type(event) for event in self.worker.take()][-1] is Connect
        self.worker.say(Accept(session.conn, "", "7", "key"), acks={session.conn: 1})
        receipts = Receipts(self.world.loop)  # type: ignore[arg-type]
        conversation = Conversation(session, token, None, self.parking, receipts, MAX_PENDING)
        self.parking.admit(token, conversation)
        line = FakeLine()
        conversation.attach(line, 0)
        session.attach(conversation)
        return session, conversation, line

    def cut(self) -> None:
        self.conversation.lost(self.line, 1006, "", ours=False)

    def back(self, had: int) -> list[Any]:
        line = self.line = FakeLine()
        self.conversation.attach(line, had)
        return line.said

    def say(self, *texts: str) -> None:
        self.worker.say(*[Send(self.session.conn, TEXT, text.encode()) for text in texts])


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_what_its_handler_and_groups_say_waits(stage: Stage) -> None:
    stage.worker.say(Join(stage.session.conn, "g"))
    stage.say("before")
    stage.cut()
    stage.say("meanwhile")
    stage.worker.say(GroupSend("g", TEXT, b"to all"))
    assert stage.session.live
    assert [words[0:2] + words[3:] for words in stage.back(2)] == [
        ["m", 3, "meanwhile"],
        ["g", 4, "g", 0, "", "", "to all"],
    ]


def test_a_handler_is_not_held_up_while_its_client_is_away(stage: Stage) -> None:
    stage.cut()
    stage.worker.take()
    stage.say("x" * (MAX_PENDING // 4))
    assert stage.worker.take() == [Confirm(stage.session.conn, MAX_PENDING // 4)]


def test_beyond_max_pending_it_is_over(stage: Stage) -> None:
    stage.cut()
    for _ in range(5):
        stage.say("x" * (MAX_PENDING // 4))
    stage.world.loop.run()
    assert stage.session.state is State.ENDING
    assert stage.parking.find("token") is None
    end = Disconnect(stage.session.conn, 2, 1006, "too much waits for the client")
    assert end in stage.worker.take()


def test_what_waited_for_a_slow_client_counts_when_it_is_cut(stage: Stage) -> None:
    stage.worker.say(Join(stage.session.conn, "g"))
    stage.line.writable = False
    for _ in range(3):
        stage.worker.say(GroupSend("g", TEXT, b"x" * (MAX_PENDING // 4)))
    assert stage.session.lag == 3 * (MAX_PENDING // 4)
    stage.cut()
    assert stage.session.lag == 0
    assert stage.conversation.numbering.size > 3 * (MAX_PENDING // 4)
    assert stage.session.live


def test_after_its_time_on_close_runs_once(stage: Stage) -> None:
    stage.cut()
    stage.world.loop.advance(59, 1.0)
    stage.worker.beat()
    assert stage.session.live
    stage.world.loop.advance(2, 1.0)
    stage.worker.beat()
    assert [event for event in stage.worker.take() if isinstance(event, Disconnect)] == [
        Disconnect(stage.session.conn, 2, 1006, "the client did not come back")
    ]


def test_a_logout_ends_it(stage: Stage) -> None:
    stage.cut()
    (found,) = stage.world.registry.sessions.find("7", "key", "", 0)
    found.give_up(4401, "logged out")
    assert stage.worker.take()[-1] == Disconnect(stage.session.conn, 2, 4401, "logged out")
    assert stage.parking.find("token") is None
    assert len(stage.parking) == 0


def test_its_handler_may_close_it(stage: Stage) -> None:
    stage.cut()
    stage.worker.say(Close(stage.session.conn, 4000, "enough"))
    assert stage.worker.take()[-1] == Disconnect(stage.session.conn, 2, 4000, "enough")
    assert stage.parking.find("token") is None


def test_who_is_closed_hears_what_was_handled_and_no_more(stage: Stage) -> None:
    for number in (1, 2, 3):
        stage.conversation.receive(TEXT, b'["m",%d,0,"x"]' % number)
    stage.worker.take()
    stage.worker.say(Close(stage.session.conn, 4000, "enough"), acks={stage.session.conn: 3})
    assert stage.line.said == [["a", 2]]
    assert stage.line.ended == [4000]
    stage.worker.say(acks={stage.session.conn: 4})  # passed over, not handled
    stage.conversation.beat()
    assert stage.line.said[-1] == ["a", 2]


def test_who_is_given_up_hears_nothing_of_what_was_in_flight(stage: Stage) -> None:
    stage.conversation.receive(TEXT, b'["m",1,0,"x"]')
    stage.session.give_up(4401, "logged out")
    assert stage.line.said == []
    assert stage.line.ended == [4401]


def test_it_counts_for_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, max_connections_per_user=2)
    stage.cut()
    _, _, second = stage.begin("second")
    _, _, third = stage.begin("third")
    assert [second.ended, third.ended] == [[], [3504]]
    stage.parking.close()
    stage.worker.take()
    stage.worker.say(acks={stage.session.conn: 2})
    stage.world.loop.run()
    stage.begin("fourth")


def lose(stage: Stage) -> FakeWorker:
    stage.worker.link_changes(False)
    return stage.world.worker("w2")


@pytest.mark.parametrize("policy", ["close", "redeliver"])
def test_its_worker_dies_with_nothing_in_flight(
    monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    stage = Stage(monkeypatch, policy)
    stage.cut()
    other = lose(stage)
    assert [type(event) for event in other.take()] == [Restore]
    other.say(Send(stage.session.conn, TEXT, b"from another"))
    assert stage.back(0) == [["m", 1, 0, "from another"]]


@pytest.mark.parametrize("policy", ["close", "redeliver"])
def test_its_worker_dies_over_something(monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    stage = Stage(monkeypatch, policy)
    stage.conversation.receive(TEXT, b'["m",1,0,"in doubt"]')
    stage.worker.take()
    stage.cut()
    stage.worker.link_changes(False)
    other = stage.world.stranger("w2")
    other.namespaces = stage.worker.namespaces
    other.join()
    events = other.take()
    if policy == "close":
        assert [type(event) for event in events] == [Restore, Disconnect]
        assert stage.parking.find("token") is None
    else:
        assert [type(event) for event in events] == [Restore, Message]
        other.say(acks={stage.session.conn: 2})
        assert stage.back(0) == []
        stage.world.loop.advance(1.1)
        assert stage.line.said == [["a", 1]]
