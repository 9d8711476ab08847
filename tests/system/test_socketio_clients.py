"""The client libraries of Socket.IO, Node's and Python's, against real processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import socketio

from .load import soon
from .server import Project, Server, until
from .socketio_load import TRANSPORTS as RAW
from .socketio_load import SocketClient
from .test_socketio import NODE, node, packages

__all__ = ["packages"]

pytestmark = [pytest.mark.system]

TRANSPORTS = [["polling"], ["websocket"], ["polling", "websocket"]]
HANDLERS = {
    "lounge": "handlers.Lounge",
    "beside": "handlers.Lounge",
    "members": "handlers.Members",
}
WAIT = 20


def by_name(transports: list[str]) -> str:
    return "-".join(transports)


def make(directory: Path) -> Project:
    settings = {"SOCKETIO": True, "ALLOW_MISSING_ORIGIN": True}
    return Project(directory, DEFAULT_WS_HANDLERS=HANDLERS, DJANGO_WS=settings)


@pytest.fixture(scope="module", params=["pool", "gevent"])
def server(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Server]:
    project = make(tmp_path_factory.mktemp(request.param))
    server = Server(project, f"--{request.param}", "--workers=2")
    yield server
    server.stop()
    project.remove()


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, with one worker."""
    project = make(tmp_path)
    try:
        server = Server(project)
        yield server
        server.stop()
    finally:
        project.remove()


# -------------------------------------------------------------------- any


@pytest.mark.parametrize("transport", RAW)
def test_who_it_is_says_the_request_that_began(server: Server, transport: str) -> None:
    async def talk() -> None:
        for cookie in ("", "guest="):
            with pytest.raises(ConnectionRefusedError, match='"status":401'):
                await SocketClient.open(transport, server.port, "/members", cookie=cookie)
        clients = [
            await SocketClient.open(transport, server.port, "/members", cookie=f"guest={name}")
            for name in ("anna", "bert")
        ]
        for client, name in zip(clients, ("anna", "bert"), strict=True):
            assert await client.ask("who") == [name]
            await client.close()

    asyncio.run(talk())


# -------------------------------------------------------------------- Node


@pytest.mark.parametrize("transports", TRANSPORTS, ids=by_name)
def test_acknowledgements_and_rooms_in_node(
    packages: Path, server: Server, transports: list[str]
) -> None:
    assert node(packages, server.port, NODE / "lounge.cjs", *transports) == "fine\n"


class Again:
    """The client of ``again.cjs``."""

    def __init__(self, cache: Path, port: int, transports: list[str]) -> None:
        self.lines: queue.Queue[str] = queue.Queue()
        self.process = subprocess.Popen(
            ["node", str(NODE / "again.cjs"), *transports],
            env={
                **os.environ,
                "DJANGO_WS_PORT": str(port),
                "NODE_PATH": str(cache / "node_modules"),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.strip())

    def emit(self, path: str, *event: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([path, *event]) + "\n")
        self.process.stdin.flush()

    def until(self, *starts: str) -> None:
        """Wait for lines that begin like this, in any order, and no others."""
        left = list(starts)
        while left:
            line = self.lines.get(timeout=WAIT)
            found = [start for start in left if line.startswith(start)]
            assert found, f"{line!r} instead of {left}"
            left.remove(found[0])

    def ask(self, path: str, *event: object) -> object:
        self.emit(path, *event)
        line = self.lines.get(timeout=WAIT)
        assert line.startswith(f"answer {path} "), line
        return json.loads(line.split(" ", 2)[2])

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


@pytest.mark.parametrize("transports", TRANSPORTS[:2], ids=by_name)
def test_node_comes_back(packages: Path, lonely: Server, transports: list[str]) -> None:
    """Takes some seconds, since it waits for three new processes."""
    client = Again(packages, lonely.port, transports)
    with contextlib.ExitStack() as stack:
        stack.callback(client.stop)
        client.until("connect /lounge", "connect /beside")
        first = client.ask("/lounge", "pid")

        # Nothing in flight: other processes take over, and nobody sees it.
        lonely.process.send_signal(signal.SIGHUP)
        until(lambda: [worker.pid for worker in lonely.workers()] not in ([first], []), 15)
        second = until(lambda: client.ask("/lounge", "pid") not in (None, first), 15)
        assert second
        lonely.workers()[0].kill()
        until(lambda: client.ask("/beside", "pid") not in (first, None), 15)

        # In the middle of something: the client hears of it, and comes back by itself.
        client.emit("/lounge", "nap", 30)
        until(lambda: lonely.project.journal("nap", who="node"))
        lonely.workers()[0].kill()
        both = ["disconnect /lounge", "disconnect /beside", "connect /lounge", "connect /beside"]
        client.until("answer /lounge none", *both)
        assert client.ask("/beside", "pid") == lonely.workers()[0].pid

        lonely.gateway().kill()
        client.until(*both)
        assert client.ask("/lounge", "join", "a") == "joined"

        journal = lonely.project.journal
        assert len(journal("connect", who="node")) == 6
        until(lambda: len(journal("close", who="node")) == 4)


# -------------------------------------------------------------------- Python

# Its client with threads handles packets in a thread each, so that even those of one event may
# come in another order; the one with coroutines keeps them in order.


@contextlib.asynccontextmanager
async def connected(
    server: Server, transports: list[str], heard: asyncio.Queue[object], namespaces: list[str]
) -> AsyncIterator[socketio.AsyncClient]:
    http = aiohttp.ClientSession()  # of its own ones it leaves some open when it is cut off
    client = socketio.AsyncClient(
        reconnection_delay=0.1, reconnection_delay_max=0.3, http_session=http
    )

    async def hear(value: object) -> None:
        heard.put_nowait(value)

    async def connect() -> None:
        heard.put_nowait("connect")

    async def disconnect(reason: str) -> None:
        heard.put_nowait("disconnect")

    for namespace in namespaces:
        for event in ("said", "message"):
            client.on(event, hear, namespace=namespace)
        client.on("connect", connect, namespace=namespace)
        client.on("disconnect", disconnect, namespace=namespace)
    url = f"http://127.0.0.1:{server.port}?who=python"
    try:
        await client.connect(
            url, transports=transports, namespaces=namespaces, auth={"t": 1}, wait_timeout=WAIT
        )
        yield client
    finally:
        await client.shutdown()
        await http.close()


async def told(heard: asyncio.Queue[object], count: int) -> list[object]:
    async with asyncio.timeout(WAIT):
        return [await heard.get() for _ in range(count)]


@pytest.mark.parametrize("transports", TRANSPORTS, ids=by_name)
def test_events_of_python(server: Server, transports: list[str]) -> None:
    async def talk() -> None:
        heard: asyncio.Queue[object] = asyncio.Queue()
        async with connected(server, transports, heard, ["/lounge", "/beside"]) as client:
            assert client.transport() == transports[-1]
            assert await told(heard, 2) == ["connect", "connect"]

            async def call(name, *args, namespace="/lounge", timeout=10):
                return await client.call(name, args, namespace=namespace, timeout=timeout)

            assert await call("auth") == {"t": 1}
            assert await call("join", "a") == ("joined", "a")
            assert await call("join", "a", namespace="/beside") == ("joined", "a")
            data = b"\x00\x1eb"
            assert await call("twice", data) == {"data": data, "more": [data]}
            with pytest.raises(socketio.exceptions.TimeoutError):
                await call("nap", 0.5, timeout=0.1)
            for value in ("text", {"deep": [1, None]}, data):
                await client.emit("say", ("a", value), namespace="/beside")
                assert await told(heard, 2) == [value, value]
            for number in range(100):
                await client.send(str(number), namespace="/lounge")
            assert await told(heard, 100) == list(map(str, range(100)))

    asyncio.run(talk())


@pytest.mark.parametrize("transports", TRANSPORTS[:2], ids=by_name)
def test_python_is_told_that_there_is_no_such_namespace(
    server: Server, transports: list[str]
) -> None:
    async def talk() -> None:
        async with connected(server, transports, asyncio.Queue(), ["/nowhere"]):
            pass

    with pytest.raises(socketio.exceptions.ConnectionError):
        asyncio.run(talk())


@pytest.mark.parametrize("transports", TRANSPORTS[:2], ids=by_name)
def test_python_comes_back(lonely: Server, transports: list[str]) -> None:
    """Takes some seconds, since it waits for new processes."""

    async def talk() -> None:
        heard: asyncio.Queue[object] = asyncio.Queue()
        async with connected(lonely, transports, heard, ["/lounge"]) as client:
            assert await told(heard, 1) == ["connect"]
            await client.emit("nap", 30, namespace="/lounge")
            await soon(lambda: lonely.project.journal("nap", who="python"), WAIT)
            lonely.workers()[0].kill()
            assert await told(heard, 2) == ["disconnect", "connect"]
            pid = await client.call("pid", namespace="/lounge", timeout=10)
            assert pid == lonely.workers()[0].pid
            lonely.gateway().kill()
            assert await told(heard, 2) == ["disconnect", "connect"]
            joined = await client.call("join", "a", namespace="/lounge", timeout=10)
            assert joined == ("joined", "a")
        await soon(lambda: len(lonely.project.journal("close", who="python")) == 3, WAIT)

    asyncio.run(talk())
