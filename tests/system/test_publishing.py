"""Publications from handlers and from other processes, histories and who is there."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .clients import Client
from .server import MODES, Project, Server

pytestmark = pytest.mark.system

GROUPS = {"room*": {"history_size": 1000, "history_ttl": 60, "presence": True}}


@pytest.fixture(scope="module", params=MODES)
def server(request, tmp_path_factory):
    project = Project(tmp_path_factory.mktemp(request.param))
    # Flags are for the server alone; other processes go by the settings.
    own = {"GROUPS": GROUPS, "SUB_SOCKET": project.flags[3]}
    (project.directory / "local.json").write_text(json.dumps({"DJANGO_WS": own}))
    project.run("migrate", "--verbosity=0")
    server = Server(project, f"--{request.param}", "--workers=2")
    yield server
    server.stop()
    project.remove()


def outside(server: Server, *arguments: object) -> str:
    """What a process beside the server prints that publishes."""
    done = subprocess.run(
        [sys.executable, "outside.py", *map(str, arguments)],
        cwd=server.project.directory,
        env=server.project.environment(),
        capture_output=True,
        timeout=30,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_other_processes_publish_in_order_and_on_commit(server):
    with Client(server, "rooms") as one, Client(server, "rooms") as two:
        offset, epoch = json.loads(one.receive())
        assert json.loads(two.receive()) == [offset, epoch]
        said = outside(server, 100, "fork").split()
        assert said == [str(offset + 102), "last", "2"]
        for client in (one, two):
            expected = ["from a child", *map(str, range(100)), "last"]
            assert [client.receive() for _ in expected] == expected


def test_who_comes_from_a_position_misses_nothing(server):
    with Client(server, "rooms") as client:
        offset, epoch = json.loads(client.receive())
        outside(server, 20)
        for _ in range(21):
            client.receive()
        with Client(server, f"rooms?since=[{offset + 5},%22{epoch}%22]") as late:
            found = [late.receive() for _ in range(17)]
        assert found[:16] == [*map(str, range(5, 20)), "last"]
        assert json.loads(found[16]) == [offset + 21, epoch]


def test_handlers_publish_on_commit_and_in_order(server):
    with Client(server, "rooms") as client, Client(server, "rooms") as other:
        start = json.loads(client.receive())[0]
        other.receive()
        client.send("commit", "outer", "plain", "wait")
        assert client.receive() == "before the commit"
        assert json.loads(client.receive()) == {"said": "kept"}
        assert client.receive() == "plain"
        found = [client.receive(), client.receive()]
        assert sorted(found) == sorted(["waited for", str(start + 4)])
        assert json.loads(other.receive()) == {"said": "kept"}
        assert [other.receive() for _ in range(3)] == ["from anywhere", "plain", "waited for"]
