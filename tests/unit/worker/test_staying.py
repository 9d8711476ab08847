"""A hook that finds its session over, and the one that hears of a user that has changed."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client

from django_ws.auth import permission_required
from django_ws.base import WebSocketHandler
from django_ws.exceptions import Reject
from django_ws.wire.codec import encode
from django_ws.wire.messages import (
    TEXT,
    Accept,
    Close,
    Connect,
    Message,
    Revalidate,
    SaveSnapshot,
    Send,
)
from django_ws.worker import hygiene
from django_ws.worker.connection import WorkerConnection
from django_ws.worker.turn import handle
from tests.unit.worker.executors.test_pool import handler
from tests.unit.worker.test_request import handshake
from tests.unit.worker.test_turn import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(hygiene.thread, "dirty", False)
    return World()


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann")


def login(user: User) -> str:
    client = Client()
    client.force_login(user)
    key = client.session.session_key
    assert key is not None
    return key


def connect(
    world: World, kind: type[WebSocketHandler], key: str, **changed: Any
) -> WorkerConnection:
    request = encode(handshake([("cookie", f"sessionid={key}")], **changed))
    connection = WorkerConnection(1, "chat", request, kind, world.link, world.runner)
    world.link.connections[1] = connection
    assert handle(connection, Connect(1, 1, "chat", request))
    assert isinstance(world.said()[0], Accept)
    return connection


# ---------------------------------------------------------------- sessions that are over


def read(self: Any, message: str) -> None:
    self.send(str(self.request.session.get("seen")))


def write(self: Any, message: str) -> None:
    self.request.session["seen"] = 1
    SessionStore(self.request.session.session_key).delete()


def flush(self: Any, message: str) -> None:
    self.request.session.flush()


@pytest.mark.parametrize(("hook", "closes"), [(read, True), (write, True), (flush, False)])
def test_a_hook_that_finds_its_session_over(
    world: World, ann: User, hook: Any, closes: bool
) -> None:
    key = login(ann)
    connection = connect(world, handler(on_message=hook), key)
    assert connection.owner == (str(ann.pk), connection.owner[1])
    if hook is read:
        assert handle(connection, Message(1, 2, TEXT, b""))
        assert Close(1, 4401, "logged out") not in world.said()
        SessionStore(key).delete()
    assert handle(connection, Message(1, 3, TEXT, b""))
    assert (Close(1, 4401, "logged out") in world.said()) is closes
    assert connection.owner == ("", "")


def test_one_that_never_was_closes_nothing(world: World) -> None:
    connection = connect(world, handler(on_message=read), "invented" * 4)
    assert handle(connection, Message(1, 2, TEXT, b""))
    assert world.said() == [Send(1, TEXT, b"None")]


# ---------------------------------------------------------------- users that have changed


class Telling(WebSocketHandler):
    def on_message(self, message: str) -> None:
        self.send(self.user.first_name)

    def on_user_changed(self) -> None:
        self.state["name"] = self.user.first_name
        self.send(f"now {self.user.first_name}")


def test_the_hook_has_the_user_as_it_is(world: World, ann: User) -> None:
    connection = connect(world, Telling, login(ann))
    assert handle(connection, Message(1, 2, TEXT, b""))
    User.objects.update(first_name="Ann")
    assert handle(connection, Message(1, 3, TEXT, b""))
    assert [m.data for m in world.said() if isinstance(m, Send)] == [b"", b""]
    connection.user_changes = True
    assert handle(connection, Revalidate(1))
    assert not connection.user_changes
    assert handle(connection, Message(1, 4, TEXT, b""))
    said = world.said()
    assert [m.data for m in said if isinstance(m, Send)] == [b"now Ann", b"Ann"]
    assert any(isinstance(m, SaveSnapshot) and b"Ann" in m.snapshot.state for m in said)


def test_what_decorators_ask_for_is_asked_again(world: World, ann: User) -> None:
    may = Permission.objects.get(codename="add_user")
    ann.user_permissions.add(may)
    connection = connect(
        world, permission_required("auth.add_user")(type("H", (Telling,), {})), login(ann)
    )
    assert handle(connection, Revalidate(1))
    assert [m.data for m in world.said() if isinstance(m, Send)] == [b"now "]
    ann.user_permissions.clear()
    world.said()
    assert handle(connection, Revalidate(1))
    assert handle(connection, Revalidate(1))
    assert world.said()[:1] == [Close(1, 4403, "permission denied")]


def test_a_token_is_not_read_again_since_it_may_be_too_old_by_now(world: World, ann: User) -> None:
    class Token(Telling):
        calls = 0

        def authenticate(self) -> Any:
            Token.calls += 1
            if Token.calls > 1:
                raise Reject(401, "too old")
            return User.objects.get()

    connection = connect(world, Token, login(ann))
    User.objects.update(first_name="Ann")
    assert handle(connection, Revalidate(1))
    assert [m.data for m in world.said() if isinstance(m, Send)] == [b"now Ann"]


def test_what_leaves_the_hook_is_handled_as_ever(
    world: World, ann: User, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Any) -> None:
        raise ValueError("broken")

    connection = connect(world, handler(on_user_changed=fail), login(ann))
    assert handle(connection, Revalidate(1))
    assert Close(1, 1011, "internal error") in world.said()
    assert "on_user_changed failed" in caplog.text


def test_it_does_not_run_for_who_is_closed(world: World, ann: User) -> None:
    kind = handler(on_user_changed=lambda self: self.note("changed"))
    connection = connect(world, kind, login(ann))
    connection.close(4000, "")
    assert handle(connection, Revalidate(1))
    assert (1, "changed") not in kind.log  # type: ignore[attr-defined]
