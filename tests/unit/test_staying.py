"""What gateways are told when sessions end and users change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth import logout
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.http import HttpRequest
from django.test import Client

from django_ws import outlet, publisher
from django_ws.outlet import set_outlet
from django_ws.staying import connect_signals
from django_ws.wire.identity import session_digest
from django_ws.wire.messages import Expel, PublisherMessage, Recheck

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _outlet() -> Iterator[None]:
    """Other tests may have left theirs."""
    before = set_outlet(None)
    yield
    set_outlet(before)


class Told:
    """An outlet that keeps what it gets."""

    def __init__(self) -> None:
        self.messages: list[PublisherMessage] = []

    def send(self, messages: Sequence[PublisherMessage]) -> None:
        self.messages.extend(messages)

    def ask(self, requests: Sequence[PublisherMessage], timeout: float) -> Any:
        raise AssertionError("nobody is to wait for an answer")


Commit = Callable[[Callable[[], object]], list[PublisherMessage]]


@pytest.fixture
def committed(django_capture_on_commit_callbacks: Any) -> Iterator[Commit]:
    """Runs something and its commit; returns what gateways were told."""
    told = Told()
    before = set_outlet(told)

    def run(change: Callable[[], object]) -> list[PublisherMessage]:
        told.messages.clear()
        with django_capture_on_commit_callbacks(execute=True):
            change()
            assert told.messages == []  # not before the commit
        return list(told.messages)

    yield run
    set_outlet(before)


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", password="secret")


def rechecks(*users: User) -> list[Recheck]:
    return [Recheck(0, str(user.pk)) for user in users]


# ---------------------------------------------------------------- sessions


def test_a_logout_ends_its_session(committed: Commit, ann: User) -> None:
    client = Client()
    client.force_login(ann)
    digest = session_digest(client.session.session_key)
    assert committed(client.logout) == [Expel(0, "", digest, "", "", 4401, "logged out", True)]


@pytest.mark.parametrize(
    ("engine", "told"), [("cache", 1), ("file", 1), ("db", 0), ("cached_db", 0)]
)
def test_a_logout_that_is_rolled_back_counts_where_the_session_is_gone_all_the_same(
    settings: LazySettings, tmp_path: Path, ann: User, engine: str, told: int
) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    client = Client()
    client.force_login(ann)
    outlet = Told()
    set_outlet(outlet)
    with transaction.atomic():
        client.logout()
        transaction.set_rollback(True)
    assert len(outlet.messages) == told


def test_a_logout_without_a_session_is_none(committed: Commit) -> None:
    for request in (None, HttpRequest(), SimpleNamespace(session=None)):
        sent = lambda request=request: user_logged_out.send(User, request=request, user=None)  # noqa: E731
        assert committed(sent) == []


# ---------------------------------------------------------------- users


def test_who_comes_or_logs_in_is_no_news(committed: Commit) -> None:
    ann = User(username="ann")
    assert committed(ann.save) == []
    assert committed(lambda: Client().force_login(ann)) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda user: user.save(),
        lambda user: user.save(update_fields=["password"]),
        lambda user: user.save(update_fields=["last_login", "is_active"]),
        lambda user: User.objects.filter(pk=user.pk).delete(),
    ],
)
def test_saved_and_deleted(committed: Commit, ann: User, change: Any) -> None:
    assert committed(lambda: change(ann)) == rechecks(ann)


def test_what_is_rolled_back_has_not_been(committed: Commit, ann: User) -> None:
    def change() -> None:
        with transaction.atomic():
            ann.save()
            transaction.set_rollback(True)

    assert committed(change) == []


def test_a_proxy_is_a_user_too(committed: Commit, ann: User) -> None:
    from tests.people import Person

    connect_signals()  # again: the model has just come
    person = Person.objects.get(pk=ann.pk)
    assert committed(person.save) == rechecks(ann)
    assert committed(person.delete) == rechecks(ann)


def test_other_models_are_deleted_as_fast_as_ever(django_assert_num_queries: Any) -> None:
    from django.contrib.sessions.models import Session

    with django_assert_num_queries(1):
        Session.objects.all().delete()


# ---------------------------------------------------------------- permissions


def test_groups_and_permissions_of_a_user(committed: Commit, ann: User) -> None:
    bob = User.objects.create_user("bob")
    group = Group.objects.create(name="g")
    may = Permission.objects.first()
    assert may is not None
    for change in (
        lambda: ann.groups.add(group),
        lambda: ann.groups.clear(),
        lambda: ann.user_permissions.set([may]),
        lambda: ann.user_permissions.remove(may),
    ):
        assert committed(change) == rechecks(ann)
    assert sorted(committed(lambda: group.user_set.set([ann, bob])), key=str) == rechecks(ann, bob)
    assert committed(lambda: group.user_set.remove(bob)) == rechecks(bob)
    assert committed(lambda: group.user_set.clear()) == rechecks(ann)


def test_permissions_of_a_group(committed: Commit, ann: User) -> None:
    group = Group.objects.create(name="g")
    ann.groups.add(group)
    may = Permission.objects.first()
    assert may is not None
    for change in (
        lambda: group.permissions.add(may),
        lambda: group.permissions.clear(),
        lambda: may.group_set.add(group),
        lambda: may.group_set.clear(),
        lambda: group.delete(),
    ):
        assert committed(change) == rechecks(ann)


# ---------------------------------------------------------------- without a gateway


@pytest.mark.django_db(transaction=True)
def test_without_a_gateway_nothing_waits_or_fails(
    settings: LazySettings, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ann = User.objects.create_user("ann")
    for endpoint in (f"ipc://{tmp_path}/sub", "tcp://127.0.0.1:9"):
        settings.DJANGO_WS = {"SUB_SOCKET": endpoint}
        started = time.monotonic()
        for _ in range(20):
            ann.save()
        request = HttpRequest()
        request.session, request.user = Client().session, ann
        request.session.save()
        logout(request)
        assert request.user == AnonymousUser()
        assert time.monotonic() - started < 1.0
    publisher.configure(None)
    assert not caplog.records


@pytest.mark.django_db(transaction=True)
def test_wrong_settings_are_no_affair_of_a_save(
    settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    ann = User.objects.create_user("ann")
    settings.DJANGO_WS = {"SUB_SOCKET": "nowhere"}
    ann.save()
    assert "gateways do not know of a change" in caplog.text


def test_what_no_outlet_takes_is_no_affair_of_it_either(
    monkeypatch: pytest.MonkeyPatch, ann: User, caplog: pytest.LogCaptureFixture
) -> None:
    def tell(*args: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(outlet, "tell", tell)
    ann.save()
    assert "broken" in caplog.text
