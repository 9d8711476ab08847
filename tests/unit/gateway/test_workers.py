"""Workers come, fall silent, retire and die; handshakes find them."""

from __future__ import annotations

from typing import Any

import pytest

from django_ws.gateway.session_state import State
from django_ws.gateway.sessions import Saturated, UnknownNamespace
from django_ws.gateway.worker import CREDIT_BATCHES
from django_ws.gateway.workers import DOUBT_AFTER, JOIN_TIMEOUT, MAX_JOINING
from django_ws.options import MAX_BATCH
from django_ws.wire.codec import encode
from django_ws.wire.messages import (
    TEXT,
    Accept,
    Close,
    Connect,
    Disconnect,
    Hello,
    Message,
    Refuse,
    Release,
    Released,
    Restore,
    Retiring,
    SaveSnapshot,
    Send,
    Snapshot,
    Welcome,
)
from tests.unit.gateway.fakes import PUSH, FakeSender, FakeWorker, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def fenced(world: World) -> list[str]:
    """The incarnations that were told to end."""
    answers, world.replies.answers = world.replies.answers, []
    assert all(identity.decode() == answer.incarnation for identity, answer in answers)
    return [answer.incarnation for _, answer in answers]


def beats(world: World, seconds: float, *workers: FakeWorker) -> None:
    """Let time pass while workers are alive."""
    for _ in range(int(seconds * 4)):
        world.loop.advance(0.25)
        for worker in workers:
            worker.beat()


# ---------------------------------------------------------------- joining


def test_a_worker_is_ready_once_it_answers_the_welcome(world: World) -> None:
    worker = world.stranger("w1")
    worker.hello(link=3)
    assert world.registry.workers == 0
    (welcome,) = worker.take()
    assert welcome == Welcome("gw", 3, 1024 * 1024, 1024 * 1024)
    worker.beat()
    assert world.registry.workers == 1


def test_a_repeated_hello_joins_once(world: World) -> None:
    worker = world.stranger("w1")
    worker.hello()
    worker.hello()
    assert [type(event) for event in worker.take()] == [Welcome]
    assert len(world.senders) == 1


def test_a_hello_from_another_time_is_welcomed_anew(world: World) -> None:
    worker = world.stranger("w1")
    worker.hello(link=0)
    worker.hello(link=1)
    assert [event.link for event in worker.take()] == [0, 1]


def test_another_project_is_refused_and_named(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    worker = world.stranger("w1", project="another")
    worker.hello()
    worker.hello()
    assert not world.senders
    assert fenced(world) == ["w1", "w1"]
    assert caplog.text.count("refused a worker of the project 'another'") == 1


def test_a_foreign_endpoint_is_refused_and_named(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.stranger("w1", endpoint="tcp://evil.example:1").hello()
    assert not world.senders
    assert fenced(world) == ["w1"]
    assert "refused a worker at tcp://evil.example:1" in caplog.text


@pytest.mark.parametrize(
    ("theirs", "started", "named"),
    [
        ({"DEBUG": "1", "ORIGINS": "a"}, 1.0, ""),
        ({"DEBUG": "1", "ORIGINS": "b"}, 1.0, "ORIGINS changed since"),
        ({"DEBUG": "1"}, 1.0, "ORIGINS changed since"),
        ({"DEBUG": "2", "ORIGINS": "b"}, 1.0, "DEBUG, ORIGINS changed since"),
        ({"DEBUG": "1", "ORIGINS": "a", "NEW": "c"}, 1.0, "NEW changed since"),
        ({"DEBUG": "1", "ORIGINS": ""}, 1.0, ""),  # a flag decides
        ({}, 1.0, ""),  # a worker that does not tell
        ({"DEBUG": "2"}, 0.1, ""),  # it is the worker whose settings are old
    ],
)
def test_a_changed_setting_of_the_gateway_is_said_once(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    theirs: dict[str, str],
    started: float,
    named: str,
) -> None:
    world = World(monkeypatch, {"DEBUG": "1", "ORIGINS": "a"})
    for name in ("w1", "w2"):
        world.stranger(name, fingerprints=theirs, started=started).join()
    said = [record.getMessage() for record in caplog.records if "restart" in record.getMessage()]
    assert len(said) == bool(named)
    assert not named or said[0].startswith(named)


def test_a_gateway_that_does_not_know_its_settings_says_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.stranger("w1", fingerprints={"DEBUG": "2"}).join()
    assert caplog.text == ""


def test_a_worker_that_never_answers_may_try_again(world: World) -> None:
    worker = world.stranger("w1")
    worker.hello()
    world.loop.advance(JOIN_TIMEOUT + 1)
    assert world.senders[0].closed
    worker.hello()
    worker.read = 0
    assert [type(event) for event in worker.take()] == [Welcome]
    worker.beat()
    assert world.registry.workers == 1


def test_what_nobody_understands_is_counted_and_dropped(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    worker = world.worker()
    world.replies.batches.append((b"x", b"secret garbage"))
    worker.beat()
    assert world.registry.counters["replies_undecodable"] == 1
    assert world.registry.workers == 1
    assert "secret" not in caplog.text


def test_beats_of_strangers_are_ignored(world: World) -> None:
    world.stranger("w1").beat()
    assert world.registry.workers == 0
    assert not fenced(world)


def test_many_batches_at_once_leave_turns_to_others(world: World) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    batches = [
        worker.batch([Send(session.conn, TEXT, b"%d" % number)], number)
        for number in range(worker.number + 1, worker.number + 101)
    ]
    for batch in batches[:-1]:
        worker.world.replies.batches.append((b"w1", encode(batch)))
    turns = 0
    callback, args = world.loop.readers[7]
    callback(*args)
    while len(client.got) < 99:
        turns += 1
        todo, world.loop.soon = world.loop.soon, []
        for soon, arguments in todo:
            soon(*arguments)
    assert turns >= 3
    assert client.got == [b"%d" % number for number in range(2, 101)]


# ---------------------------------------------------------------- handshakes


def test_without_a_worker_handshakes_wait_in_order(world: World) -> None:
    sessions = [world.handshake() for _ in range(3)]
    worker = world.worker()
    assert [event.conn for event in worker.take()] == [session.conn for session in sessions]


def test_an_unknown_namespace_is_refused_at_once(world: World) -> None:
    world.worker()
    with pytest.raises(UnknownNamespace):
        world.handshake("nowhere")
    assert not world.registry.sessions.by_conn


def test_one_that_waited_for_an_unknown_namespace_is_refused_404(world: World) -> None:
    session = world.handshake("nowhere")
    worker = world.worker()
    assert session.verdict.result() == Refuse(session.conn, 404, "unknown namespace")
    assert not worker.take()
    assert not world.registry.sessions.by_conn


def test_so_many_handshakes_wait_at_a_worker_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, max_pending_handshakes=2)
    worker = world.worker()
    sessions = [world.handshake() for _ in range(5)]
    assert [event.conn for event in worker.take()] == [1, 2]
    worker.say(Accept(1, ""), acks={1: 1})
    assert [event.conn for event in worker.take()] == [3]
    worker.say(Refuse(2, 403, ""), acks={2: 1})
    assert [event.conn for event in worker.take()] == [4]
    sessions[2].disconnected(1006, "")  # its worker still has to answer
    assert [type(event) for event in worker.take()] == [Disconnect]
    worker.say(Refuse(3, 403, ""), acks={3: 1})
    assert [event.conn for event in worker.take()] == [5]


def test_handshakes_go_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, max_pending_handshakes=2)
    first = world.worker("w1")
    for _ in range(3):
        world.connection(first)
    second = world.worker("w2", started=2)
    for _ in range(4):
        world.handshake()
    assert len(second.take()) == 2  # it has fewer connections,
    assert len(first.take()) == 2  # but no more room


def test_a_worker_that_takes_nothing_new_gets_nothing_new(world: World) -> None:
    first, second = world.worker("w1"), world.worker("w2", started=2)
    first.beat(accepting=False)
    for _ in range(3):
        world.handshake()
    assert not first.take()
    assert len(second.take()) == 3
    second.beat(accepting=False)
    with pytest.raises(Saturated):
        world.handshake()
    first.beat()
    world.handshake()
    assert len(first.take()) == 1


def test_a_namespace_without_room_does_not_hold_up_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, max_pending_handshakes=1)
    old = world.worker("w1", chat="close")
    world.worker("w2", started=2, chat="close", news="close")
    for namespace in ("chat", "chat", "chat", "news", "chat"):
        world.handshake(namespace)
    assert [event.namespace for event in old.take()] == ["chat"]
    assert {session.conn for session in world.registry.sessions.waiting} == {3, 4, 5}
    old.say(Accept(1, ""), acks={1: 1})
    assert [event.conn for event in old.take()] == [3]
    assert {session.conn for session in world.registry.sessions.waiting} == {4, 5}


def test_a_handshake_survives_one_worker(world: World) -> None:
    first = world.worker("w1")
    session = world.handshake()
    first.take()
    first.link_changes(False)
    second = world.worker("w2", started=2)
    assert [type(event) for event in second.take()] == [Connect]
    second.say(Accept(session.conn, ""), acks={session.conn: 1})
    assert isinstance(session.verdict.result(), Accept)


def test_a_handshake_that_two_workers_died_over_is_refused(world: World) -> None:
    session = world.handshake()
    for incarnation in ("w1", "w2"):
        worker = world.worker(incarnation)
        assert [type(event) for event in worker.take()] == [Connect]
        worker.link_changes(False)
    assert session.verdict.result().status == 503  # type: ignore[union-attr]
    assert not world.registry.sessions.by_conn


def test_whoever_left_meanwhile_is_not_asked_about(world: World) -> None:
    for session in [world.handshake() for _ in range(3)]:
        if session.conn != 3:
            session.disconnected(1006, "")
    worker = world.worker()
    assert [event.conn for event in worker.take()] == [3]
    assert not world.registry.sessions.waiting


def test_the_newest_workers_namespaces_are_in_force(world: World) -> None:
    world.worker("w2", started=2, chat="close")
    world.worker("w1", started=1, news="close")  # older, though it comes later
    world.handshake("chat")
    with pytest.raises(UnknownNamespace):
        world.handshake("news")
    newest = world.worker("w3", started=3, news="close")
    world.handshake("news")
    with pytest.raises(UnknownNamespace):
        world.handshake("chat")
    newest.link_changes(False)
    world.handshake("chat")


def test_namespaces_are_remembered_while_there_is_no_worker(world: World) -> None:
    world.worker().link_changes(False)
    with pytest.raises(UnknownNamespace):
        world.handshake("nowhere")
    world.handshake()


def test_one_user_has_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, max_connections_per_user=1)
    worker = world.worker()
    first, one = world.connection(worker, user="7")
    _, two = world.connection(worker, user="7")
    (ended,) = worker.take()
    _, other = world.connection(worker, user="8")
    assert two.closed == (3504, "too many connections of this user")
    assert (one.closed, other.closed) == (None, None)
    assert world.registry.counters["closed_limit"] == 1
    assert "refused_limit" not in world.registry.counters
    worker.say(acks={ended.conn: ended.seq})
    first.disconnected(1000, "")
    worker.take()
    worker.say(acks={first.conn: 2})
    _, third = world.connection(worker, user="7")
    assert third.closed is None
    assert world.registry.sessions.by_user.count("7") == 1


# ---------------------------------------------------------------- doubt and death


def test_a_silent_worker_gets_no_new_connections_but_loses_none(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    world.loop.advance(DOUBT_AFTER + 0.5)
    assert world.registry.workers == 0
    assert world.registry.counters["workers_in_doubt"] == 1
    waiting = world.handshake()
    session.receive(TEXT, b"a")
    assert [type(event) for event in worker.take()] == [Message]
    worker.beat()
    assert world.registry.workers == 1
    assert [event.conn for event in worker.take()] == [waiting.conn]
    assert client.closed is None
    assert "worker w1 is back" in caplog.text


def test_workers_without_room_take_no_new_connections(world: World) -> None:
    first, second = world.worker("w1"), world.worker("w2")
    first.beat(accepting=False)
    assert world.registry.workers == 1
    second.beat(accepting=False)
    assert world.registry.workers == 0
    first.beat()
    assert world.registry.workers == 1


def test_a_worker_that_beats_is_never_in_doubt(world: World) -> None:
    worker = world.worker()
    beats(world, 60, worker)
    assert world.registry.counters["workers_in_doubt"] == 0


def test_replies_are_signs_of_life_but_do_not_end_a_doubt(world: World) -> None:
    worker = world.worker()
    session, _ = world.connection(worker)
    for _ in range(8):
        world.loop.advance(0.5)
        worker.say(Send(session.conn, TEXT, b"x"))
    assert world.registry.counters["workers_in_doubt"] == 0


def test_silent_for_long_is_dead_and_killed(world: World) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    session.receive(TEXT, b"a")
    worker.take()
    world.loop.advance(29)
    assert (client.closed, world.killed) == (None, [])
    world.loop.advance(2)
    assert client.closed == (1012, "the worker was lost")
    assert world.killed == ["w1"]
    assert worker.sender.closed


def test_a_pause_of_the_gateway_itself_puts_nobody_in_doubt(world: World) -> None:
    worker = world.worker()
    world.loop.advance(100, step=100)
    worker.beat()  # was in the socket all the time
    world.loop.advance(0.25)
    assert world.registry.workers == 1
    assert world.killed == []


def test_everything_from_a_dead_incarnation_is_ignored(world: World) -> None:
    old, new = world.worker("w1"), world.worker("w2", started=2)
    session, client = world.connection(old)
    world.registry.worker_died("w1")
    new.take()
    old.say(Send(session.conn, TEXT, b"ghost"), Close(session.conn, 4000, ""))
    old.beat()
    assert (client.got, client.closed) == ([], None)
    assert fenced(world) == []
    old.hello()
    assert fenced(world) == ["w1"]
    assert world.registry.workers == 1


def test_what_a_worker_said_before_its_end_counts(world: World) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    session.receive(TEXT, b"a")
    worker.take()
    batch = worker.batch(
        [Send(session.conn, TEXT, b"A")], worker.number + 1, acks={session.conn: 2}
    )
    world.replies.batches.append((b"w1", encode(batch)))
    world.registry.worker_died("w1")
    assert (client.got, client.closed) == ([b"A"], None)


@pytest.mark.parametrize("number", [1, 3])
def test_a_gap_in_the_replies_is_a_death(world: World, number: int) -> None:
    worker = world.worker()
    session, _client = world.connection(worker)  # that was batch 1
    worker.push(worker.batch([Send(session.conn, TEXT, b"x")], number))
    assert world.registry.workers == 0
    assert world.killed == ["w1"]
    assert fenced(world) == ["w1"]


def test_a_worker_that_lost_its_link_here_is_dead(world: World) -> None:
    worker = world.worker()
    worker.hello(link=1)
    assert world.registry.workers == 0
    assert fenced(world) == ["w1"]


def test_a_hello_by_another_ones_name_does_not_end_it(world: World) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    for number in range(5):
        worker.hello(link=number, identity=b"somebody else")
        worker.beat()
    worker.hello()  # once more by the same way
    assert world.registry.workers == 1
    assert fenced(world) == []
    worker.say(Send(session.conn, TEXT, b"x"))
    assert client.got == [b"x"]


def test_nobody_speaks_in_anothers_name(world: World) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    forged = worker.batch([Send(session.conn, TEXT, b"x")], worker.number + 1)
    worker.push(forged, b"somebody else")
    assert client.got == []
    assert world.registry.counters["replies_misplaced"] == 1
    worker.say(Send(session.conn, TEXT, b"y"))
    assert client.got == [b"y"]


def test_a_worker_that_comes_by_another_way_and_is_silent_on_the_old_one_is_dead(
    world: World,
) -> None:
    worker = world.worker()
    for _ in range(30):
        worker.hello(link=1, identity=b"w1 again")
        world.loop.advance(0.05)
    assert world.registry.workers == 0
    assert [answer.incarnation for _, answer in world.replies.answers][:1] == ["w1"]


def test_a_hello_of_another_project_leaves_the_name_alone(world: World) -> None:
    world.stranger("w1", project="another").hello(identity=b"somebody else")
    world.replies.answers.clear()
    world.worker("w1")
    assert world.registry.workers == 1
    assert fenced(world) == []


def test_a_hello_with_a_wrong_endpoint_leaves_room_for_the_right_one(world: World) -> None:
    world.stranger("w1", endpoint=f"{PUSH}.other").hello(identity=b"somebody else")
    world.worker("w1")
    assert world.registry.workers == 1
    assert world.senders[0].closed


def test_thousands_of_hellos_neither_recurse_nor_stall_nor_pile_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    monkeypatch.setattr(FakeSender, "changes", lambda self: [False])  # nobody is there
    for number in range(3000):
        stranger = world.stranger(f"f{number}")
        hello = Hello(stranger.endpoint, 0, 1, 1.0, stranger.namespaces)
        batch = stranger.batch([hello], 0, "")
        world.replies.batches.append((b"forger", encode(batch)))
    world.loop.readers[7][0]()
    assert len(world.loop.soon) < 100  # one turn has taken its share
    assert 0 < len(world.replies.batches) < 3000
    world.loop.run()
    assert len(world.registry._workers) <= 1 + MAX_JOINING
    worker.say(Send(session.conn, TEXT, b"x"))
    assert client.got == [b"x"]


def test_answers_to_the_dead_do_not_pile_up(world: World) -> None:
    world.worker("w1").link_changes(False)
    stranger = world.stranger("w1")
    hello = Hello(stranger.endpoint, 0, 1, 1.0, stranger.namespaces)
    for _ in range(20):
        batch = stranger.batch([hello], 0, "")
        world.replies.batches.append((b"forger", encode(batch)))
    world.loop.readers[7][0]()
    assert len(world.loop.soon) <= 1


def test_words_for_another_gateway_are_not_for_this_one(world: World) -> None:
    worker = world.worker()
    session, client = world.connection(worker)
    worker.push(worker.batch([Send(session.conn, TEXT, b"x")], 99, receiver="another"))
    assert client.got == []
    assert world.registry.workers == 1


def test_a_death_leaves_nothing_behind(world: World) -> None:
    worker = world.worker()
    worker.link_changes(False)
    assert not world.registry._workers
    assert set(world.loop.readers) == {7}
    assert worker.sender.closed


def test_reaped_unknown_workers_are_nothing(world: World) -> None:
    world.registry.worker_died("never heard of")


def test_a_retired_worker_without_connections_is_no_loss(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    worker = world.worker()
    worker.say(Retiring())
    assert worker.take() == [Release(0)]
    assert world.registry.workers == 0
    worker.link_changes(False)
    assert world.registry.counters["workers_lost"] == 0
    assert not caplog.records


# ---------------------------------------------------------------- nobody there


def test_the_homeless_are_closed_in_the_end(world: World) -> None:
    worker = world.worker()
    _, client = world.connection(worker)
    worker.link_changes(False)
    world.loop.advance(29)
    assert client.closed is None
    world.loop.advance(2)
    assert client.closed == (1012, "no worker")
    assert world.registry.connections == 1  # its on_close is still due
    world.loop.advance(31)
    assert world.registry.connections == 0
    assert world.registry.counters["on_close_abandoned"] == 1
    assert not world.registry.sessions._homeless


def test_a_worker_that_comes_in_time_takes_the_homeless(world: World) -> None:
    worker = world.worker()
    session, _ = world.connection(worker)
    worker.link_changes(False)
    world.loop.advance(20)
    second = world.worker("w2", started=2)
    assert [type(event) for event in second.take()] == [Restore]
    beats(world, 40, second)
    assert session.worker is not None
    assert not world.registry.sessions._homeless


def test_one_in_doubt_takes_them_when_it_is_back(world: World) -> None:
    first, second = world.worker("w1"), world.worker("w2", started=2)
    world.connection(first)
    world.loop.advance(1.5)
    first.link_changes(False)
    assert not second.take()
    second.beat()
    assert [type(event) for event in second.take()] == [Restore]


def test_a_namespace_that_no_release_has_any_more_is_closed(world: World) -> None:
    old = world.worker("w1", chat="close")
    session = world.handshake("chat")
    old.take()
    old.say(Accept(session.conn, ""), acks={session.conn: 1})
    world.worker("w2", started=2)
    old.say(Retiring())
    old.say(Released(session.conn, Snapshot()))
    assert session.state is State.CLOSING_ADRIFT


# ---------------------------------------------------------------- the link to a worker


def test_a_worker_out_of_credit_gets_nothing_more(world: World) -> None:
    worker = world.worker()
    session, _client = world.connection(worker)
    (known,) = world.registry._workers.values()
    sent = len(worker.sender.sent)
    for _ in range(CREDIT_BATCHES + 50):
        known.post(Release(session.conn))
        known.flush()
    under_way = len(worker.sender.sent) - worker.read
    assert len(worker.sender.sent) - sent <= CREDIT_BATCHES
    assert known.blocked
    assert under_way
    worker.take()
    worker.beat()  # says what it has received
    world.loop.run()
    assert not known.pending
    assert not known.blocked


def test_large_batches_are_cut(world: World) -> None:
    worker = world.worker()
    (known,) = world.registry._workers.values()
    state = Snapshot(bytes(60_000))
    restores = [Restore(conn, 1, "default", b"", "", [], state, 0, False) for conn in range(1, 61)]
    for restore in restores:
        known.post(restore)
    before = len(worker.sender.sent)
    assert worker.take() == restores
    assert len(worker.sender.sent) - before >= 60_000 * 60 // MAX_BATCH
    for batch in worker.sender.sent[before:]:
        assert sum(len(event.snapshot.state) for event in batch.messages) <= MAX_BATCH


def test_batches_to_a_worker_are_numbered(world: World) -> None:
    worker = world.worker()
    session, _ = world.connection(worker)
    for _ in range(5):
        session.receive(TEXT, b"x")
        worker.take()
    numbers = [batch.number for batch in worker.sender.sent]
    assert numbers == list(range(1, len(numbers) + 1))
    assert {(b.sender, b.receiver, b.project) for b in worker.sender.sent} == {("gw", "w1", "p")}


# ---------------------------------------------------------------- the end


def drained(world: World, deadline: float) -> Any:
    """Run drain() up to where it waits; what it waits for, or None if it is done."""
    coroutine = world.registry.drain(deadline)
    try:
        coroutine.send(None)
    except StopIteration:
        return None
    coroutine.close()
    return coroutine


def test_a_drain_with_nobody_there_is_over_at_once(world: World) -> None:
    assert drained(world, world.loop.now + 5) is None


def test_a_drain_without_a_worker_gives_up_at_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    worker = world.worker()
    session, _ = world.connection(worker)
    worker.link_changes(False)
    session.disconnected(1001, "")
    assert drained(world, world.loop.now + 5) is None
    assert world.registry.counters["on_close_abandoned"] == 1


def test_closing_leaves_no_reader_and_no_socket(world: World) -> None:
    world.worker("w1")
    world.stranger("w2").hello()
    world.registry.close()
    assert not world.loop.readers
    assert all(sender.closed for sender in world.senders)
    assert world.replies.closed
    world.loop.run()
    world.registry.close()


def test_the_last_snapshot_is_the_one_that_counts(world: World) -> None:
    old, new = world.worker("w1"), world.worker("w2", started=2)
    session, _ = world.connection(old)
    for state in (b"1", b"2"):
        old.say(SaveSnapshot(session.conn, Snapshot(state)))
    old.link_changes(False)
    (restore,) = new.take()
    assert restore.snapshot.state == b"2"
