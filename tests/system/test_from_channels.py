"""What docs/from-channels.md ports does what the original does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from .server import Project, Server

PAGE = Path(__file__).parents[2] / "docs" / "from-channels.md"


def block(title: str) -> str:
    """The code of the page that begins with this comment."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return next(code for code in blocks if code.startswith(f"# django-ws: {title}"))


def setting(title: str) -> dict[str, Any]:
    """``DEFAULT_WS_HANDLERS`` of a code block."""
    found: dict[str, Any] = {}
    exec(block(title), found)
    handlers: dict[str, Any] = found["DEFAULT_WS_HANDLERS"]
    return handlers


@pytest.fixture
def tutorial(project: Project) -> Project:
    chat = project.directory / "chat"
    chat.mkdir()
    (chat / "__init__.py").touch()
    for name in ("ws_handlers.py", "tests.py"):
        (chat / name).write_text(block(f"chat/{name}"))
    handlers = setting("mysite/settings.py")
    (project.directory / "local.json").write_text(json.dumps({"DEFAULT_WS_HANDLERS": handlers}))
    return project


@pytest.fixture
def server(tutorial: Project) -> Iterator[Server]:
    server = Server(tutorial)
    yield server
    server.stop()


def enter(server: Server, room: str) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}/ws/chat/{room}/", proxy=None)


@pytest.mark.system
def test_the_tutorials_chat_is_heard_in_its_room_alone(server: Server) -> None:
    with enter(server, "lobby") as one, enter(server, "lobby") as two, enter(server, "x") as other:
        one.send(json.dumps({"message": "hello"}))
        two.send(json.dumps({"message": "world"}))
        for member in (one, two):
            heard = [json.loads(member.recv(10)) for _ in range(2)]
            assert sorted(each["message"] for each in heard) == ["hello", "world"]
        other.send(json.dumps({"message": "nobody else?"}))
        assert json.loads(other.recv(10)) == {"message": "nobody else?"}


@pytest.mark.system
def test_its_own_tests_pass(tutorial: Project) -> None:
    tutorial.run("test", "chat")
    assert "Ran 1 test" in tutorial.commands[-1].output()


def test_the_route_is_the_same_one() -> None:
    assert setting("settings.py")["chat"]["url"] == "ws/chat/<slug:room>/"
    assert 'path("ws/chat/<slug:room>/", ChatConsumer.as_asgi())' in PAGE.read_text()
