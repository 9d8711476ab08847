"""A registry and real workers in one process, over real sockets."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from django_ws.base import WebSocketHandler
from django_ws.exceptions import Reject, SendTimeout
from django_ws.gateway.session import Session
from django_ws.gateway.shared import Shared
from django_ws.gateway.workers import MAX_JOINING, Registry
from django_ws.options import GatewayConfig, Limits, NamespaceConfig, WorkerConfig
from django_ws.transport.replies import RepliesSender
from django_ws.wire.codec import Batch, encode
from django_ws.wire.messages import (
    BINARY,
    TEXT,
    WIRE_VERSION,
    Accept,
    Handshake,
    Hello,
    Refuse,
)
from django_ws.worker import main as worker_main
from django_ws.worker.main import Worker
from tests.ports import free_port

DEADLINE = 8.0

#: What handlers noted: (path of the connection, what).
log: list[tuple[str, Any]] = []
gates: dict[str, threading.Event] = {}


class Base(WebSocketHandler):
    def note(self, what: Any) -> None:
        log.append((self.request.path, what))

    def on_close(self) -> None:
        self.note(("close", self.close_code))


class Echo(Base):
    def on_connect(self) -> None:
        if self.request.GET.get("refuse"):
            raise Reject(int(self.request.GET["refuse"]), "not you")
        self.send("hello")

    def on_message(self, message: str | bytes) -> None:
        if message == "close":
            self.send("bye")
            self.close(4000, "enough")
        elif message == "fail":
            raise LookupError
        else:
            self.send(message)


class Counter(Base):
    """Counts in its state, slowly if told to."""

    def on_message(self, message: str) -> None:
        gate = gates.get(message)
        if gate is not None:
            gate.wait(DEADLINE)
        self.state["n"] = self.state.get("n", 0) + 1
        self.send(f"{message} {self.state['n']}")

    def on_restore(self) -> None:
        self.note("restored")


class Flood(Base):
    """Sends until the client has to read."""

    def on_message(self, message: str) -> None:
        try:
            for number in range(1000):
                self.send(number.to_bytes(2) + bytes(1000))
        except SendTimeout:
            self.note("timeout")


class Looper(Base):
    def on_open(self, message: str) -> bool:
        self.loop()
        return True

    def on_restore(self) -> None:
        self.loop()

    def loop(self) -> None:
        while not self.wait(0.01):
            self.state["n"] = self.state.get("n", 0) + 1
            self.send(str(self.state["n"]))


HANDLERS = {"default": Echo, "counter": Counter, "flood": Flood, "looper": Looper}


class Client:
    """Stands for a browser's connection."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.writable = True
        self.backlog = 0
        self.got: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.came = asyncio.Event()

    def send(self, opcode: int, data: bytes) -> None:
        self.got.append(data)
        self.came.set()

    def send_shared(self, message: Shared) -> None:
        self.send(message.opcode, message.data)

    def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = (code, reason)
            self.came.set()
            asyncio.get_running_loop().call_soon(self.session.disconnected, code, reason)

    def resume(self) -> None:
        pass

    def say(self, *messages: str) -> None:
        for message in messages:
            self.session.receive(TEXT, message.encode())

    def leave(self, code: int = 1001) -> None:
        self.closed = (code, "")
        self.session.disconnected(code, "")

    async def heard(self, count: int) -> list[bytes]:
        await self._until(lambda: len(self.got) >= count)
        return self.got

    async def ended(self) -> tuple[int, str]:
        await self._until(lambda: self.closed)
        assert self.closed is not None
        return self.closed

    async def _until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self.came.clear()
                await self.came.wait()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.002)


class Stack:
    """One gateway's registry and some workers, each in a thread of its own."""

    def __init__(self, push: str, sub: str, mode: str, policy: str, limits: Limits) -> None:
        self.gateway_config = GatewayConfig(
            project="p", push_socket=push, sub_socket=sub, limits=limits
        )
        self.worker_config = WorkerConfig(
            project="p",
            namespaces={
                name: NamespaceConfig(handler=f"{__name__}.{kind.__name__}", on_worker_lost=policy)
                for name, kind in HANDLERS.items()
            },
            push_socket=push,
            sub_sockets=[sub],
            mode=mode,
            limits=limits,
        )
        self.registry: Registry
        self.killed: list[str] = []
        self.workers: list[tuple[Worker, threading.Thread]] = []
        self.numbers = iter(range(1, 1000))

    async def gateway(self, incarnation: str = "gw1") -> Registry:
        loop = asyncio.get_running_loop()
        self.registry = Registry(
            self.gateway_config, incarnation, loop=loop, on_kill=self.killed.append
        )
        await self.registry.start()
        return self.registry

    async def worker(self) -> Worker:
        before = self.registry.workers
        worker = worker_main.make(self.worker_config, f"w{next(self.numbers)}", None)
        thread = threading.Thread(target=worker.run, name="worker")
        self.workers.append((worker, thread))
        thread.start()
        await until(lambda: self.registry.workers > before)
        return worker

    async def connect(self, namespace: str = "default", query: str = "") -> Client:
        session = self.ask(namespace, query)
        async with asyncio.timeout(DEADLINE):
            verdict = await session.verdict
        assert isinstance(verdict, Accept), verdict
        client = Client(session)
        session.attach(client)
        return client

    def ask(self, namespace: str = "default", query: str = "") -> Session:
        path = f"/{next(self.numbers)}"
        here = ("127.0.0.1", 1)
        return self.registry.connect(
            Handshake(namespace, {}, "http", path, query, [], here, here, [], time.time())
        )

    async def retired(self, worker: Worker, seconds: float = 5.0) -> None:
        (thread,) = [thread for other, thread in self.workers if other is worker]
        worker.retire(seconds)
        await until(lambda: not thread.is_alive())

    async def stop(self) -> None:
        for gate in gates.values():
            gate.set()
        for worker, _ in self.workers:
            worker.retire(3.0)
        await until(lambda: not any(thread.is_alive() for _, thread in self.workers))
        self.registry.close()


Scenario = Callable[[Stack], Awaitable[None]]
Play = Callable[..., None]


@pytest.fixture(params=["pool-ipc", "threaded-ipc", "pool-tcp"])
def play(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Play:
    """Plays a scenario in a running stack, and sees that nothing is left."""
    mode, _, scheme = request.param.partition("-")
    directory: Path = tmp_path_factory.mktemp("s")

    def exits(code: int) -> None:
        raise AssertionError(f"the worker would have ended its process with {code}")

    monkeypatch.setattr(worker_main.os, "_exit", exits)

    def run(scenario: Scenario, policy: str = "close", **limits: Any) -> None:
        log.clear()
        gates.clear()
        if scheme == "ipc":
            push, sub = f"ipc://{directory}/push", f"ipc://{directory}/sub"
        else:
            push, sub = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
        stack = Stack(push, sub, mode, policy, Limits(**limits))

        async def main() -> None:
            await stack.gateway()
            try:
                await scenario(stack)
            finally:
                await stack.stop()

        asyncio.run(main())
        assert not list(directory.iterdir())
        assert not stack.killed

    return run


def closes() -> list[Any]:
    return [what for _, what in log if isinstance(what, tuple) and what[0] == "close"]


# ---------------------------------------------------------------- the plain course of things


def test_echoes_come_back_in_order_and_on_close_runs_once(play: Play) -> None:
    async def scenario(stack: Stack) -> None:
        await stack.worker()
        clients = [await stack.connect() for _ in range(20)]
        for number in range(20):
            for client in clients:
                client.say(str(number))
        for client in clients:
            got = await client.heard(21)
            assert got == [b"hello", *(b"%d" % number for number in range(20))]
            client.leave()
        await until(lambda: not stack.registry.sessions.by_conn)
        assert closes() == [("close", 1001)] * 20

    play(scenario)


def test_only_messages_count_for_a_worker_that_is_replaced_by_them(play: Play) -> None:
    async def scenario(stack: Stack) -> None:
        worker = await stack.worker()
        client = await stack.connect()
        client.say("1", "2", "3")
        await client.heard(4)
        client.leave()
        await until(lambda: not stack.registry.sessions.by_conn)
        assert worker.receiver.messages == 3

    play(scenario)


def test_messages_up_to_the_limit_and_empty_ones(play: Play) -> None:
    async def scenario(stack: Stack) -> None:
        await stack.worker()
        client = await stack.connect()
        big = os.urandom(1024 * 1024)
        for data in (b"", big, b"x", big):
            client.session.receive(BINARY, data)
        assert (await client.heard(5))[1:] == [b"", big, b"x", big]

    play(scenario, max_message_size=1024 * 1024)


def test_refusals(play: Play) -> None:
    async def scenario(stack: Stack) -> None:
        await stack.worker()
        session = stack.ask(query="refuse=418")
        async with asyncio.timeout(DEADLINE):
            verdict = await session.verdict
        assert (type(verdict), verdict.status, verdict.reason) == (Refuse, 418, "not you")  # type: ignore[union-attr]
        await until(lambda: not stack.registry.sessions.by_conn)
        assert closes() == []

    play(scenario)


def test_closing_by_the_handler(play: Play) -> None:
    async def scenario(stack: Stack) -> None:
        await stack.worker()
        client = await stack.connect()
        client.say("1", "close", "too late")
        assert await client.ended() == (4000, "enough")
        assert client.got == [b"hello", b"1", b"bye"]
        await until(lambda: not stack.registry.sessions.by_conn)
        assert closes() == [("close", 4000)]

    play(scenario)


def test_a_failing_hook_closes_its_connection_only(play: Play) -> None:
    async def scenario(stack: Stack) -> None:
        await stack.worker()
        one, two = await stack.connect(), await stack.connect()
        one.say("fail")
        assert await one.ended() == (1011, "internal error")
        two.say("x")
        assert (await two.heard(2))[1] == b"x"

    play(scenario)


def test_a_message_and_gone_is_handled(play: Play) -> None:
    async def scenario(stack: Stack) -> None:
        await stack.worker()
        for _ in range(10):
            client = await stack.connect("counter")
            client.say("only")
            client.leave()
        await until(lambda: not stack.registry.sessions.by_conn)
        assert closes() == [("close", 1001)] * 10

    play(scenario)


def test_a_worker_that_comes_before_or_after_its_gateway(play: Play) -> None:
    async def scenario(stack: Stack) -> None:
        session = stack.ask()
        await stack.worker()
        async with asyncio.timeout(DEADLINE):
            assert isinstance(await session.verdict, Accept)
        session.disconnected(1001, "")

    play(scenario)


# ---------------------------------------------------------------- the client reads slowly


def test_a_client_that_does_not_read_pauses_its_handler(play: Play) -> None:
    async def scenario(stack: Stack) -> None:
        await stack.worker()
        client = await stack.connect("flood")
        client.writable = False
        client.say("go")
        await client.heard(20)
        await asyncio.sleep(0.1)
        paused = len(client.got)
        assert paused < 100  # 40 kB may be under way, not 1 MB
        other = await stack.connect()
        other.say("x")
        await other.heard(2)
        client.writable = True
        client.session.writable()
        got = await client.heard(1000)
        assert [int.from_bytes(data[:2]) for data in got] == list(range(1000))

    play(scenario, max_pending=40_000)


def test_a_client_that_never_reads_ends_the_hook_in_time(play: Play) -> None:
    async def scenario(stack: Stack) -> None:
        await stack.worker()
        client = await stack.connect("flood")
        client.writable = False
        client.say("go")
        await until(lambda: [what for _, what in log] == ["timeout"])
        client.leave()

    play(scenario, max_pending=40_000, send_timeout=0.1)


# ---------------------------------------------------------------- changes of worker


def test_a_planned_change_of_worker_loses_and_repeats_nothing(play: Play) -> None:
    async def scenario(stack: Stack) -> None:
        worker = await stack.worker()
        clients = [await stack.connect("counter") for _ in range(10)]
        said = 0
        for _ in range(3):
            following = await stack.worker()
            retiring = asyncio.ensure_future(stack.retired(worker))
            while not retiring.done():
                for client in clients:
                    client.say(str(said))
                said += 1
                await asyncio.sleep(0.005)
            await retiring
            worker = following
        for client in clients:
            assert client.closed is None
            got = await client.heard(said)
            assert got == [b"%d %d" % (number, number + 1) for number in range(said)]
        assert log.count((log[0][0], "restored")) == 3
        assert len(log) == 30
        for client in clients:
            client.leave()
        await until(lambda: not stack.registry.sessions.by_conn)
        assert closes() == [("close", 1001)] * 10

    play(scenario)


def test_hooks_that_loop_move(play: Play) -> None:
    async def scenario(stack: Stack) -> None:
        worker = await stack.worker()
        client = await stack.connect("looper")
        client.say("go")
        await client.heard(3)
        await stack.worker()
        await stack.retired(worker)
        moved = len(client.got)
        got = await client.heard(moved + 5)
        assert got == [b"%d" % number for number in range(1, len(got) + 1)]
        client.leave()
        await until(lambda: not stack.registry.sessions.by_conn)

    play(scenario)


def test_without_another_worker_connections_wait_for_the_next(play: Play) -> None:
    async def scenario(stack: Stack) -> None:
        worker = await stack.worker()
        client = await stack.connect("counter")
        client.say("a")
        await client.heard(1)
        await stack.retired(worker)
        client.say("b")
        await stack.worker()
        assert await client.heard(2) == [b"a 1", b"b 2"]

    play(scenario)


@pytest.mark.parametrize("policy", ["close", "redeliver"])
def test_what_a_dead_worker_had_not_handled(play: Play, policy: str) -> None:
    async def scenario(stack: Stack) -> None:
        gates["block"] = threading.Event()
        worker = await stack.worker()
        client = await stack.connect("counter")
        client.say("a", "block", "b")
        await client.heard(1)
        await until(lambda: client.session.unacked and client.session.unacked[0].seq == 3)  # type: ignore[union-attr]
        await stack.worker()
        stack.registry.worker_died(worker.incarnation)
        worker._broken("its death is played here")
        gates.pop("block").set()  # what the dead one says from here on does not count
        if policy == "redeliver":
            assert await client.heard(3) == [b"a 1", b"block 2", b"b 3"]
            client.leave()
        else:
            assert await client.ended() == (1012, "the worker was lost")
        await until(lambda: not stack.registry.sessions.by_conn)

    play(scenario, policy=policy)


def test_connections_of_a_gateway_that_goes_are_closed_once(play: Play) -> None:
    async def scenario(stack: Stack) -> None:
        await stack.worker()
        clients = [await stack.connect() for _ in range(5)]
        clients[0].say("x")
        await clients[0].heard(2)
        clients[1].leave()
        await until(lambda: len(stack.registry.sessions.by_conn) == 4)
        stack.registry.close()
        await until(lambda: len(closes()) == 5)
        await stack.gateway("gw2")
        await until(lambda: stack.registry.workers == 1)
        client = await stack.connect()
        client.say("again")
        assert await client.heard(2) == [b"hello", b"again"]
        client.leave()
        await until(lambda: not stack.registry.sessions.by_conn)
        assert sorted(closes()) == [("close", 1001)] * 2 + [("close", 1006)] * 4

    play(scenario)


@pytest.mark.load
@pytest.mark.parametrize("whose", ["the worker's name", "names of their own"])
def test_thousands_of_forged_hellos_disturb_nobody(play: Play, whose: str) -> None:
    async def scenario(stack: Stack) -> None:
        worker = await stack.worker()
        client = await stack.connect()
        forger = RepliesSender(stack.gateway_config.sub_socket, 30.0)
        push = stack.gateway_config.push_socket
        sent = asked = 0
        try:
            async with asyncio.timeout(DEADLINE):
                while sent < 3000:
                    name = worker.incarnation if whose == "the worker's name" else f"f{sent}"
                    endpoint = push if push.startswith("tcp") else f"{push}.{name}"
                    hello = Hello(endpoint, sent, 1, time.time(), {}, {}, WIRE_VERSION)
                    if forger.send(encode(Batch(1, "p", name, "", 0, 0, [hello]))):
                        sent += 1
                    else:
                        await asyncio.sleep(0.001)
                    if sent % 300 == 0 and len(client.got) == asked + 1:
                        asked += 1
                        client.say(str(asked))
                        await asyncio.sleep(0)
            await client.heard(asked + 1)
            client.say("last")
            assert (await client.heard(asked + 2))[-1] == b"last"
            assert client.closed is None
            # Those that nobody answers for are dropped again.
            await until(lambda: len(stack.registry._workers) <= 1 + MAX_JOINING)
        finally:
            forger.close(0)

    play(scenario)
