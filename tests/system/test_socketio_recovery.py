"""Socket.IO's client library has its session back, against real processes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .server import Project, Server, until
from .test_resume import publish
from .test_socketio import NODE, packages

__all__ = ["packages"]

pytestmark = [pytest.mark.system]

WAIT = 20
TRANSPORTS = ["websocket", "polling"]


def make(directory: Path, **settings: object) -> Project:
    handlers = {"envelopes": "handlers.Envelopes", "lasting": "handlers.Lasting"}
    options = {
        "SOCKETIO": True,
        "SOCKETIO_RECOVERY": True,
        "ALLOW_MISSING_ORIGIN": True,
        "MAX_PENDING": 200_000,
        **settings,
    }
    return Project(directory, DEFAULT_WS_HANDLERS=handlers, DJANGO_WS=options)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose parts stay alive."""
    project = make(tmp_path_factory.mktemp("shared"), PING_INTERVAL=0.5, PING_TIMEOUT=5)
    server = Server(project)
    yield server
    server.stop()
    project.remove()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = make(tmp_path)
    yield project
    project.remove()


@pytest.fixture
def server(project: Project) -> Iterator[Server]:
    server = Server(project)
    yield server
    server.stop()


class Client:
    """The client of ``recover.cjs``, in the group ``room``."""

    numbers = itertools.count()

    def __init__(self, cache: Path, server: Server, transport: str, query: str = "") -> None:
        self.who = f"node{next(self.numbers)}"
        self.server = server
        self.query = f"who={self.who}&group=room"
        self.lines: queue.Queue[str] = queue.Queue()
        self.process = subprocess.Popen(
            ["node", str(NODE / "recover.cjs"), transport, self.query + query],
            env={
                **os.environ,
                "DJANGO_WS_PORT": str(server.port),
                "NODE_PATH": str(cache / "node_modules"),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Client:
        assert self.next() == "new other"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.strip())

    def next(self) -> str:
        return self.lines.get(timeout=WAIT)

    def say(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()

    def ask(self, *words: object) -> object:
        self.say(*words)
        word, _, answer = self.next().partition(" ")
        assert word == "answer"
        return json.loads(answer)

    def cut(self) -> None:
        self.say("cut")
        assert self.next().startswith("disconnect")

    def back(self, query: str = "") -> str:
        self.say("back", self.query + query)
        return self.next()

    def hears(self, *texts: str) -> None:
        for text in texts:
            assert self.next() == f'event message ["{text}"]'

    @property
    def notes(self) -> list[object]:
        return [note[0] for note in self.server.project.journal(who=self.who)]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_is_back_without_a_gap(packages: Path, shared: Server, transport: str) -> None:
    with Client(packages, shared, transport) as client:
        publish(shared, "room", "1", "2")
        client.hears("1", "2")
        for first in (3, 6):
            client.cut()
            missed = [str(first), str(first + 1)]
            publish(shared, "room", *missed)
            assert client.back() == "recovered same"
            client.hears(*missed)
            publish(shared, "room", "live")
            client.hears("live")
        assert client.ask("auth") == {"mine": 1}
        assert client.notes == ["connect", "resume", "resume"]
        client.cut()
        assert client.back("&again=say") == "recovered same"
        client.hears("welcome back")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_bytes_wait_too(packages: Path, shared: Server, transport: str) -> None:
    with Client(packages, shared, transport) as client:
        client.say("flood", 50, 0.3)
        client.cut()
        assert client.next() == "answer none"
        assert client.back() == "recovered same"
        for number in range(50):
            assert client.next() == f"event flood [{number},1000]"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_that_has_had_more_than_is_kept(
    packages: Path, shared: Server, transport: str
) -> None:
    with Client(packages, shared, transport) as client:
        client.say("flood", 500, 0)
        lines = [client.next() for _ in range(501)]
        assert [line for line in lines if line.startswith("event")] == [
            f"event flood [{number},1000]" for number in range(500)
        ]
        client.cut()
        publish(shared, "room", "1")
        assert client.back() == "recovered same"
        client.hears("1")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_too_much_for_a_client_that_is_away(packages: Path, shared: Server, transport: str) -> None:
    with Client(packages, shared, transport) as client:
        client.say("flood", 300, 0.3)
        client.cut()
        until(lambda: "close" in client.notes)
        assert client.next() == "answer none"
        assert client.back() == "new other"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_another_user_cannot_have_a_session(packages: Path, shared: Server, transport: str) -> None:
    with Client(packages, shared, transport, "&user=ann") as client:
        client.cut()
        assert client.back("&user=bob").startswith("refused 403")
        assert client.notes == ["connect"]
        assert client.back("&user=ann") == "recovered same"


def test_a_handler_may_refuse_which_ends_the_session(packages: Path, shared: Server) -> None:
    with Client(packages, shared, "websocket") as client:
        client.cut()
        assert client.back("&again=false").startswith("refused 403")
        until(lambda: "close" in client.notes)
        assert client.back() == "new other"
        assert client.notes.count("close") == 1


def test_a_client_that_leaves_does_not_come_back(packages: Path, shared: Server) -> None:
    with Client(packages, shared, "websocket") as client:
        client.say("leave")
        assert client.next() == "disconnect io client disconnect"
        until(lambda: "close" in client.notes)
        assert client.back() == "new other"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_processes_go_meanwhile(packages: Path, server: Server, transport: str) -> None:
    """Takes some seconds, since it waits for new processes."""
    with Client(packages, server, transport) as client:
        (old,) = server.workers()
        client.cut()
        old.kill()
        until(lambda: old not in server.workers() and server.workers(), WAIT)
        publish(server, "room", "1")
        assert client.back() == "recovered same"
        client.hears("1")

        (old,) = server.workers()
        client.cut()
        server.process.send_signal(signal.SIGHUP)
        until(lambda: old not in server.workers() and server.workers(), WAIT)
        publish(server, "room", "2")
        assert client.back() == "recovered same"
        client.hears("2")
        assert client.ask("pid") != old.pid
        assert "close" not in client.notes

        server.gateway().kill()
        assert client.next().startswith("disconnect")
        while (line := client.next()) != "new other":
            assert line.startswith("refused undefined")  # nobody listens yet
        until(lambda: client.notes.count("close") == 1, WAIT)
        client.cut()
    assert client.notes.count("connect") == 2
    server.stop()
    assert client.notes.count("close") == 2


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_session_waits_so_long(packages: Path, tmp_path: Path, transport: str) -> None:
    """Takes some seconds, for a server of its own, and two sessions that have to end."""
    # Pings tell that a client is gone which did not poll at that moment.
    project = make(tmp_path, SESSION_TTL=1, PING_INTERVAL=1, PING_TIMEOUT=1)
    try:
        server = Server(project)
        with Client(packages, server, transport) as client:
            client.cut()
            until(lambda: "close" in client.notes)
            assert client.back() == "new other"
        until(lambda: client.notes.count("close") == 2)
        server.stop()
        assert client.notes == ["connect", "close", "connect", "close"]
    finally:
        project.remove()
