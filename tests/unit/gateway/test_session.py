"""One connection's dealings with its worker: window, acknowledgements, and changes of worker."""

from __future__ import annotations

from typing import Any

import pytest

from django_ws.gateway.session import Session
from django_ws.wire.messages import (
    TEXT,
    Accept,
    Close,
    Confirm,
    Connect,
    Disconnect,
    GroupSend,
    Join,
    Kind,
    Message,
    Refuse,
    Release,
    Released,
    Restore,
    Retiring,
    SaveSnapshot,
    Send,
    Snapshot,
)
from tests.unit.gateway.fakes import FakeClient, FakeWorker, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def texts(*messages: str, session: Session, first: int) -> list[Message]:
    return [
        Message(session.conn, first + index, TEXT, text.encode())
        for index, text in enumerate(messages)
    ]


def receive(session: Session, *messages: str) -> list[bool]:
    return [session.receive(TEXT, text.encode()) for text in messages]


def forgotten(world: World, session: Session) -> bool:
    world.loop.run()
    return session.conn not in world.registry.sessions.by_conn


# ---------------------------------------------------------------- the way there and back


def test_events_are_numbered_without_a_gap(world: World) -> None:
    worker = world.worker()
    session, _ = world.connection(worker)
    receive(session, "a", "b")
    session.disconnected(1005, "")
    assert worker.take() == [
        *texts("a", "b", session=session, first=2), Disconnect(session.conn, 4, 1005, ""),
    ]  # fmt: skip
    worker.say(acks={session.conn: 3})
    assert not forgotten(world, session)
    worker.say(acks={session.conn: 4})
    assert forgotten(world, session)


def test_what_the_handler_sends_arrives_in_order(world: World) -> None:
    worker = world.worker()
    session = world.handshake()
    worker.take()
    worker.say(Accept(session.conn, "chat"), Send(session.conn, 1, b"1"), acks={session.conn: 1})
    worker.say(Send(session.conn, 1, b"2"))
    assert session.verdict.result().subprotocol == "chat"  # type: ignore[union-attr]
    client = FakeClient(session)
    session.attach(client)
    worker.say(Send(session.conn, 2, b"3"), Close(session.conn, 4000, "enough"))
    assert client.got == [b"1", b"2", b"3"]
    assert client.closed == (4000, "enough")


def test_a_close_before_the_hand_over_is_kept(world: World) -> None:
    worker = world.worker()
    session = world.handshake()
    worker.take()
    worker.say(
        Accept(session.conn, ""),
        Send(session.conn, 1, b"1"),
        Close(session.conn, 4000, ""),
        acks={session.conn: 1},
    )
    client = FakeClient(session)
    session.attach(client)
    assert (client.got, client.closed) == ([b"1"], (4000, ""))


def test_a_refusal_is_the_verdict_and_the_end(world: World) -> None:
    worker = world.worker()
    session = world.handshake()
    worker.take()
    worker.say(Refuse(session.conn, 418, "teapot"), acks={session.conn: 1})
    assert session.verdict.result() == Refuse(session.conn, 418, "teapot")
    assert forgotten(world, session)
    session.disconnected(1006, "")  # the handshake always says so in the end
    assert not worker.take()


def test_a_browser_that_leaves_during_the_handshake_is_closed_if_accepted(world: World) -> None:
    worker = world.worker()
    session = world.handshake()
    session.disconnected(1006, "")
    assert [type(event) for event in worker.take()] == [Connect, Disconnect]
    worker.say(Accept(session.conn, ""), Send(session.conn, 1, b"x"), acks={session.conn: 1})
    assert not forgotten(world, session)
    worker.say(acks={session.conn: 2})
    assert forgotten(world, session)


@pytest.mark.parametrize("answer", ["accept", "refuse"])
def test_leaving_during_the_handshake_and_all_answers_in_one_batch(
    world: World, answer: str
) -> None:
    worker = world.worker()
    session = world.handshake()
    session.disconnected(1006, "")
    worker.take()
    conn = session.conn
    if answer == "accept":
        worker.say(Accept(conn, ""), acks={conn: 2})
    else:
        worker.say(Refuse(conn, 403, ""), acks={conn: 1})
    assert forgotten(world, session)
    assert [worker.handshakes for worker in world.registry._workers.values()] == [set()]


def test_leaving_before_any_worker_heard_of_it_is_the_end(world: World) -> None:
    session = world.handshake()
    session.disconnected(1006, "")
    assert forgotten(world, session)
    assert not world.worker().take()


# ---------------------------------------------------------------- the window


def test_the_window_counts_messages(world: World) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    assert receive(session, *["x"] * 64) == [True] * 63 + [False]
    worker.say(acks={session.conn: 1})
    assert client.resumed == 1  # it asks again, and stops again at the next message
    assert receive(session, "x") == [False]
    worker.say(acks={session.conn: 50})
    assert client.resumed == 2
    assert receive(session, "x") == [True]


def test_the_window_counts_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, max_message_size=300_000)
    worker = world.worker()
    session, client = world.connection(worker)
    assert session.receive(TEXT, bytes(150_000))
    assert not session.receive(TEXT, bytes(150_000))
    worker.say(acks={session.conn: 2})
    assert client.resumed == 1
    assert not session.receive(TEXT, bytes(300_000))  # one of any allowed size always passes
    worker.say(acks={session.conn: 4})
    assert client.resumed == 2
    assert session.receive(TEXT, bytes(299_999))


def test_the_window_counts_names_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, max_message_size=300_000)
    worker = world.worker()
    session, client = world.connection(worker)
    assert session.call(Kind.EVENT, "x" * 150_000, b"[]", [], False) == (2, True)
    assert session.call(Kind.EVENT, "x" * 150_000, b"[]", [], False) == (3, False)
    worker.say(acks={session.conn: 2})
    assert client.resumed == 1
    assert session.call(Kind.EVENT, "x" * 149_000, b"[]", [], False) == (4, True)


def test_nothing_is_read_on_while_the_worker_takes_nothing(world: World) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    worker.sender.full = True
    assert receive(session, "a") == [True]
    world.loop.run()
    assert receive(session, "b") == [False]
    assert client.resumed == 0
    worker.sender.full = False
    world.loop.fire(worker.sender.fileno())
    assert client.resumed == 1
    assert worker.take() == texts("a", "b", session=session, first=2)


def test_what_is_read_is_confirmed_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, max_pending=400)
    worker = world.worker()
    session, _ = world.connection(worker)
    worker.say(Send(session.conn, 2, bytes(60)))
    assert not worker.take()
    worker.say(Send(session.conn, 2, bytes(60)))
    assert worker.take() == [Confirm(session.conn, 120)]


def test_nothing_is_confirmed_while_the_client_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, max_pending=400)
    worker = world.worker()
    session, client = world.connection(worker)
    client.writable = False
    worker.say(Send(session.conn, 2, bytes(300)), Send(session.conn, 2, bytes(100)))
    assert not worker.take()
    client.writable = True
    session.writable()
    assert worker.take() == [Confirm(session.conn, 400)]
    session.writable()
    assert not worker.take()


def test_nothing_is_confirmed_before_there_is_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, max_pending=400)
    worker = world.worker()
    session = world.handshake()
    worker.take()
    worker.say(Accept(session.conn, ""), acks={session.conn: 1})
    worker.say(Send(session.conn, 2, bytes(300)))
    assert not worker.take()
    session.attach(FakeClient(session))
    assert worker.take() == [Confirm(session.conn, 300)]


def test_who_reads_nothing_of_its_groups_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, max_pending=400)
    worker = world.worker()
    session, client = world.connection(worker)
    worker.say(Join(session.conn, "g"))
    client.writable, client.backlog = False, 500
    for _ in range(3):
        worker.say(GroupSend("g", 2, bytes(120)))
    world.loop.advance(5)
    assert client.closed is None  # they wait, and nobody else for them
    for _ in range(5):
        worker.say(GroupSend("g", 2, bytes(120)))
    world.loop.advance(0.5, 0.01)
    assert client.closed == (3008, "too slow")
    assert client.got == []
    assert world.registry.counters["closed_slow"] == 1


def test_nobody_is_waited_for_who_is_not_let_in_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lets it in is among the replies that would wait."""
    world = World(monkeypatch, max_pending=400)
    worker = world.worker()
    session = world.handshake()
    worker.take()
    worker.say(Join(session.conn, "g"))
    for _ in range(8):
        worker.say(GroupSend("g", 2, bytes(120)))
    assert not world.registry.sessions.held_up
    world.loop.advance(5, 0.1)
    worker.say(Accept(session.conn, ""), acks={session.conn: 1})
    client = FakeClient(session)
    session.attach(client)
    assert client.got == [bytes(120)] * 8


def test_who_is_let_in_and_reads_nothing_of_what_came_before_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, max_pending=400)
    worker = world.worker()
    session = world.handshake()
    worker.take()
    worker.say(Join(session.conn, "g"))
    for _ in range(8):
        worker.say(GroupSend("g", 2, bytes(120)))
    worker.say(Accept(session.conn, ""), acks={session.conn: 1})
    client = FakeClient(session)
    client.writable, client.backlog = False, 500
    session.attach(client)
    assert world.registry.sessions.held_up
    world.loop.advance(0.5, 0.01)
    assert client.closed == (3008, "too slow")
    assert not world.registry.sessions.held_up


def test_the_handlers_close_comes_behind_all_that_waits(world: World) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    conn = session.conn
    worker.say(Join(conn, "g"))
    client.writable, client.backlog = False, 500
    worker.say(Send(conn, 1, b"1"), GroupSend("g", 1, b"2"), Send(conn, 1, b"3"))
    worker.say(GroupSend("g", 1, b"4"), Close(conn, 4000, ""))
    assert client.got == [b"1", b"2", b"3", b"4"]
    assert client.closed == (4000, "")


def test_what_waits_stays_in_order_with_what_the_handler_sends(world: World) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    conn = session.conn
    worker.say(Join(conn, "g"))
    client.writable, client.backlog = False, 500
    worker.say(GroupSend("g", 1, b"2"), Send(conn, 1, b"3"), GroupSend("g", 1, b"4"))
    assert client.got == []
    client.writable, client.backlog = True, 0
    session.writable()
    worker.say(Send(conn, 1, b"5"))
    assert client.got == [b"2", b"3", b"4", b"5"]


def test_nothing_more_is_taken_on_while_somebody_reads_as_fast_as_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, max_pending=400)
    worker = world.worker()
    (slow, lagging), (_, quick) = world.connection(worker), world.connection(worker)
    worker.say(Join(slow.conn, "g"), Join(slow.conn + 1, "g"))
    lagging.writable, lagging.backlog = False, 10_000_000
    for number in range(20):
        worker.say(GroupSend("g", 1, b"%02d" % number + bytes(98)))
    assert len(quick.got) == 5  # 400 bytes and one more
    for _ in range(200):  # it reads steadily
        lagging.backlog -= 40_000
        world.loop.advance(0.02, 0.02)
        worker.beat()
    assert len(quick.got) == 5
    assert lagging.closed is None
    assert world.registry.workers == 1  # we do not listen, so its silence means nothing
    for _ in range(10):
        lagging.writable = True
        slow.writable()
        lagging.writable = False
        world.loop.run()
    numbers = [b"%02d" % number for number in range(20)]
    assert [data[:2] for data in quick.got] == numbers
    assert [data[:2] for data in lagging.got] == numbers


def test_who_reads_too_slowly_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, max_pending=400)
    worker = world.worker()
    session, client = world.connection(worker)
    worker.say(Join(session.conn, "g"))
    client.writable, client.backlog = False, 100_000
    for _ in range(5):
        worker.say(GroupSend("g", 1, bytes(100)))
    for _ in range(60):
        client.backlog -= 1
        world.loop.advance(0.02, 0.02)
    assert client.closed == (3008, "too slow")


def test_group_messages_between_acceptance_and_upgrade_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, max_pending=400)
    worker = world.worker()
    session = world.handshake()
    worker.take()
    worker.say(Accept(session.conn, ""), Join(session.conn, "g"), acks={session.conn: 1})
    for _ in range(8):
        worker.say(GroupSend("g", 1, bytes(100)))
    world.loop.advance(0.5, 0.01)
    client = FakeClient(session)
    session.attach(client)
    assert (client.got, client.closed) == ([], (3008, "too slow"))


def test_after_the_workers_close_messages_go_nowhere(world: World) -> None:
    worker = world.worker()
    session, _ = world.connection(worker, stays=True)
    worker.say(Close(session.conn, 4000, ""))
    assert receive(session, *["x"] * 100) == [True] * 100
    session.disconnected(4000, "")
    assert worker.take() == [Disconnect(session.conn, 2, 4000, "")]


# ---------------------------------------------------------------- handing over


def retire(worker: FakeWorker) -> list[Any]:
    """Let a worker retire; what it then gets, without the last word."""
    worker.say(Retiring())
    events = worker.take()
    assert events[-1] == Release(0)
    return events[:-1]


def test_a_connection_moves_with_all_it_has(world: World) -> None:
    old = world.worker("w1", started=1)
    session, client = world.connection(old)
    conn = session.conn
    receive(session, "a")
    old.take()
    old.say(Join(conn, "g2"), Join(conn, "g1"), SaveSnapshot(conn, Snapshot(b"s")), acks={conn: 2})
    new = world.worker("w2", started=2)
    assert retire(old) == [Release(conn)]
    receive(session, "b", "c")
    assert not old.take()  # held
    assert not new.take()
    old.say(Send(conn, 1, b"last"), Released(conn, Snapshot(b"state", "user")))
    assert client.got == [b"last"]
    assert new.take() == [
        Restore(
            conn, 2, "default", session.handshake, "", ["g1", "g2"], Snapshot(b"state", "user"),
            4, False,
        ),
        *texts("b", "c", session=session, first=3),
    ]  # fmt: skip
    receive(session, "d")
    assert new.take() == texts("d", session=session, first=5)
    new.say(Send(conn, 1, b"hello"), acks={conn: 5})
    assert client.got == [b"last", b"hello"]
    assert not session.unacked


def test_what_is_handled_in_the_batch_that_releases_does_not_move(world: World) -> None:
    old, new = world.worker("w1"), None
    session, _ = world.connection(old)
    receive(session, "a")  # in flight when the worker retires
    new = world.worker("w2", started=2)
    assert retire(old) == [*texts("a", session=session, first=2), Release(session.conn)]
    old.say(Send(session.conn, 1, b"A"), Released(session.conn, Snapshot()), acks={session.conn: 2})
    (restore,) = new.take()
    assert restore.seq == 2


def test_leaving_while_released_ends_at_the_new_worker(world: World) -> None:
    old = world.worker("w1")
    session, _ = world.connection(old)
    new = world.worker("w2", started=2)
    retire(old)
    receive(session, "a")
    session.disconnected(1001, "bye")
    assert not old.take()
    old.say(Released(session.conn, Snapshot()))
    restore, message, disconnect = new.take()
    assert (restore.ended, message.seq, disconnect.seq) == (False, 2, 3)
    new.say(acks={session.conn: 3})
    assert forgotten(world, session)


def test_leaving_while_released_with_nothing_else_left_does_not_restore(world: World) -> None:
    old = world.worker("w1")
    session, _ = world.connection(old)
    new = world.worker("w2", started=2)
    retire(old)
    session.disconnected(1001, "bye")
    old.say(Released(session.conn, Snapshot()))
    restore, disconnect = new.take()
    assert restore.ended
    assert disconnect == Disconnect(session.conn, 2, 1001, "bye")


@pytest.mark.parametrize("leaves", ["before", "after"])
def test_what_cannot_move_is_closed_and_ends_where_it_was(world: World, leaves: str) -> None:
    old = world.worker("w1")
    session, client = world.connection(old, stays=True)
    new = world.worker("w2", started=2)
    retire(old)
    receive(session, "held")
    if leaves == "before":
        session.disconnected(1001, "")
    old.say(Close(session.conn, 1012, "service restart"))
    if leaves == "after":
        assert client.closed == (1012, "service restart")
        session.disconnected(1012, "service restart")
    events = old.take()
    assert [type(event) for event in events] == [Disconnect]
    assert not new.take()
    old.say(acks={session.conn: events[0].seq})
    assert forgotten(world, session)


@pytest.mark.parametrize("leaves", ["before the release", "between", "after"])
def test_a_close_that_crosses_the_release_still_ends_once(world: World, leaves: str) -> None:
    """A thread of the handler closes the connection while its worker gives it back."""
    old = world.worker("w1")
    session, _ = world.connection(old, stays=True)
    new = world.worker("w2", started=2)
    retire(old)
    if leaves == "before the release":
        session.disconnected(1001, "")
    old.say(Close(session.conn, 4000, ""))
    if leaves == "between":
        session.disconnected(4000, "")
    old.say(Released(session.conn, Snapshot()))
    if leaves == "after":
        session.disconnected(4000, "")
    old.take()  # that worker has no such connection any more
    restore, disconnect = new.take()
    assert restore.ended
    assert type(disconnect) is Disconnect
    new.say(acks={session.conn: disconnect.seq})
    assert forgotten(world, session)


def test_a_handshake_under_way_moves_as_soon_as_it_is_accepted(world: World) -> None:
    old = world.worker("w1")
    session = world.handshake()
    old.take()
    new = world.worker("w2", started=2)
    assert retire(old) == []
    old.say(Accept(session.conn, ""), acks={session.conn: 1})
    assert old.take() == [Release(session.conn)]
    old.say(Released(session.conn, Snapshot()))
    (restore,) = new.take()
    assert restore.seq == 1


def test_what_is_sent_but_not_confirmed_counts_at_the_new_worker(world: World) -> None:
    old = world.worker("w1")
    session, _ = world.connection(old)
    new = world.worker("w2", started=2)
    old.say(Send(session.conn, 2, bytes(1000)))
    retire(old)
    old.say(Released(session.conn, Snapshot()))
    (restore,) = new.take()
    assert restore.window == 1000


def test_without_another_worker_it_waits_for_one(world: World) -> None:
    old = world.worker("w1")
    session, client = world.connection(old)
    retire(old)
    old.say(Released(session.conn, Snapshot()))
    receive(session, "a")
    old.link_changes(False)
    world.loop.advance(5)
    assert client.closed is None
    new = world.worker("w2", started=2)
    restore, message = new.take()
    assert (restore.seq, message.data) == (1, b"a")


# ---------------------------------------------------------------- a worker that dies


def die(worker: FakeWorker) -> None:
    worker.link_changes(False)


def test_with_nothing_in_flight_a_connection_just_moves(world: World) -> None:
    old, new = world.worker("w1"), world.worker("w2", started=2)
    session, client = world.connection(old)
    old.say(SaveSnapshot(session.conn, Snapshot(b"s")))
    die(old)
    (restore,) = new.take()
    assert (restore.seq, restore.snapshot.state, restore.ended) == (1, b"s", False)
    assert client.closed is None
    receive(session, "a")
    assert new.take() == texts("a", session=session, first=2)


def test_what_had_not_left_yet_is_not_in_flight(world: World) -> None:
    old, new = world.worker("w1"), world.worker("w2", started=2)
    session, client = world.connection(old)
    receive(session, "a")  # waits for the end of this turn of the loop
    old.sender.events.append(False)
    callback, args = world.loop.readers[old.sender.monitor_fileno()]
    callback(*args)
    assert client.closed is None
    assert [type(event) for event in new.take()] == [Restore, Message]


def test_in_flight_it_is_closed_1012_and_ends_elsewhere(world: World) -> None:
    old, new = world.worker("w1"), world.worker("w2", started=2)
    session, client = world.connection(old)
    receive(session, "a")
    old.take()
    die(old)
    assert client.closed == (1012, "the worker was lost")
    restore, disconnect = new.take()
    assert restore.ended
    assert type(disconnect) is Disconnect
    assert disconnect.code == 1012
    assert world.registry.counters["worker_lost_closed"] == 1
    new.say(acks={session.conn: disconnect.seq})
    assert forgotten(world, session)


def test_redeliver_repeats_what_is_not_acknowledged(world: World) -> None:
    old = world.worker("w1", policy="redeliver")
    new = world.worker("w2", policy="redeliver", started=2)
    session, client = world.connection(old)
    receive(session, "a", "b", "c")
    old.take()
    old.say(SaveSnapshot(session.conn, Snapshot(b"after a")), acks={session.conn: 2})
    die(old)
    restore, *messages = new.take()
    assert (restore.seq, restore.snapshot.state) == (2, b"after a")
    assert messages == texts("b", "c", session=session, first=3)
    assert client.closed is None


def test_held_events_are_not_in_flight(world: World) -> None:
    old = world.worker("w1")
    session, client = world.connection(old)
    new = world.worker("w2", started=2)
    retire(old)
    receive(session, "held")
    die(old)
    assert client.closed is None
    assert [type(event) for event in new.take()] == [Restore, Message]


def test_what_only_its_worker_could_continue_is_closed(world: World) -> None:
    old, new = world.worker("w1", policy="redeliver"), world.worker("w2", "redeliver", started=2)
    session, client = world.connection(old)
    old.say(SaveSnapshot(session.conn, Snapshot(movable=False)))
    die(old)
    assert client.closed == (1012, "service restart")
    restore, _ = new.take()
    assert restore.ended


@pytest.mark.parametrize("policy", ["close", "redeliver"])
def test_on_close_is_not_lost_with_its_worker(world: World, policy: str) -> None:
    old = world.worker("w1", policy=policy)
    session, _ = world.connection(old)
    session.disconnected(1001, "")
    assert [type(event) for event in old.take()] == [Disconnect]
    new = world.worker("w2", policy=policy, started=2)
    die(old)
    restore, disconnect = new.take()
    assert (restore.ended, disconnect.code) == (True, 1001)
    new.say(acks={session.conn: 2})
    assert forgotten(world, session)


@pytest.mark.parametrize("policy", ["close", "redeliver"])
def test_messages_and_the_end_in_flight_together(world: World, policy: str) -> None:
    old = world.worker("w1", policy=policy)
    session, _ = world.connection(old)
    receive(session, "a")
    session.disconnected(1001, "")
    old.take()
    new = world.worker("w2", policy=policy, started=2)
    die(old)
    kinds = [type(event) for event in new.take()]
    assert kinds == [Restore, *([Message] if policy == "redeliver" else []), Disconnect]


def test_a_closing_connection_whose_worker_dies_ends_elsewhere(world: World) -> None:
    old, new = world.worker("w1"), world.worker("w2", started=2)
    session, client = world.connection(old, stays=True)
    receive(session, "a")
    old.take()
    old.say(Close(session.conn, 4000, "mine"))
    die(old)
    assert client.closed == (4000, "mine")
    assert not new.take()  # nothing to run before the browser is gone
    session.disconnected(4000, "mine")
    restore, disconnect = new.take()
    assert (restore.ended, disconnect.code) == (True, 4000)


def test_an_accepted_connection_is_never_asked_again(world: World) -> None:
    """The Accept came, its acknowledgement did not: the batch had been cut in between."""
    old = world.worker("w1", policy="redeliver")
    new = world.worker("w2", policy="redeliver", started=2)
    session = world.handshake()
    old.take()
    old.say(Accept(session.conn, ""))
    die(old)
    (restore,) = new.take()
    assert type(restore) is Restore
    assert restore.seq == 1


def test_a_worker_that_cannot_take_over_does_not_keep_the_connection(world: World) -> None:
    old, new = world.worker("w1"), world.worker("w2", started=2)
    session, client = world.connection(old, stays=True)
    die(old)
    assert [type(event) for event in new.take()] == [Restore]
    new.say(Refuse(session.conn, 503, "out of threads"))
    assert client.closed == (1012, "service restart")
    session.disconnected(1012, "service restart")
    restore, _ = new.take()
    assert restore.ended
    new.say(Refuse(session.conn, 503, "out of threads"))
    world.loop.run()
    assert not new.take()  # no endless back and forth
    die(new)
    third = world.worker("w3", started=3)
    restore, disconnect = third.take()
    third.say(acks={session.conn: disconnect.seq})
    assert forgotten(world, session)


def test_the_window_opens_when_a_lost_worker_was_the_reason(world: World) -> None:
    old, new = world.worker("w1"), world.worker("w2", started=2)
    session, client = world.connection(old)
    old.sender.full = True
    receive(session, "a")
    world.loop.run()
    assert receive(session, "b") == [False]
    die(old)
    assert client.resumed
    assert new.take()[1:] == texts("a", "b", session=session, first=2)


# ---------------------------------------------------------------- what kills workers


@pytest.mark.parametrize("last", ["message", "on_close"])
def test_what_kills_workers_after_a_while_is_given_up_at_the_third(world: World, last: str) -> None:
    """The worker acknowledges the Restore first, and dies a little later over what follows."""
    first = world.worker("w1", policy="redeliver")
    session, client = world.connection(first)
    if last == "message":
        receive(session, "poison")
    else:
        session.disconnected(1001, "")
    first.take()
    die(first)
    for number in (2, 3):
        worker = world.worker(f"w{number}", "redeliver", started=number)
        restore, _event = worker.take()
        worker.say(acks={session.conn: restore.seq})
        world.loop.advance(10)
        worker.beat()
        die(worker)
    if last == "message":
        assert client.closed == (1012, "workers were lost over it")
    else:
        assert forgotten(world, session)
        assert world.registry.counters["on_close_abandoned"] == 1


def test_deaths_that_a_connection_had_no_part_in_do_not_count(world: World) -> None:
    worker = world.worker("w1", policy="redeliver")
    session, client = world.connection(worker)
    for number in range(2, 8):
        world.loop.advance(10)  # idle, and long since its on_restore
        die(worker)
        worker = world.worker(f"w{number}", "redeliver", started=number)
        (restore,) = worker.take()
        worker.say(acks={session.conn: restore.seq})
    assert client.closed is None


def test_on_close_elsewhere_knows_the_groups(world: World) -> None:
    old = world.worker("w1")
    session, _ = world.connection(old)
    _, other = world.connection(old)
    new = world.worker("w2", started=2)
    old.say(Join(session.conn, "a"), Join(session.conn, "b"), Join(session.conn + 1, "b"))
    session.disconnected(1001, "")
    old.take()
    old.say(Join(session.conn, "late"), GroupSend("b", 1, b"x"))
    assert other.got == [b"x"]
    die(old)
    restores = [event for event in new.take() if isinstance(event, Restore)]
    groups = {restore.conn: restore.groups for restore in restores}
    assert groups[session.conn] == ["a", "b", "late"]
    assert list(world.registry.sessions.groups.members("b")) == [2]
    assert not world.registry.sessions.groups.members("late")


def test_an_on_close_that_was_refused_is_tried_again(world: World) -> None:
    old, new = world.worker("w1"), world.worker("w2", started=2)
    session, _ = world.connection(old)
    session.disconnected(1001, "")
    old.take()
    die(old)
    restore, disconnect = new.take()
    new.say(Refuse(session.conn, 503, "out of processes"))
    assert not new.take()
    world.loop.advance(0.5)
    new.beat()
    restore, disconnect = new.take()
    assert restore.ended
    new.say(acks={session.conn: disconnect.seq})
    assert forgotten(world, session)


def test_an_on_close_that_is_always_refused_is_given_up(world: World) -> None:
    old, new = world.worker("w1"), world.worker("w2", started=2)
    session, _ = world.connection(old)
    session.disconnected(1001, "")
    old.take()
    die(old)
    for _ in range(40):
        for event in new.take():
            if isinstance(event, Restore):
                new.say(Refuse(event.conn, 503, "out of processes"))
        world.loop.advance(1)
        new.beat()
    assert forgotten(world, session)
    assert world.registry.counters["on_close_abandoned"] == 1
