"""client.js in Node against real processes, whose parts are killed and whose sockets are cut."""

from __future__ import annotations

import json
import os
import queue
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.missing import missing

from .server import Project, Server, until

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "src" / "django_ws" / "static" / "django_ws" / "client.min.js"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    if shutil.which("node") is None:
        missing("needs Node")
    project = Project(
        tmp_path,
        DEFAULT_WS_HANDLERS={
            "default": "handlers.Echo",
            "envelopes": "handlers.Envelopes",
            "again": {"handler": "handlers.Envelopes", "on_worker_lost": "redeliver"},
        },
        DJANGO_WS={
            "ALLOW_MISSING_ORIGIN": True,
            "PING_INTERVAL": 1,
            "PING_TIMEOUT": 1.5,  # on a busy machine, too: a connection that is cut anew hides much
            "GROUPS": {"room*": {"history_size": 1000, "history_ttl": 300}},
        },
    )
    yield project
    project.remove()


@pytest.fixture
def server(project: Project) -> Iterator[Server]:
    server = Server(project)
    yield server
    server.stop()


class Page:
    """A page in a Node process of its own.

    Attributes:
        events: what it has told.
    """

    def __init__(self, server: Server, who: str, path: str = "envelopes", **options: Any) -> None:
        self.who = who
        self.events: list[dict[str, Any]] = []
        self._seen: dict[str, int] = {}
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        query = f"?who={who}&group=room"
        self._process = subprocess.Popen(
            [
                *("node", "--no-warnings", "--experimental-websocket"),
                *(str(ROOT / "tests" / "node" / "drive.mjs"), f"/socket/{path}{query}"),
                json.dumps(options),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "CLIENT": CLIENT.as_uri(), "DJANGO_WS_PORT": str(server.port)},
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._thread.join()
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._queue.put(line)

    def do(self, command: str, **fields: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **fields}) + "\n")
        self._process.stdin.flush()

    def take(self) -> None:
        while not self._queue.empty():
            self.events.append(json.loads(self._queue.get()))

    def next(self, what: str, seconds: float = 40.0) -> dict[str, Any]:
        """The next thing of a kind that it tells."""
        seen = self._seen.get(what, 0)
        until(lambda: len(self.all(what)) > seen, seconds, lambda: (what, self.events[-5:]))
        self._seen[what] = seen + 1
        return self.all(what)[seen]

    def all(self, what: str) -> list[dict[str, Any]]:
        self.take()
        return [event for event in self.events if event["what"] == what]

    def messages(self, published: bool) -> list[str]:
        """Data of all messages: of those that were published, or of all others."""
        return [each["data"] for each in self.all("message") if ("group" in each) is published]


def handled(server: Server, who: str) -> list[object]:
    return [note[4] for note in server.project.journal("message", who=who)]


def test_whatever_a_page_does(server: Server) -> None:
    with Page(server, "ann") as page:
        page.do("send", data="hello")
        assert page.next("open")
        assert page.next("message")["data"] == "hello"
        page.do("request", data={"a": [1]})
        assert page.next("answer")["data"] == {"a": [1]}
        page.do("request", data="fail")
        assert page.next("failed")["code"] == 4500
        page.do("emit", event="typing", args=[1, 2])
        assert page.next("event")["args"] == ["typing", 2]
        assert page.next("answer")["data"] == [1, 2]
        page.do("close")
        assert page.next("close")["code"] in (1000, 1005)
        until(lambda: server.project.journal("close", who="ann"))


def test_connections_are_cut_in_the_middle_of_a_chat(server: Server) -> None:
    """Some seconds long, since a page comes back after up to half a second each time."""
    chance = random.Random(7)
    with Page(server, "ann") as ann, Page(server, "bob") as bob:
        for page in (ann, bob):
            page.next("open")
        for number in range(200):
            ann.do("send", data=f"publish room {number}")
            ann.do("send", data=f"echo {number}")
            if number % 20 == 10:
                chance.choice([ann, bob]).do("cut")
            time.sleep(0.01)  # a chat has a pace
        expected = [str(number) for number in range(200)]
        for page in (ann, bob):
            until(lambda page=page: len(page.messages(True)) >= 200, 20, page.events[-3:])
            assert page.messages(True) == expected
        until(lambda: len(ann.messages(False)) >= 200, 20)
        assert ann.messages(False) == [f"echo {number}" for number in range(200)]
        assert len(handled(server, "ann")) == 400
        assert all(event["recovered"] for page in (ann, bob) for event in page.all("resume"))
        assert ann.all("resume")
        assert len(ann.all("open")) == len(bob.all("open")) == 1


def test_a_connection_that_is_frozen_is_noticed(server: Server) -> None:
    """Its silence is noticed by both sides: 2.5 seconds here, and five more until it counts."""
    with Page(server, "ann") as page:
        page.next("open")
        page.do("freeze")
        page.do("send", data="into the void")
        assert page.next("resume", 15)["recovered"] is True
        assert page.next("message")["data"] == "into the void"
        assert handled(server, "ann") == ["into the void"]


@pytest.mark.parametrize("path", ["envelopes", "again"])
def test_a_worker_is_killed_in_the_middle(server: Server, path: str) -> None:
    with Page(server, "ann", path) as page:
        page.next("open")
        page.do("request", data={"nap": 1})
        until(lambda: server.project.journal("request", who="ann"))
        (old,) = server.workers()
        old.kill()
        if path == "again":
            assert page.next("answer")["data"] == {"nap": 1}
            assert not page.all("resume"), (page.events, server.output())
        else:
            assert page.next("failed")["code"] == 4410
            assert page.next("resume")["recovered"] is False
            page.next("open")
        page.do("send", data="hello")
        assert page.next("message")["data"] == "hello"


def test_a_worker_is_replaced_while_a_page_is_away(server: Server) -> None:
    with Page(server, "ann") as page:
        page.next("open")
        (old,) = server.workers()
        server.process.send_signal(signal.SIGHUP)
        sent = 0
        while old in server.workers():
            page.do("send", data=f"echo {sent}")
            page.do("cut")
            sent += 1
            time.sleep(0.05)  # about as long as a page takes to come back
        until(lambda: len(page.messages(False)) == sent, 20, lambda: page.events[-5:])
        assert page.messages(False) == [f"echo {number}" for number in range(sent)]
        assert all(event["recovered"] for event in page.all("resume"))


def test_a_gateway_is_killed(server: Server) -> None:
    with Page(server, "ann") as page:
        page.next("open")
        page.do("send", data="publish room first")
        assert page.next("message")["data"] == "first"
        page.do("send", data="nap 1")
        page.do("request", data="doubtful")
        until(lambda: "nap 1" in handled(server, "ann"))
        server.gateway().kill()
        until(lambda: page.all("state")[-1]["state"] == "offline")
        page.do("send", data="echo later")
        assert page.next("failed")["code"] == 4410
        told = page.next("resume")
        assert [told["recovered"], told.get("group")] == [False, None]
        assert told["unconfirmed"][-1] == "nap 1"
        lost = page.next("resume")
        assert [lost["recovered"], lost["group"]] == [False, "room"]
        assert page.next("message")["data"] == "echo later"


def test_a_page_without_gaps(server: Server) -> None:
    with Page(server, "ann") as ann:
        ann.next("open")
        for text in ("seen", "missed", "too"):
            ann.do("send", data=f"publish room {text}")
            ann.next("message")
        first = ann.all("message")[0]
        since = {name: first[name] for name in ("group", "offset", "epoch")}
        with Page(server, "bob", since=since) as bob:
            for text in ("missed", "too"):
                event = bob.next("message")
                assert [event["data"], event["recovered"]] == [text, True]
            ann.do("send", data="publish room live")
            event = bob.next("message")
            assert [event["data"], event["recovered"]] == ["live", False]


def test_whatever_breaks_the_page_knows(server: Server) -> None:
    """Ten seconds and more: enough for everything to break, and to come back.

    What a page has sent is handled once, or it is told that this is in doubt. What is published
    comes once and in order, or it is told that something is missing.
    """
    chance = random.Random(11)
    faults = ["cut", "worker", "cut", "hangup", "cut", "gateway", "cut", "worker"]
    sent = 0
    with Page(server, "ann") as page:
        page.next("open")
        for fault in faults:
            for _ in range(chance.randrange(10, 30)):
                page.do("send", data=f"publish room {sent}")
                sent += 1
                time.sleep(0.01)  # a chat has a pace
            if fault == "cut":
                page.do("cut")
            elif fault == "hangup":
                server.process.send_signal(signal.SIGHUP)
            elif fault == "worker":
                until(lambda: server.workers(), 20)
                chance.choice(server.workers()).kill()
            else:
                server.gateway().kill()
        until(lambda: page.all("state")[-1]["state"] == "open", 30)
        page.do("request", data="are you there")
        assert page.next("answer", 60)["data"] == "are you there"

        texts = [f"publish room {number}" for number in range(sent)]
        got = [int(text) for text in page.messages(True)]
        doubtful = [text for event in page.all("resume") for text in event["unconfirmed"]]
        did = handled(server, "ann")
        assert [text for text in texts if did.count(text) > 1] == []
        assert [text for text in texts if text not in did and text not in doubtful] == []
        assert got == sorted(set(got))
        assert [event for event in page.all("resume") if not event["recovered"]]
