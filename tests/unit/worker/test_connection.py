"""What a handler's calls do to its connection, without anything that runs it."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any

import pytest

from django_ws.base import WebSocketHandler
from django_ws.exceptions import ConnectionClosed, MessageTooBig, SendTimeout
from django_ws.wire import messages as wire
from django_ws.wire.messages import (
    BINARY,
    TEXT,
    Accept,
    Close,
    Emit,
    GroupSend,
    Info,
    Join,
    Joined,
    Leave,
    Publish,
    Send,
)
from django_ws.worker import connection as module
from django_ws.worker import hygiene
from django_ws.worker.connection import WorkerConnection
from tests.unit.worker.executors.test_pool import HANDSHAKE, Source, until
from tests.unit.worker.test_link import in_thread


class Runner:
    max_outgoing = 1024 * 1024
    send_timeout = 1.0
    stopping = False
    shared = False

    def __init__(self) -> None:
        self.elsewhere: list[GroupSend] = []

    def enter(self, link: Any) -> None:
        raise AssertionError

    def sent(self, link: Any) -> None:
        link.flush()

    def parked(self) -> Any:
        return nullcontext()

    def here(self) -> object:
        return threading.get_ident()

    def frame_of(self, thread: object) -> None:
        return None

    def cannot_move(self, handler_class: type, reason: str) -> None:
        raise AssertionError

    def has_history(self, group: str) -> bool:
        return False

    def publish(self, link: Any, message: GroupSend) -> None:
        link.put(message)

    def publish_elsewhere(self, link: Any, message: GroupSend) -> None:
        self.elsewhere.append(message)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def connection(source: Source, monkeypatch: pytest.MonkeyPatch) -> WorkerConnection:
    monkeypatch.setattr(hygiene.thread, "dirty", False)  # whatever other tests had open here
    made = WorkerConnection(1, "default", HANDSHAKE, WebSocketHandler, source.link, Runner())
    made.thread = threading.get_ident()
    return made


def test_closing_never_waits_for_the_gateway(source: Source, connection: WorkerConnection) -> None:
    """The thread that does it may be the one that sends the heartbeats."""
    source.socket.refuse = True
    source.link.put(GroupSend("room", 2, b"x"))
    source.link.flush()
    source.link.put(*[GroupSend("room", 2, b"x" * 1024 * 1024)] * 33)
    assert source.link.congested
    in_thread(lambda: connection.close(1011, "handler timeout"))
    source.socket.refuse = False
    source.link.flush()
    assert source.socket.batches[-1].messages[-1] == Close(1, 1011, "handler timeout")


def test_waiting_in_a_hook_starts_its_time_anew(connection: WorkerConnection) -> None:
    connection.before_hook()
    before = connection.hook_started
    assert not connection.wait(0.001)
    assert connection.hook_started > before


@pytest.mark.parametrize("hook_runs", [True, False])
def test_a_thread_of_the_handlers_own_that_waits_is_no_hook(
    connection: WorkerConnection, hook_runs: bool
) -> None:
    if hook_runs:
        connection.before_hook()
    started = connection.hook_started
    seen: list[float] = []

    def wait() -> None:
        thread = threading.Thread(target=lambda: connection.wait(30))
        thread.start()
        until(lambda: connection._waker is not None and connection._waker._waiters)  # type: ignore[attr-defined]
        seen.append(connection.hook_started)
        if hook_runs:
            connection.after_hook(False)
        connection.close(1000, "")
        thread.join()

    wait()
    assert seen == [started]
    assert connection.hook_started == 0.0


def test_the_handshake_is_decoded_once_for_its_kwargs(
    connection: WorkerConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connection.kwargs == {}
    monkeypatch.setattr(module, "decode_handshake", None)
    assert connection.kwargs == {}


# ---------------------------------------------------------------- what handlers say


def said(source: Source) -> list[Any]:
    """What has left since the last call."""
    source.link.flush()
    found = [each for batch in source.socket.batches for each in batch.messages]
    source.socket.batches.clear()
    return found


def test_what_on_connect_says_follows_the_acceptance(
    source: Source, connection: WorkerConnection
) -> None:
    connection.decide()
    connection.send("hello")
    connection.send(b"there")
    connection.publish(Publish(0, "room", TEXT, b"news", "me"), True, None)
    connection.join("room", None)
    connection.leave("room")
    connection.leave("room")
    assert said(source) == []
    connection.accept("7", "session")
    assert said(source) == [
        Accept(1, "", "7", "session"),
        Send(1, TEXT, b"hello"),
        Send(1, BINARY, b"there"),
        GroupSend("room", TEXT, b"news", 1),
        Join(1, "room"),
        Leave(1, "room"),
    ]
    assert connection.unconfirmed == 10
    connection.send("more")
    assert said(source) == [Send(1, TEXT, b"more")]


def test_all_that_on_connect_says_has_one_bound(connection: WorkerConnection) -> None:
    connection.executor.max_outgoing = 1000
    connection.decide()
    connection.send(b"x" * 600)
    with pytest.raises(MessageTooBig, match="what on_connect sends in all has 1001 bytes"):
        connection.send(b"x" * 401)
    connection.send(b"x" * 400)


def test_a_subprotocol_is_chosen_in_on_connect_among_those_offered(
    connection: WorkerConnection,
) -> None:
    with pytest.raises(RuntimeError, match="only be chosen in on_connect"):
        connection.select_subprotocol("chat")
    connection.decide()
    with pytest.raises(ValueError, match="does not offer the subprotocol 'chat'"):
        connection.select_subprotocol("chat")
    connection.select_subprotocol(None)
    assert connection.subprotocol is None


def test_a_message_that_is_too_big_is_not_sent(
    source: Source, connection: WorkerConnection
) -> None:
    connection.executor.max_outgoing = 10
    with pytest.raises(MessageTooBig, match="a message has 11 bytes, over the limit of 10"):
        connection.send("x" * 11)
    with pytest.raises(MessageTooBig):
        connection.publish(Publish(0, "room", TEXT, b"x" * 11), True, None)
    assert said(source) == []


def test_sending_waits_for_a_browser_that_reads(
    source: Source, connection: WorkerConnection
) -> None:
    source.link.max_pending = 5
    connection.send("12345")
    done = threading.Event()

    def send() -> None:
        connection.send("more")
        done.set()

    thread = threading.Thread(target=send)
    thread.start()
    until(lambda: connection._waker is not None and connection._waker._waiters)  # type: ignore[attr-defined]
    assert not done.is_set()
    connection.confirmed(5)
    thread.join(5)
    assert done.is_set()
    assert [each.data for each in said(source)] == [b"12345", b"more"]
    assert connection.unconfirmed == 4


def test_a_browser_that_does_not_read_costs_the_message(connection: WorkerConnection) -> None:
    connection.executor.send_timeout = 0.01
    connection.link.max_pending = 5
    connection.send("12345")
    with pytest.raises(SendTimeout, match=r"has not read for 0\.01 s"):
        connection.send("more")


def test_a_close_ends_waiting_to_send(connection: WorkerConnection) -> None:
    connection.link.max_pending = 5
    connection.send("12345")
    raised: list[ConnectionClosed] = []

    def send() -> None:
        try:
            connection.send("more")
        except ConnectionClosed as error:
            raised.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    until(lambda: connection._waker is not None and connection._waker._waiters)  # type: ignore[attr-defined]
    connection.close(4000, "enough")
    thread.join(5)
    assert [(error.code, error.reason) for error in raised] == [(4000, "enough")]
    with pytest.raises(ConnectionClosed):
        connection.send("again")
    with pytest.raises(ConnectionClosed):
        connection.emit("again", [])


def test_joining_a_group_with_a_history_waits_for_its_position(
    source: Source, connection: WorkerConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection.executor, "has_history", lambda group: group == "kept")
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(connection.join("kept", (3, "e"))))
    thread.start()
    until(lambda: connection._waker is not None and connection._waker._waiters)  # type: ignore[attr-defined]
    assert said(source) == [Join(1, "kept", 1, wire.Position(3, "e"))]
    connection.joined(Joined(1, 1, 7, "e"))
    thread.join(5)
    assert found == [(7, "e")]
    assert connection.groups == {"kept"}
    assert connection.join("other", None) == (0, "")
    assert connection.join("other", None) == (0, "")
    assert said(source) == [Join(1, "other")]


def test_info_is_told_when_it_changes(source: Source, connection: WorkerConnection) -> None:
    assert connection.info is None
    connection.show({"name": "Ada"})
    connection.show({"name": "Ada"})
    assert connection.info == {"name": "Ada"}
    assert said(source) == [Info(1, b'{"name":"Ada"}')]
    with pytest.raises(ValueError, match="over the limit of 4096"):
        connection.show("x" * 5000)


def test_a_plain_client_has_no_auth_and_takes_events_as_json(
    source: Source, connection: WorkerConnection
) -> None:
    assert connection.auth is None
    connection.emit("news", ["a"])
    with pytest.raises(TypeError, match="bytes cannot be in an event for a plain client"):
        connection.emit("news", [b"a"])
    assert said(source) == [Emit(1, "news", b'["a"]')]


def test_the_first_message_is_the_first_once(connection: WorkerConnection) -> None:
    assert connection.first()
    assert not connection.first()


def test_what_on_connect_publishes_reaches_the_other_gateways(
    source: Source, connection: WorkerConnection
) -> None:
    """Once it has said yes; without an engine each gateway has to be told."""
    runner = connection.executor
    assert isinstance(runner, Runner)
    connection.decide()
    connection.publish(Publish(0, "room", TEXT, b"hello"), True, None)
    connection.send("x")
    assert runner.elsewhere == []
    connection.accept("", "")
    assert runner.elsewhere == [GroupSend("room", TEXT, b"hello")]
    source.link.flush()
    (batch,) = source.socket.batches
    assert batch.messages == [
        Accept(1, "", "", ""),
        GroupSend("room", TEXT, b"hello"),
        Send(1, TEXT, b"x"),
    ]
