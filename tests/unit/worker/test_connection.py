"""What a handler's calls do to its connection, without anything that runs it."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any

import pytest

from django_ws.base import WebSocketHandler
from django_ws.wire.messages import Close, GroupSend
from django_ws.worker import connection as module
from django_ws.worker import hygiene
from django_ws.worker.connection import WorkerConnection
from tests.unit.worker.executors.test_pool import HANDSHAKE, Source, until
from tests.unit.worker.test_link import in_thread


class Runner:
    max_outgoing = 1024 * 1024
    send_timeout = 1.0
    stopping = False

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
