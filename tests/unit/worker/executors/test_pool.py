"""The pool's discipline, with scripted events: order, isolation, and who leads."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_ws.base import WebSocketHandler
from django_ws.wire.codec import encode
from django_ws.wire.messages import (
    TEXT,
    WIRE_VERSION,
    Connect,
    Disconnect,
    Event,
    Handshake,
    Message,
    Refuse,
    Release,
    Restore,
    Snapshot,
)
from django_ws.worker.connection import WorkerConnection
from django_ws.worker.executors import ExecutorConfig
from django_ws.worker.executors import pool as pool_module
from django_ws.worker.executors.pool import PoolExecutor, PoolThread
from django_ws.worker.link import GatewayLink
from tests.unit.worker.test_link import FakeSocket

DEADLINE = 2.0

HANDSHAKE = encode(
    Handshake("default", {}, "http", "/socket", "", [], ("::1", 1), ("::1", 2), [], 0.0)
)


class Source:
    """Hands out the events that the test puts in; one thread at a time may poll."""

    def __init__(self) -> None:
        self.socket = FakeSocket()
        self.link = GatewayLink(0, self.socket, "p", "w")
        self.link.welcome("gw", 1024 * 1024, WIRE_VERSION)
        self.condition = threading.Condition()
        self.waiting: list[tuple[WorkerConnection, Event]] = []
        self.polling = 0
        self.polls = 0
        self.broken = False  # the next poll fails
        self.failed: list[str] = []
        self.timeout = 0.0  # that of the last poll
        self.executor: Any = None

    def poll(self, timeout: float) -> list[tuple[WorkerConnection, Event]]:
        self.timeout = timeout
        self.flush()
        with self.condition:
            self.polling += 1
            assert self.polling == 1, "two threads poll"
            try:
                if self.broken:
                    self.broken = False
                    raise OSError("no more")
                if not self.waiting:
                    self.condition.wait(min(timeout, 0.01))
                self.polls += 1
                pairs, self.waiting = self.waiting, []
                return pairs
            finally:
                self.polling -= 1

    def put(self, *pairs: tuple[WorkerConnection, Event]) -> None:
        for connection, event in pairs:
            if isinstance(event, Disconnect):
                connection.ended(event)
        with self.condition:
            self.waiting.extend(pairs)
            self.condition.notify()

    def flush(self) -> None:
        self.link.flush()

    def fail(self, reason: str) -> None:
        self.failed.append(reason)

    def running(self) -> bool:
        return True

    def connections(self) -> list[WorkerConnection]:
        return list(self.link.connections.values())

    def connection(
        self, conn: int, kind: type[WebSocketHandler], accepted: bool = True
    ) -> WorkerConnection:
        connection = WorkerConnection(conn, "default", HANDSHAKE, kind, self.link, self.executor)
        if accepted:
            connection.lifecycle.restore(False, True, lambda handler: None)  # no hook runs
        self.link.connections[conn] = connection
        return connection

    def acks(self) -> dict[int, int]:
        """The last event acknowledged of each connection."""
        found: dict[int, int] = {}
        for batch in self.socket.batches:
            found |= batch.acks
        return found


class Gate:
    """Lets hooks block until the test opens it."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.inside = 0
        self.lock = threading.Lock()

    def __call__(self) -> None:
        with self.lock:
            self.inside += 1
        assert self.opened.wait(DEADLINE * 2)
        with self.lock:
            self.inside -= 1


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[PoolExecutor, Source]]]:
    """Starts pools; each must end in time."""
    pools: list[PoolExecutor] = []
    gates: list[Gate] = []

    def begin(size: int = 8, gate: Gate | None = None) -> tuple[PoolExecutor, Source]:
        source = Source()
        pool = PoolExecutor(source, ExecutorConfig(pool_size=size))
        source.executor = pool
        pool.start()
        pools.append(pool)
        if gate is not None:
            gates.append(gate)
        return pool, source

    yield begin
    for gate in gates:
        gate.opened.set()
    for pool in pools:
        pool.retire()
        assert pool.stop(DEADLINE)
    assert not [t for t in threading.enumerate() if isinstance(t, PoolThread)]


def until(condition: Callable[[], Any], what: str = "") -> Any:
    deadline = time.monotonic() + DEADLINE
    while not (result := condition()):
        assert time.monotonic() < deadline, what or "not in time"
        time.sleep(0.001)
    return result


def message(connection: WorkerConnection, seq: int, text: str = "x") -> Any:
    return connection, Message(connection.conn, seq, TEXT, text.encode())


def connect(connection: WorkerConnection) -> Any:
    return connection, Connect(connection.conn, 1, "default", HANDSHAKE)


def disconnect(connection: WorkerConnection, seq: int) -> Any:
    return connection, Disconnect(connection.conn, seq, 1001, "")


class Log(WebSocketHandler):
    """Notes its hooks in a list of the class."""

    log: list[Any]

    def on_connect(self) -> None:
        self.note("connect")

    def on_message(self, message: Any) -> None:
        self.note(message)

    def on_close(self) -> None:
        self.note("close")

    def note(self, what: str) -> None:
        self.log.append((int(self.id.partition("-")[2]), what))


def handler(base: type = Log, **members: Any) -> type[WebSocketHandler]:
    return type("H", (base,), {"log": [], **members})


# ---------------------------------------------------------------- order


def test_one_connection_from_beginning_to_end(start: Any) -> None:
    _, source = start()
    kind = handler()
    connection = source.connection(1, kind, accepted=False)
    source.put(connect(connection), *[message(connection, n, str(n)) for n in range(2, 50)])
    source.put(disconnect(connection, 50))
    until(lambda: source.acks().get(1) == 50)
    expected = ["connect", *map(str, range(2, 50)), "close"]
    assert kind.log == [(1, what) for what in expected]
    assert not source.connections()


def test_under_stress_order_holds_and_no_two_hooks_meet(start: Any) -> None:
    """Random durations drive every path: inline, passed on, deposed, queued behind a busy one."""
    pool, source = start(6)
    chance = random.Random(4)
    inside: dict[int, int] = defaultdict(int)
    met: list[int] = []
    threads: set[int] = set()

    class Busy(Log):
        def note(self, what: str) -> None:
            conn = self._connection.conn  # type: ignore[attr-defined]
            inside[conn] += 1
            threads.add(threading.get_ident())
            if inside[conn] > 1:
                met.append(conn)
            pause = chance.choice([0, 0, 0, 0, 0.0002, 0.0006, 0.006])
            if pause:
                time.sleep(pause)  # what a hook does that asks a database
            super().note(what)
            if chance.random() < 0.1:
                self._connection.wait(0)
            inside[conn] -= 1

    kind = handler(Busy)
    connections = [source.connection(conn, kind, accepted=False) for conn in range(1, 25)]
    source.put(*map(connect, connections))
    for seq in range(2, 12):
        source.put(*[message(connection, seq, str(seq)) for connection in connections])
    source.put(*[disconnect(connection, 12) for connection in connections])
    until(lambda: len(source.acks()) == 24 and set(source.acks().values()) == {12})
    for conn in range(1, 25):
        assert [what for number, what in kind.log if number == conn] == [
            "connect", *map(str, range(2, 12)), "close",
        ]  # fmt: skip
    assert not met
    assert len(threads) > 1
    until(lambda: pool._shares.active == 0)
    assert len(pool._threads) <= 6 + 24  # those in wait() do not count


def test_a_chatty_connection_takes_turns(start: Any) -> None:
    _, source = start()
    kind = handler()
    chatty, other = source.connection(1, kind), source.connection(2, kind)
    source.put(*[message(chatty, n) for n in range(2, 40)], message(other, 2))
    until(lambda: len(kind.log) == 39)
    assert (2, "x") in kind.log[:4]


def test_what_comes_after_the_last_hook_is_dropped(start: Any) -> None:
    _, source = start()
    kind = handler(on_connect=lambda self: False)
    connection = source.connection(1, kind, accepted=False)
    source.put(connect(connection))
    until(lambda: not source.connections())
    # The receiving thread had looked it up before it was refused.
    source.put(disconnect(connection, 2), message(connection, 3))
    until(lambda: source.link.handled == 2)
    until(lambda: not connection.busy)
    assert kind.log == []


def test_replies_leave_with_the_batch_and_before_a_hook_that_blocks(start: Any) -> None:
    gate = Gate()
    _, source = start(gate=gate)

    def on_message(self: WebSocketHandler, text: str) -> None:
        self.send(text)
        if text == "block":
            gate()

    kind = handler(on_message=on_message)
    a, b = source.connection(1, kind), source.connection(2, kind)
    source.put(message(a, 2, "fast"), message(b, 2, "block"))

    def sent() -> list[bytes]:
        return [m.data for batch in source.socket.batches for m in batch.messages]

    until(lambda: len(sent()) == 2)
    assert sent() == [b"fast", b"block"]
    assert 2 not in source.acks()  # that one is not handled yet


# ---------------------------------------------------------------- isolation


def test_the_watchdog_passes_the_lead_on(start: Any) -> None:
    gate = Gate()
    pool, source = start(gate=gate)
    kind = handler(on_open=lambda self, text: gate() if text == "block" else None)
    slow, fast = source.connection(1, kind), source.connection(2, kind)
    source.put(message(slow, 2, "block"))
    until(lambda: gate.inside == 1)
    source.put(message(fast, 2, "quick"))
    until(lambda: (2, "quick") in kind.log)
    assert pool._shares.active == 1
    gate.opened.set()
    until(lambda: (1, "block") in kind.log)
    until(lambda: pool._shares.active == 0)


def test_events_behind_a_deposed_hook_are_run_by_others(start: Any) -> None:
    gate = Gate()
    _, source = start(gate=gate)
    kind = handler(on_open=lambda self, text: gate() if text == "block" else None)
    slow, fast = source.connection(1, kind), source.connection(2, kind)
    source.put(message(slow, 2, "block"), message(fast, 2, "quick"), message(slow, 3, "later"))
    until(lambda: (2, "quick") in kind.log)
    assert (1, "later") not in kind.log
    gate.opened.set()
    until(lambda: kind.log[1:] == [(1, "block"), (1, "later")])


def test_with_every_thread_blocked_connections_still_come_and_go(
    start: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    pool, source = start(3, gate)
    kind = handler(on_open=lambda self, text: gate() if text == "block" else None)
    blocked = [source.connection(conn, kind) for conn in range(1, 4)]
    source.put(*[message(connection, 2, "block") for connection in blocked])
    until(lambda: gate.inside == 3)
    until(pool.saturated)
    other = source.connection(9, kind, accepted=False)
    source.put(connect(other), message(other, 2, "waits"))
    until(lambda: (9, "connect") in kind.log)
    another = source.connection(10, kind, accepted=False)
    source.put(connect(another), disconnect(another, 2))
    until(lambda: (10, "close") in kind.log)
    assert (9, "waits") not in kind.log
    gate.opened.set()
    until(lambda: (9, "waits") in kind.log)
    until(lambda: not pool.saturated())


def test_waiting_does_not_count(start: Any) -> None:
    pool, source = start(2)

    def on_message(self: WebSocketHandler, text: str) -> None:
        if text == "wait":
            self.wait()
        self.note(text)  # type: ignore[attr-defined]

    kind = handler(on_message=on_message)
    waiting = [source.connection(conn, kind) for conn in range(1, 13)]
    source.put(*[message(connection, 2, "wait") for connection in waiting])
    until(lambda: sum(c._waker is not None for c in waiting) == 12)
    until(lambda: pool._shares.active == 0)
    assert not pool.saturated()
    quick = source.connection(99, kind)
    source.put(message(quick, 2, "quick"))
    until(lambda: kind.log == [(99, "quick")])
    source.put(*[disconnect(connection, 3) for connection in waiting])
    until(lambda: len(kind.log) == 25)  # each of them: "wait", then "close"
    until(lambda: pool._shares.active == 0)


def test_waiting_ends_when_the_worker_retires(start: Any) -> None:
    pool, source = start()
    told: list[bool] = []
    kind = handler(on_message=lambda self, text: told.append(self.wait(60)))
    connection = source.connection(1, kind)
    source.put(message(connection, 2), (connection, Release(1)))
    until(lambda: connection._waker is not None)
    pool.retire()
    until(lambda: told == [True])
    until(lambda: not source.connections() or connection.closed_here)


# ---------------------------------------------------------------- threads that come to grief


@pytest.mark.parametrize("raised", [SystemExit(), KeyboardInterrupt(), GeneratorExit()])
def test_a_hook_cannot_take_its_thread_along(start: Any, raised: BaseException) -> None:
    _pool, source = start()

    def on_message(self: WebSocketHandler, text: str) -> None:
        if text == "raise":
            raise raised
        self.note(text)  # type: ignore[attr-defined]

    kind = handler(on_message=on_message)
    a, b = source.connection(1, kind), source.connection(2, kind)
    source.put(message(a, 2, "raise"))
    until(lambda: a.close_code == 1011)
    source.put(message(b, 2, "fine"))
    until(lambda: kind.log == [(2, "fine")])
    assert source.acks()[1] == 2


@pytest.mark.parametrize("value", [2**70, {1}, "\ud800"])
def test_a_state_that_cannot_be_kept_closes_its_connection_only(start: Any, value: Any) -> None:
    _, source = start()

    def on_message(self: WebSocketHandler, text: str) -> None:
        self.state["x"] = value

    connection = source.connection(1, handler(on_message=on_message))
    source.put(message(connection, 2))
    until(lambda: connection.close_code == 1011)
    until(lambda: source.acks().get(1) == 2)


def test_a_failing_poll_does_not_end_the_receiving(
    start: Any, caplog: pytest.LogCaptureFixture
) -> None:
    _, source = start()
    source.broken = True
    until(lambda: not source.broken)
    kind = handler()
    connection = source.connection(1, kind)
    source.put(message(connection, 2, "on"))
    until(lambda: kind.log == [(1, "on")])
    assert "receiving events failed" in caplog.text


@pytest.mark.parametrize("how", ["blocks", "waits", "is known to block"])
def test_without_a_thread_to_be_had_the_pool_recovers(
    start: Any, how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The lead goes to a thread that cannot be started; later there is room again."""
    gate = Gate()
    pool, source = start(gate=gate)
    may_start = threading.Event()
    original = PoolThread.start

    def refuse(thread: PoolThread) -> None:
        if not may_start.is_set():
            raise RuntimeError("can't start new thread")
        original(thread)

    until(lambda: source.polls)
    monkeypatch.setattr(PoolThread, "start", refuse)

    def on_open(self: WebSocketHandler, text: str) -> None:
        if text == "block":
            if how == "waits":
                self.wait()
            else:
                gate()

    kind = handler(on_open=on_open)
    if how == "is known to block":
        averages = pool._averages[kind] = pool_module.Averages()
        averages.open.blocked = 1.0
    slow, fast = source.connection(1, kind), source.connection(2, kind)
    source.put(message(slow, 2, "block"))
    until(lambda: "no further thread for the pool" in caplog.text)
    assert pool.saturated()
    may_start.set()
    pool._refusing_until = 0.0  # a second is over
    source.put(message(fast, 2, "quick"))
    until(lambda: (2, "quick") in kind.log)
    source.put(disconnect(slow, 3))


def test_stopping_gives_up_at_the_deadline(start: Any) -> None:
    gate = Gate()
    pool, source = start(gate=gate)
    connection = source.connection(1, handler(on_message=lambda self, text: gate()))
    source.put(message(connection, 2))
    until(lambda: gate.inside == 1)
    before = time.monotonic()
    assert pool.stop(0.05) is False
    assert time.monotonic() - before < 1


def test_stopping_an_idle_pool_is_quick(start: Any) -> None:
    pool, source = start()
    until(lambda: source.polls)
    before = time.monotonic()
    assert pool.stop(DEADLINE)
    assert time.monotonic() - before < 2


# ---------------------------------------------------------------- starting anew


def test_a_restored_connection_runs_on_restore_first(start: Any) -> None:
    _, source = start()
    kind = handler(on_restore=lambda self: self.note(f"restored {self.state['n']}"))
    connection = source.connection(1, kind, accepted=False)
    restore = Restore(1, 5, "default", HANDSHAKE, "", [], Snapshot(encode({"n": 3})), 0, False)
    connection.restored(restore)
    source.put((connection, restore), message(connection, 6, "on"))
    until(lambda: kind.log == [(1, "restored 3"), (1, "on")])


def test_only_what_only_this_process_has_cannot_move(
    start: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pool, source = start()

    def keeps(self: WebSocketHandler, text: str) -> None:
        self.mine = threading.Lock()  # type: ignore[attr-defined]

    stays = source.connection(1, handler(on_message=keeps))
    moves = source.connection(2, handler())
    has_restore = source.connection(3, handler(on_message=keeps, on_restore=lambda self: None))
    pool.retire()
    for connection in (stays, moves, has_restore):
        source.put(message(connection, 2), (connection, Release(connection.conn)))
    until(lambda: source.link.handled == 6)
    assert (stays.close_code, stays.over) == (1012, False)  # its on_close is still to come
    assert (moves.over, has_restore.over) == (True, True)
    assert "no other worker can go on with it: self.mine is a _thread.lock" in caplog.text


def test_the_watchdog_once_woken_stays_awake(start: Any) -> None:
    pool, source = start()
    connection = source.connection(1, handler())
    source.put(message(connection, 2))
    until(lambda: pool._dozing)
    alarms: list[None] = []
    wake = pool._alarm.set
    pool._alarm.set = lambda: (alarms.append(None), wake())
    for seq in range(3, 43):
        source.put(message(connection, seq))
        until(lambda seq=seq: source.acks().get(1) == seq)
    assert len(alarms) <= 2


def test_a_flush_that_fails_does_not_lose_the_lead(
    start: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    pool, source = start(gate=gate)
    kind = handler(on_message=lambda self, message: gate() if message == "block" else None)
    blocking, fast = source.connection(1, kind), source.connection(2, handler())
    averages = pool._averages.setdefault(kind, pool_module.Averages())
    for average in (averages.open, averages.message):
        average.blocked = average.probe_at = 1e9  # known to block, and not to be probed
    failures = iter([OSError("no")])

    def flush() -> None:
        for failure in failures:
            raise failure

    monkeypatch.setattr(source, "flush", flush)
    source.put(message(blocking, 2, "block"), message(fast, 2))
    until(lambda: len(fast.handler_class.log) == 1)
    assert "sending replies failed" in caplog.text


# ---------------------------------------------------------------- fairness


def test_replies_of_hooks_that_compute_do_not_wait_for_all_others(start: Any) -> None:
    _, source = start()
    left: list[int] = []

    def on_message(self: WebSocketHandler, text: str) -> None:
        left.append(sum(len(batch.messages) for batch in source.socket.batches))
        self.send(text)
        until = time.monotonic() + 0.001
        while time.monotonic() < until:
            pass

    kind = handler(on_message=on_message)
    connections = [source.connection(conn, kind) for conn in range(1, 31)]
    source.put(*[message(connection, 2) for connection in connections])
    until(lambda: len(source.acks()) == 30)
    assert left[-1] >= 20


def test_hooks_that_close_leave_room_for_messages(start: Any) -> None:
    gate = Gate()
    _, source = start(8, gate)
    kind = handler(on_close=lambda self: gate())
    closing = [source.connection(conn, kind) for conn in range(1, 41)]
    source.put(*[disconnect(connection, 2) for connection in closing])
    until(lambda: gate.inside == 8)
    other = source.connection(99, kind)
    source.put(message(other, 2, "quick"))
    until(lambda: (99, "quick") in kind.log)


def test_messages_and_closes_take_turns(start: Any) -> None:
    _, source = start()
    kind = handler()
    closing = [source.connection(conn, kind) for conn in range(1, 21)]
    speaking = [source.connection(conn, kind) for conn in range(21, 41)]
    source.put(
        *[disconnect(connection, 2) for connection in closing],
        *[message(connection, 2) for connection in speaking],
    )
    until(lambda: len(kind.log) == 40)
    assert 5 <= [what for _, what in kind.log[:20]].count("x") <= 15


def test_waiting_for_a_slow_client_does_not_count(start: Any) -> None:
    pool, source = start(2)
    source.link.max_pending = 10

    def on_message(self: WebSocketHandler, text: str) -> None:
        if text == "much":
            self.send("x" * 10)
            self.send("y")  # waits for the client
        self.note(text)  # type: ignore[attr-defined]

    kind = handler(on_message=on_message)
    slow = [source.connection(conn, kind) for conn in range(1, 13)]
    source.put(*[message(connection, 2, "much") for connection in slow])
    until(lambda: sum(c._waker is not None for c in slow) == 12)
    until(lambda: pool._shares.active == 0)
    quick = source.connection(99, kind)
    source.put(message(quick, 2, "quick"))
    until(lambda: kind.log == [(99, "quick")])
    for connection in slow:
        connection.confirmed(10)
    until(lambda: len(kind.log) == 13)
    until(lambda: pool._shares.active == 0)


def test_what_goes_wrong_around_a_hook_costs_only_its_connection(
    start: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool, source = start()
    kind = handler()
    broken, other = source.connection(1, kind), source.connection(2, kind)
    average = pool._average

    def no_memory(connection: WorkerConnection, event: Event) -> Any:
        if connection is broken:
            raise MemoryError
        return average(connection, event)

    monkeypatch.setattr(pool, "_average", no_memory)
    source.put(message(broken, 2), message(broken, 3), message(other, 2, "fine"))
    until(lambda: kind.log == [(2, "fine")])
    until(lambda: [m for b in source.socket.batches for m in b.messages] == [Refuse(1, 500, "")])
    assert source.connections() == [other]
    until(lambda: source.link.handled == 3)
    assert "connection gw-1 failed" in caplog.text


def test_with_a_hook_that_runs_on_the_pool_does_not_poll_all_the_time(start: Any) -> None:
    gate = Gate()
    _, source = start(gate=gate)
    kind = handler(on_message=lambda self, text: gate() if text == "block" else None)
    source.put(message(source.connection(1, kind), 2, "block"))
    until(lambda: gate.inside == 1)
    until(lambda: source.timeout == 0.2)
