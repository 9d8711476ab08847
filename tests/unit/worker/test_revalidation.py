"""When it is looked who may stay."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType

from django_ws.auth import permission_required
from django_ws.base import WebSocketHandler
from django_ws.worker import hygiene, revalidation
from django_ws.worker.revalidation import Revalidation


class Connection:
    """As much of one as the revalidation needs; ``user`` is what a look finds."""

    def __init__(self, conn: int, user: Any = True, owner: str = "7") -> None:
        self.conn, self.user, self.owner = conn, user, (owner, "")
        self.user_seen = 0
        self.handler_class: type[WebSocketHandler] = WebSocketHandler
        self.namespace = "default"
        self.closing = False
        self.closed: tuple[int, str] | None = None

    def close(self, code: int, reason: str) -> None:
        self.closing, self.closed = True, (code, reason)


class World:
    def __init__(self, *connections: Connection) -> None:
        self.all = list(connections)
        self.changed: list[int] = []
        self.looked: Counter[int] = Counter()
        self.broken = False
        self.now = 0.0

    def connections(self) -> list[Any]:
        return list(self.all)

    def user_changed(self, connection: Any) -> None:
        self.changed.append(connection.conn)

    def source(self, connection: Any) -> Any:
        if self.broken:
            raise OSError("no database")
        self.looked[connection.conn] += 1
        return connection

    def revalidation(self, interval: float = 0.0) -> Revalidation:
        return Revalidation(interval, self, self.source, lambda: self.now)


class Look:
    def find(self, source: Any) -> Any:
        return source.user


@pytest.fixture(autouse=True)
def _look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revalidation, "Look", Look)
    monkeypatch.setattr(hygiene, "give_back", lambda: None)
    monkeypatch.setattr(hygiene, "tidy", lambda: None)


def test_who_may_stay_hears_of_it_and_who_may_not_is_closed() -> None:
    stays, goes, other = Connection(1), Connection(2, None), Connection(3)
    world = World(stays, goes, other)
    found = world.revalidation()
    for connection in (stays, goes, stays):
        found.ask(connection)  # type: ignore[arg-type]
    found.look()
    found.look()
    assert world.changed == [1]
    assert (stays.closed, goes.closed, other.closed) == (None, (4401, "logged out"), None)
    assert world.looked == {1: 1, 2: 1}


def test_nobody_and_who_is_closed_already_are_let_alone() -> None:
    nobody, closed = Connection(1, None, owner=""), Connection(2, None)
    closed.closing = True
    world = World(nobody, closed)
    found = world.revalidation(10)
    for connection in world.all:
        found.ask(connection)  # type: ignore[arg-type]
    world.now = 10.0
    found.look()
    assert not world.looked


@pytest.mark.parametrize("step", [1 / 64, 0.3, 0.7, 1.0])
def test_each_is_looked_at_once_in_the_interval_and_never_many_at_once(step: float) -> None:
    world = World(*(Connection(conn) for conn in range(1, 1001)))
    found = world.revalidation(8.0)
    most = 0
    for turn in range(1, int(8 / step) + 1):
        before = world.looked.total()
        world.now = turn * step
        found.look()
        most = max(most, world.looked.total() - before)
    world.now = 8.0
    found.look()
    assert set(world.looked.values()) == {1}
    assert len(world.looked) == 1000
    assert most <= 1000 * step / 8 * 1.3 + 2


def test_after_a_pause_nobody_is_looked_at_twice() -> None:
    world = World(*(Connection(conn) for conn in range(10)))
    found = world.revalidation(1.0)
    world.now = 17.5
    found.look()
    assert set(world.looked.values()) == {1}


def test_without_an_interval_nobody_is_looked_at_unasked() -> None:
    world = World(Connection(1, None))
    found = world.revalidation()
    world.now = 1e6
    found.look()
    assert not world.looked


def test_what_cannot_be_looked_at_stays_and_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    world = World(*(Connection(conn, None) for conn in range(30)))
    found = world.revalidation()
    for connection in world.all:
        found.ask(connection)  # type: ignore[arg-type]
    world.broken = True
    for _ in range(3):
        found.look()
    assert not any(connection.closed for connection in world.all)
    assert [record.message for record in caplog.records] == [
        "cannot look who may stay; trying again: no database"
    ]
    world.broken = False
    found.look()
    assert all(connection.closed for connection in world.all)


def test_its_thread_begins_at_once_and_ends_when_told() -> None:
    world = World(Connection(1))
    told = threading.Event()
    world.user_changed = lambda connection: told.set()  # type: ignore[method-assign]
    found = world.revalidation()
    found.start()
    found.ask(world.all[0])  # type: ignore[arg-type]
    assert told.wait(5)
    found.stop(5)
    assert not found._thread.is_alive()


def test_one_that_was_never_started_ends_too() -> None:
    World().revalidation().stop(1)


def test_a_user_that_no_signal_has_told_about(django_user_model: Any) -> None:
    def user(**fields: Any) -> Any:
        return django_user_model(pk=7, username="ann", date_joined="then", **fields)

    connection = Connection(1, user())
    world = World(connection)
    found = world.revalidation(1.0)

    def turn(user: Any) -> list[int]:
        connection.user = user
        world.changed.clear()
        world.now += 1.0
        found.look()
        return world.changed

    assert turn(user()) == [1]  # may have changed since it came
    assert turn(user()) == []
    assert turn(user(last_login="now")) == []
    assert turn(user(is_staff=True)) == [1]
    assert turn(user(is_staff=True)) == []


class Heeding(WebSocketHandler):
    def on_user_changed(self) -> None:
        """Decides by permissions."""


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (permission_required("auth.add_user")(type("Guarded", (WebSocketHandler,), {})), [1]),
        (Heeding, [1]),
        (WebSocketHandler, []),
    ],
)
@pytest.mark.django_db
def test_a_permission_that_no_signal_has_told_about(
    django_user_model: Any, kind: type[WebSocketHandler], told: list[int]
) -> None:
    ann = django_user_model.objects.create_user("ann")
    content_type = ContentType.objects.get_for_model(django_user_model)
    ann.user_permissions.add(Permission.objects.get(content_type=content_type, codename="add_user"))
    connection = Connection(1)
    connection.handler_class = kind
    world = World(connection)
    found = world.revalidation(1.0)

    def turn() -> list[int]:
        connection.user = django_user_model.objects.get(pk=ann.pk)
        world.changed.clear()
        world.now += 1.0
        found.look()
        return list(world.changed)

    turn()
    assert turn() == []
    django_user_model.user_permissions.through.objects.all().delete()
    assert turn() == told
