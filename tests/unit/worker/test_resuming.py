"""A browser is back: who may have its connection again, and what the handler says to it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import PermissionDenied

from django_ws.auth import login_required, make_ticket
from django_ws.exceptions import Reject
from django_ws.wire.codec import encode
from django_ws.wire.messages import (
    TEXT,
    Accept,
    Close,
    Connect,
    Disconnect,
    Identity,
    Message,
    Resume,
    Resumed,
    SaveSnapshot,
    Send,
)
from django_ws.worker import connection as connection_module
from django_ws.worker import hygiene
from django_ws.worker.connection import WorkerConnection
from django_ws.worker.turn import handle
from tests.unit.worker.executors.test_pool import handler
from tests.unit.worker.test_request import handshake
from tests.unit.worker.test_staying import connect, login
from tests.unit.worker.test_turn import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(hygiene.thread, "dirty", False)
    return World()


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def bob() -> User:
    return User.objects.create_user("bob")


def tell(self: Any) -> None:
    self.send(f"{self.user} {self.request.GET.get('n', '')}")


def cookie(key: str) -> list[tuple[str, str]]:
    return [("cookie", f"sessionid={key}")] if key else []


def back(
    world: World, connection: WorkerConnection, user: str, key: str = "", **changed: Any
) -> tuple[Resumed, list[Any]]:
    """Its answer, and what else was said; snapshots are left out."""
    request = encode(handshake(cookie(key), **changed))
    assert handle(connection, Resume(1, 5, request, user))
    said = [each for each in world.said() if not isinstance(each, SaveSnapshot)]
    (answer,) = [each for each in said if isinstance(each, Resumed)]
    return answer, [each for each in said if each is not answer]


def test_the_same_user_is_back_with_another_handshake(world: World, ann: User) -> None:
    connection = connect(world, handler(on_resume=tell), login(ann))
    answer, said = back(world, connection, str(ann.pk), login(ann), query="n=2")
    assert answer == Resumed(1, 5, 0, "", False)
    assert said[0] == Send(1, TEXT, b"ann 2")
    assert isinstance(said[1], Identity)  # another session of the same user
    assert connection.request.GET["n"] == "2"


def test_another_user_is_not_and_nothing_has_changed(world: World, ann: User, bob: User) -> None:
    connection = connect(
        world, handler(on_resume=tell, on_message=lambda self, _: tell(self)), login(ann)
    )
    answer, said = back(world, connection, str(ann.pk), login(bob), query="n=2")
    assert answer == Resumed(1, 5, 403, "this session is another user's", False)
    assert said == []
    assert handle(connection, Message(1, 2, TEXT, b""))
    assert Send(1, TEXT, b"ann ") in world.said()


@pytest.mark.parametrize("key", ["", "invented" * 4])
def test_nobody_is_not_either_whatever_cookie_it_has(world: World, ann: User, key: str) -> None:
    kind = handler(
        dispatch=lambda self, hook, *args: (
            self.request.session.get("x"),
            args[0]() if hook == "authorize" else getattr(self, hook)(*args),
        )[1]
    )
    connection = connect(world, kind, login(ann))
    answer, said = back(world, connection, str(ann.pk), key)
    assert (answer.status, answer.over) == (401, False)
    assert said == []
    assert not connection.closing


def test_nobody_who_has_logged_in_meanwhile_is_that_user(world: World, ann: User) -> None:
    connection = connect(world, handler(on_resume=tell), "")
    answer, said = back(world, connection, "", login(ann))
    assert answer.status == 0
    assert said[0] == Send(1, TEXT, b"ann ")
    assert said[1].user == str(ann.pk)


def test_a_user_by_ticket_is_back_by_the_token_alone(
    world: World, ann: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module.tickets, "use_up", lambda *_: True)
    ticket = make_ticket(ann)
    request = encode(handshake([], query=f"ticket={ticket}"))
    connection = WorkerConnection(
        1, "chat", request, handler(on_resume=tell), world.link, world.runner
    )
    world.link.connections[1] = connection
    handle(connection, Connect(1, 1, "chat", request))
    assert world.said()[0] == Accept(1, "", str(ann.pk), "")

    def spent(*_: object) -> bool:
        raise AssertionError("a session that goes on needs no ticket")

    monkeypatch.setattr(connection_module.tickets, "use_up", spent)
    for query in ("", f"ticket={ticket}", "ticket=nonsense"):
        answer, said = back(world, connection, str(ann.pk), query=query)
        assert answer.status == 0
        assert said == [Send(1, TEXT, b"ann ")]
    answer, said = back(world, connection, str(ann.pk), query=f"ticket={make_ticket(bob)}")
    assert (answer.status, answer.over) == (403, False)
    assert said == []


def test_decorators_are_asked_again(world: World, ann: User) -> None:
    kind = login_required(handler())
    connection = connect(world, kind, login(ann))
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert back(world, connection, "", "")[0].status == 401  # were it not known whose it is


def raising(exception: BaseException) -> Any:
    def hook(self: Any) -> None:
        raise exception

    return hook


@pytest.mark.parametrize(
    ("hook", "status", "reason"),
    [
        (lambda self: None, 0, ""),
        (lambda self: True, 0, ""),
        (lambda self: False, 403, ""),
        (lambda self: 5, 500, ""),
        (raising(Reject(418, "tea")), 418, "tea"),
        (raising(PermissionDenied()), 403, ""),
        (raising(ValueError()), 500, ""),
        (raising(SystemExit()), 500, ""),
    ],
)
def test_what_on_resume_says_is_the_answer(
    world: World, hook: Any, status: int, reason: str
) -> None:
    connection = connect(world, handler(on_resume=hook), "")
    answer, said = back(world, connection, "")
    assert answer == Resumed(1, 5, status, reason, status > 0)
    assert said == []


def test_authenticate_is_asked_again_and_says_who_it_is(world: World, ann: User, bob: User) -> None:
    users = {"a": ann, "b": bob}

    def authenticate(self: Any) -> User:
        token = self.request.GET.get("token")
        if token not in users:
            raise Reject(401, "bad token")
        return users[token]

    kind = handler(authenticate=authenticate, on_resume=tell)
    connection = connect(world, kind, "", query="token=a")
    answer, said = back(world, connection, str(ann.pk), query="token=a&n=2")
    assert answer.status == 0
    assert said == [Send(1, TEXT, b"ann 2")]
    answer, said = back(world, connection, str(ann.pk), query="token=b")
    assert (answer.status, answer.over) == (403, False)
    assert str(connection.user) == "ann"
    answer, said = back(world, connection, str(ann.pk), query="token=c")
    assert (answer.status, answer.over) == (401, False)


def test_one_that_is_closed_is_gone(world: World) -> None:
    connection = connect(world, handler(on_resume=tell), "")
    connection.close(1000, "")
    answer, said = back(world, connection, "")
    assert answer == Resumed(1, 5, 410, "", False)
    assert said == [Close(1, 1000, "")]
    assert not handle(connection, Disconnect(1, 2, 1000, ""))


def test_a_session_that_is_over_is_nobodys(world: World, ann: User) -> None:
    key = login(ann)
    connection = connect(world, handler(on_resume=tell), key)
    SessionStore(key).delete()
    answer, _ = back(world, connection, str(ann.pk), key)
    assert (answer.status, answer.over) == (401, False)
