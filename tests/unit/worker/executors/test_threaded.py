"""One thread per connection: what the receiving thread does, and what it survives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_ws.base import WebSocketHandler
from django_ws.wire.messages import Event, Refuse
from django_ws.worker.connection import WorkerConnection
from django_ws.worker.executors import ExecutorConfig
from django_ws.worker.executors.threaded import ThreadedExecutor
from tests.unit.worker.executors.test_pool import (
    DEADLINE,
    Gate,
    Source,
    connect,
    disconnect,
    handler,
    message,
    until,
)


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[ThreadedExecutor, Source]]]:
    executors: list[ThreadedExecutor] = []
    gates: list[Gate] = []

    def begin(gate: Gate | None = None) -> tuple[ThreadedExecutor, Source]:
        source = Source()
        executor = ThreadedExecutor(source, ExecutorConfig())
        source.executor = executor
        executor.start()
        executors.append(executor)
        if gate is not None:
            gates.append(gate)
        return executor, source

    yield begin
    for gate in gates:
        gate.opened.set()
    for executor in executors:
        executor.retire()
        assert executor.stop(DEADLINE)


def test_one_connection_from_beginning_to_end(start: Any) -> None:
    _, source = start()
    kind = handler()
    connection = source.connection(1, kind, accepted=False)
    source.put(connect(connection), message(connection, 2, "a"), disconnect(connection, 3))
    until(lambda: source.acks().get(1) == 3)
    assert kind.log == [(1, "connect"), (1, "a"), (1, "close")]


def test_with_a_hook_that_runs_on_it_does_not_poll_all_the_time(start: Any) -> None:
    gate = Gate()
    _, source = start(gate)

    def on_message(self: WebSocketHandler, text: str) -> None:
        if text == "block":
            gate()

    source.put(message(source.connection(1, handler(on_message=on_message)), 2, "block"))
    until(lambda: gate.inside == 1)
    until(lambda: source.timeout == 0.2)
    # From here on nobody else sends bare acknowledgements.
    source.flush = lambda: None
    gate.opened.set()
    until(lambda: source.acks() == {1: 2})


def test_an_error_of_one_connection_does_not_end_the_receiving(
    start: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    executor, source = start()
    kind = handler()
    broken, other = source.connection(1, kind), source.connection(2, kind)
    original = executor._pass_on

    def no_descriptors(connection: WorkerConnection, event: Event) -> None:
        if connection is broken:
            raise OSError("Too many open files")
        original(connection, event)

    monkeypatch.setattr(executor, "_pass_on", no_descriptors)
    source.put(message(broken, 2), message(other, 2, "fine"))
    until(lambda: kind.log == [(2, "fine")])
    until(lambda: [m for b in source.socket.batches for m in b.messages] == [Refuse(1, 500, "")])
    assert source.connections() == [other]
    assert "Too many open files" in caplog.text


def test_without_its_receiving_thread_the_worker_ends(
    start: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _, source = start()

    def broken() -> bool:
        raise SystemError

    source.running = broken
    until(lambda: source.failed == ["its thread ws-receive came to grief"])
    assert "the thread ws-receive came to grief" in caplog.text
