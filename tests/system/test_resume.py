"""Sessions of django-ws.v1 that outlive their connections, against real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .envelopes import EnvelopeClient
from .server import Project, Server, until

pytestmark = pytest.mark.system


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(
        tmp_path,
        DEFAULT_WS_HANDLERS={"default": "handlers.Echo", "envelopes": "handlers.Envelopes"},
        DJANGO_WS={
            "ALLOW_MISSING_ORIGIN": True,
            "SESSION_TTL": 5,
            "MAX_PARKED": 3,
            "HANDSHAKE_TIMEOUT": 1,
            "MAX_PENDING": 100_000,
            "GROUPS": {"room*": {"history_size": 100, "history_ttl": 300}},
        },
    )
    yield project
    project.remove()


@pytest.fixture
def server(project: Project) -> Iterator[Server]:
    server = Server(project)
    yield server
    server.stop()


def test_everything_both_ways(server: Server) -> None:
    with EnvelopeClient(server).begin() as client:
        assert not client.welcome["resumed"]
        client.send("hello")
        assert client.next() == ["m", "hello"]
        client.send(b"\x00\n\xff")
        assert client.next() == ["m", b"\x00\n\xff"]
        number = client.call("r", {"a": [1]})
        assert client.next() == ["ok", number, {"a": [1]}]
        number = client.call("r", b"\x01")
        assert client.next() == ["ok", number, b"\x01"]
        number = client.call("r", "fail")
        assert client.next() == ["err", number, 4500, "internal error"]
        number = client.call("r", "mixed")
        assert client.next() == ["err", number, 4500, "internal error"]
        client.call("e", [1, 2], "typing")
        assert client.next() == ["e", "heard", ["typing", 2]]
        number = client.call("x", [1], "rename")
        assert [client.next(), client.next()] == [
            ["e", "heard", ["rename", 1]],
            ["ok", number, [1]],
        ]
        number = client.call("x", b"\x02", "rename")
        assert [client.next(), client.next()] == [
            ["e", "heard", ["rename", 1]],
            ["ok", number, b"\x02"],
        ]
        client.until_handled(number)


def test_a_session_is_had_back(server: Server, project: Project) -> None:
    client = EnvelopeClient(server).begin()
    client.send("a")
    assert client.next() == ["m", "a"]
    client.send("nap 0.3")
    client.send("b")
    client.cut()
    until(lambda: project.journal("message", who=client.who)[2:], what="b")
    client.begin(query="&again=say")
    assert client.welcome["resumed"]
    assert client.welcome["had"] == 3
    assert client.next() == ["m", "b"]
    assert client.next() == ["m", "welcome back"]
    client.send("c")
    assert client.next() == ["m", "c"]
    assert [note[0] for note in project.journal(who=client.who)] == [
        *("connect", "message", "message", "message", "resume", "message")
    ]
    client.close()
    until(lambda: project.journal("close", who=client.who))
    client.begin()
    assert not client.welcome["resumed"]
    client.close()
