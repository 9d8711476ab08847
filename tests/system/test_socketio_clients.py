"""The client libraries of Socket.IO, Node's and Python's, against real processes."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import socketio

from .server import Project, Server, until
from .test_socketio import NODE, node, packages

__all__ = ["packages"]

pytestmark = [pytest.mark.system]

TRANSPORTS = [["polling"], ["websocket"], ["polling", "websocket"]]
HANDLERS = {"lounge": "handlers.Lounge", "beside": "handlers.Lounge"}
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
        client.until("disconnect /lounge", "disconnect /beside", "connect /lounge", "connect /bes")
        client.until("answer /lounge none")
        assert client.ask("/beside", "pid") == lonely.workers()[0].pid

        lonely.gateway().kill()
        client.until("disconnect /lounge", "disconnect /beside", "connect /lounge", "connect /bes")
        assert client.ask("/lounge", "join", "a") == "joined"

        journal = lonely.project.journal
        assert len(journal("connect", who="node")) == 6
        until(lambda: len(journal("close", who="node")) == 4)


# -------------------------------------------------------------------- Python


@pytest.fixture
def client() -> Iterator[socketio.Client]:
    client = socketio.Client(reconnection_delay=0.1, reconnection_delay_max=0.3)
    yield client
    client.shutdown()
    client.eio.http and client.eio.http.close()


def connect(client: socketio.Client, server: Server, transports: list[str], **options) -> None:
    client.connect(
        f"http://127.0.0.1:{server.port}?who=python",
        transports=transports,
        wait_timeout=WAIT,
        **options,
    )


@pytest.mark.parametrize("transports", TRANSPORTS, ids=by_name)
def test_events_of_python(server: Server, client: socketio.Client, transports: list[str]) -> None:
    heard: queue.Queue[object] = queue.Queue()
    for namespace in ("/lounge", "/beside"):
        client.on("said", heard.put, namespace=namespace)
        client.on("message", heard.put, namespace=namespace)
    connect(client, server, transports, namespaces=list(map("/{}".format, HANDLERS)), auth={"t": 1})
    assert client.transport() == transports[-1]

    def call(*event, namespace="/lounge", timeout=10):
        name, *args = event
        return client.call(name, tuple(args), namespace=namespace, timeout=timeout)

    assert call("auth") == {"t": 1}
    assert call("join", "a") == ("joined", "a")
    assert call("join", "a", namespace="/beside") == ("joined", "a")
    assert call("twice", b"\x00\x1eb") == {"data": b"\x00\x1eb", "more": [b"\x00\x1eb"]}
    with pytest.raises(socketio.exceptions.TimeoutError):
        call("fail", timeout=0.3)
    for value in ("text", {"deep": [1, None]}, b"\x00\xff"):
        client.emit("say", ("a", value), namespace="/beside")
        assert [heard.get(timeout=WAIT) for _ in HANDLERS] == [value, value]
    for number in range(100):
        client.send(str(number), namespace="/lounge")
    assert [heard.get(timeout=WAIT) for _ in range(100)] == list(map(str, range(100)))


@pytest.mark.parametrize("transports", TRANSPORTS[:2], ids=by_name)
def test_python_is_told_that_there_is_no_such_namespace(
    server: Server, client: socketio.Client, transports: list[str]
) -> None:
    with pytest.raises(socketio.exceptions.ConnectionError):
        connect(client, server, transports, namespaces=["/nowhere"])


@pytest.mark.parametrize("transports", TRANSPORTS[:2], ids=by_name)
def test_python_comes_back(lonely: Server, client: socketio.Client, transports: list[str]) -> None:
    """Takes some seconds, since it waits for new processes."""
    told: queue.Queue[str] = queue.Queue()
    client.on("connect", lambda: told.put("connect"), namespace="/lounge")
    client.on("disconnect", lambda reason: told.put("disconnect"), namespace="/lounge")
    connect(client, lonely, transports, namespaces=["/lounge"])
    assert told.get(timeout=WAIT) == "connect"
    client.emit("nap", 30, namespace="/lounge")
    until(lambda: lonely.project.journal("nap", who="python"))
    lonely.workers()[0].kill()
    assert [told.get(timeout=WAIT) for _ in range(2)] == ["disconnect", "connect"]
    assert client.call("pid", namespace="/lounge", timeout=10) == lonely.workers()[0].pid
    lonely.gateway().kill()
    assert [told.get(timeout=WAIT) for _ in range(2)] == ["disconnect", "connect"]
    assert client.call("join", "a", namespace="/lounge", timeout=10) == ("joined", "a")
    until(lambda: len(lonely.project.journal("close", who="python")) == 2)
