"""Who may stay, by session, ticket, token and account."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.http import HttpRequest
from django.test import Client
from django.utils import timezone

from django_ws.auth import make_ticket
from django_ws.worker.looks import Look
from django_ws.worker.request import HandshakeRequest
from tests.unit.worker.test_request import with_session

pytestmark = pytest.mark.django_db

ENGINES = ("db", "cache", "cached_db", "file", "signed_cookies")


class Plain:
    """A backend that lets anybody in whom the database knows."""

    def authenticate(self, request: Any, **credentials: Any) -> None:
        return None

    def get_user(self, pk: Any) -> User | None:
        return User.objects.filter(pk=pk).first()


class All(Plain):
    def user_can_authenticate(self, user: User) -> bool:
        return True


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, settings: LazySettings, tmp_path: Path) -> str:
    settings.SESSION_FILE_PATH = str(tmp_path)
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{request.param}"
    return str(request.param)


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", password="secret")


def login(user: User, backend: str | None = None) -> tuple[Client, str]:
    """A browser that is logged in, and its cookie."""
    client = Client()
    client.force_login(user, backend)
    return client, client.cookies["sessionid"].value


def found(request: HandshakeRequest) -> Any:
    return Look().find(request.source)


# ---------------------------------------------------------------- sessions


def test_who_is_logged_in_stays(engine: str, ann: User) -> None:
    _, key = login(ann)
    assert found(with_session(key)) == ann
    loaded = with_session(key)
    assert loaded.user == ann
    assert found(loaded) == ann
    ann.first_name = "Ann"
    ann.save()
    assert found(loaded).first_name == "Ann"


def password(user: User) -> None:
    user.set_password("new")
    user.save()


def inactive(user: User) -> None:
    user.is_active = False
    user.save()


@pytest.mark.parametrize("change", [password, inactive, lambda user: user.delete()])
@pytest.mark.parametrize("loads", [True, False])
def test_who_does_not(engine: str, ann: User, change: Callable[[User], Any], loads: bool) -> None:
    _, key = login(ann)
    request = with_session(key)
    assert not loads or request.user == ann
    change(User.objects.get())
    assert found(request) is None


def test_a_session_that_is_over(engine: str, ann: User) -> None:
    client, key = login(ann)
    client.logout()
    # A cookie that is a session cannot be taken back: there only the account counts.
    assert (found(with_session(key)) is None) == (engine != "signed_cookies")


def test_a_session_that_is_too_old(engine: str, ann: User, settings: LazySettings) -> None:
    key = login(ann)[1]
    if engine == "db":
        Session.objects.update(expire_date=timezone.now() - timedelta(1))
    elif engine.startswith("cache"):
        Session.objects.all().delete()
        caches["default"].clear()
    else:
        settings.SESSION_COOKIE_AGE = -1
    assert found(with_session(key)) is None


def test_a_session_by_a_former_secret(engine: str, ann: User, settings: LazySettings) -> None:
    _, key = login(ann)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another"
    assert found(with_session(key)) == ann
    settings.SECRET_KEY_FALLBACKS = []
    assert found(with_session(key)) is None


def test_a_session_that_knows_the_new_password(ann: User) -> None:
    """The page that has changed it gets a new key; what keeps the old one is for that also over."""
    client, key = login(ann)
    password(ann)
    request = HttpRequest()
    request.session, request.user = client.session, ann
    update_session_auth_hash(request, ann)
    request.session.save()
    assert found(with_session(request.session.session_key)) == ann
    assert found(with_session(key)) is None
    _, other = login(ann)
    session = type(client.session)(other)
    password(ann)
    assert found(with_session(other)) is None
    session["_auth_user_hash"] = ann.get_session_auth_hash()
    session.save()
    assert found(with_session(other)) == ann


def test_nothing_is_written(ann: User, settings: LazySettings) -> None:
    _, key = login(ann)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another"
    before = list(Session.objects.values())
    assert found(with_session(key)) == ann
    settings.SECRET_KEY_FALLBACKS = []
    assert found(with_session(key)) is None
    assert list(Session.objects.values()) == before


def test_many_connections_cost_little(ann: User, django_assert_num_queries: Any) -> None:
    keys = [login(ann)[1] for _ in range(2)]
    look = Look()
    with django_assert_num_queries(3):  # the user, and each session
        for key in keys * 5:
            assert look.find(with_session(key).source) == ann


# ---------------------------------------------------------------- backends


def test_a_backend_that_does_not_look_whether_somebody_is_active(
    ann: User, settings: LazySettings
) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.{name}" for name in ("Plain", "All")]
    plain, every = (login(ann, backend)[1] for backend in settings.AUTHENTICATION_BACKENDS)
    assert found(with_session(plain)) == found(with_session(every)) == ann
    inactive(ann)
    assert found(with_session(plain)) is None
    assert found(with_session(every)) == ann  # it says so itself


def test_a_backend_that_the_project_has_no_more(ann: User, settings: LazySettings) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.{name}" for name in ("Plain", "All")]
    _, key = login(ann, settings.AUTHENTICATION_BACKENDS[0])
    settings.AUTHENTICATION_BACKENDS = settings.AUTHENTICATION_BACKENDS[1:]
    assert found(with_session(key)) is None


def test_a_remote_user(ann: User, settings: LazySettings) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.RemoteUserBackend"]
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.RemoteUserMiddleware",
    ]
    client = Client()
    client.get("/", REMOTE_USER="ann")
    request = with_session(client.cookies["sessionid"].value)
    assert found(request) == ann
    inactive(ann)
    assert found(request) is None


# ---------------------------------------------------------------- tickets and tokens


@pytest.mark.parametrize("moved", [True, False])
def test_what_a_ticket_began(ann: User, moved: bool) -> None:
    request = with_session(None)
    request.use_ticket(make_ticket(ann), lambda *args: True)
    if moved:
        request = HandshakeRequest(request._handshake, request.user_key())
    assert found(request) == ann
    password(ann)
    assert found(request) is None
    request.refresh_user()
    assert request.user.is_anonymous


@pytest.mark.parametrize("change", [inactive, lambda user: user.delete()])
def test_a_user_that_the_handler_knows_by_itself(ann: User, change: Callable[[User], Any]) -> None:
    request = with_session(None)
    request.user = User.objects.get()
    assert found(request) == ann
    password(ann)  # a token is not bound to it
    assert found(request) == ann
    request.refresh_user()
    assert request.identity() == (str(ann.pk), "")
    assert request.user == ann
    change(ann)
    assert found(request) is None
    request.refresh_user()
    assert request.user.is_anonymous
    assert request.identity() == ("", "")


def test_a_user_that_is_no_model_cannot_be_looked_at(ann: User) -> None:
    class Claims(AnonymousUser):
        is_authenticated = True  # type: ignore[assignment]
        pk = 7

    anonymous = Client()
    session = anonymous.session
    session["cart"] = 1
    session.save()
    for key in (None, session.session_key, "gone" * 8):
        request = with_session(key)
        request.user = Claims()
        assert found(request) is True
        request.refresh_user()
        assert request.user.pk == 7
