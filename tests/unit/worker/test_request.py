"""The handshake as a Django request."""

from __future__ import annotations

import logging
from io import BytesIO
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth import get_user_model, login, logout
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.test import Client

from django_ws.base import WebSocketHandler
from django_ws.wire.codec import encode
from django_ws.wire.messages import Accept, Connect, Handshake
from django_ws.worker.connection import WorkerConnection
from django_ws.worker.executors import ExecutorConfig
from django_ws.worker.executors.pool import PoolExecutor
from django_ws.worker.request import HandshakeRequest, load_user, user_key
from django_ws.worker.turn import handle
from tests.unit.worker.executors.test_pool import Source

HEADERS = [
    ("host", "localhost:8888"),
    ("upgrade", "websocket"),
    ("cookie", "a=1"),
    ("cookie", "b=2"),
    ("accept-language", "de"),
    ("accept-language", "en;q=0.5"),
    ("x_forwarded_for", "evil"),
    ("content-type", "text/plain; charset=utf-8"),
    ("content-length", "0"),
    ("x-name", "caf\xe9"),
]


def handshake(headers: list[tuple[str, str]] = HEADERS, **changed: Any) -> Handshake:
    return Handshake(
        **{
            "namespace": "chat",
            "kwargs": {"room": "x"},
            "scheme": "http",
            "path": "/socket/chät",
            "query": "page=1&page=2&q=%C3%A4",
            "headers": headers,
            "client": ("10.1.2.3", 40000),
            "server": ("127.0.0.1", 8888),
            "subprotocols": [],
            "time": 0.0,
            **changed,
        }
    )


def with_session(key: str | None) -> HandshakeRequest:
    return HandshakeRequest(
        handshake([("host", "localhost"), ("cookie", f"sessionid={key}")] if key else [])
    )


# ---------------------------------------------------------------- the request


def test_it_is_what_django_makes_of_the_same_request() -> None:
    request = HandshakeRequest(handshake([pair for pair in HEADERS if pair[0] != "cookie"]))
    scope = {
        "method": "GET",
        "scheme": "http",
        "path": "/socket/chät",
        "query_string": b"page=1&page=2&q=%C3%A4",
        "headers": [(n.encode(), v.encode("latin1")) for n, v in HEADERS if n != "cookie"],
        "client": ("10.1.2.3", 40000),
        "server": ("127.0.0.1", 8888),
    }
    expected = ASGIRequest(scope, BytesIO())
    own = {"SERVER_PROTOCOL", "wsgi.url_scheme"}
    assert {k: v for k, v in request.META.items() if k not in own} == {
        k: v for k, v in expected.META.items() if not k.startswith("wsgi.multi")
    }
    for name in ("path", "path_info", "method", "GET", "POST", "headers", "scheme"):
        assert getattr(request, name) == getattr(expected, name)
    for name in ("content_type", "content_params", "encoding", "body"):
        assert getattr(request, name) == getattr(expected, name)
    assert dict(request.FILES) == {}
    assert request.get_host() == "localhost:8888"
    assert request.build_absolute_uri() == expected.build_absolute_uri()
    assert repr(request).startswith("<HandshakeRequest: GET '/socket/ch")


def test_repeated_headers_are_joined_and_underscores_dropped() -> None:
    request = HandshakeRequest(handshake())
    assert request.COOKIES == {"a": "1", "b": "2"}
    assert request.headers["Accept-Language"] == "de,en;q=0.5"
    assert "HTTP_X_FORWARDED_FOR" not in request.META


def test_a_wrong_host_is_refused() -> None:
    with pytest.raises(DisallowedHost):
        HandshakeRequest(handshake([("host", "evil.example")])).get_host()


def test_is_secure(settings: LazySettings) -> None:
    assert not HandshakeRequest(handshake()).is_secure()
    assert HandshakeRequest(handshake(scheme="https")).is_secure()
    proxied = handshake([*HEADERS, ("x-forwarded-proto", "https")])
    assert not HandshakeRequest(proxied).is_secure()
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert HandshakeRequest(proxied).is_secure()


# ---------------------------------------------------------------- sessions


@pytest.mark.django_db
class TestSession:
    def stored(self) -> SessionStore:
        session = SessionStore()
        session["visits"] = 1
        session.save()
        return session

    def test_each_hook_sees_fresh_data(self) -> None:
        stored = self.stored()
        request = with_session(stored.session_key)
        assert request.session["visits"] == 1
        request.end_hook()
        stored["visits"] = 2
        stored.save()
        assert request.session["visits"] == 2

    def test_changes_are_saved_at_the_end_of_the_hook(self) -> None:
        key = self.stored().session_key
        request = with_session(key)
        request.session["visits"] += 1
        assert SessionStore(key)["visits"] == 1
        request.end_hook()
        assert SessionStore(key)["visits"] == 2
        assert request.session["visits"] == 2

    def test_without_a_cookie_a_session_lives_with_the_connection(self) -> None:
        request = with_session(None)
        request.session["visits"] = 5
        request.end_hook()
        assert request.session["visits"] == 5

    def test_reading_saves_nothing(self, django_assert_num_queries: Any) -> None:
        request = with_session(self.stored().session_key)
        with django_assert_num_queries(1):
            request.session.get("visits")
            request.end_hook()
        with django_assert_num_queries(0):
            request.end_hook()

    def test_a_session_deleted_meanwhile_is_no_error(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        stored = self.stored()
        request = with_session(stored.session_key)
        request.session["visits"] = 2
        stored.delete()
        with caplog.at_level(logging.WARNING, "django_ws.session"):
            request.end_hook()
        assert "deleted while a hook changed it" in caplog.text
        assert caplog.records[0].exc_info is None
        assert "visits" not in request.session

    def test_logout_in_a_hook(self) -> None:
        client = Client()
        client.force_login(get_user_model().objects.create_user("ann"))
        request = with_session(client.session.session_key)
        assert request.user.is_authenticated
        request.end_hook()
        logout(request)
        request.end_hook()
        assert request.user.is_anonymous
        assert not SessionStore(client.session.session_key).exists(client.session.session_key)
        assert "_auth_user_id" not in request.session

    def test_login_in_a_hook(self) -> None:
        user = get_user_model().objects.create_user("ann")
        request = with_session(None)
        login(request, user)
        request.end_hook()
        assert request.user == user
        request.refresh_user()
        assert request.user == user


def test_a_project_without_sessions_is_told_so(settings: LazySettings) -> None:
    settings.INSTALLED_APPS = ["django_ws"]
    settings.MIDDLEWARE = []
    request = HandshakeRequest(handshake())
    assert not hasattr(request, "session")
    with pytest.raises(AttributeError, match=r"add django\.contrib\.auth to INSTALLED_APPS"):
        assert request.user.is_authenticated


# ---------------------------------------------------------------- users


@pytest.mark.django_db
class TestUser:
    def test_it_is_loaded_lazily_and_once(self, django_assert_num_queries: Any) -> None:
        client = Client()
        user = get_user_model().objects.create_user("ann")
        client.force_login(user)
        request = with_session(client.session.session_key)
        with django_assert_num_queries(0):
            assert user_key(request.user) == ""
        with django_assert_num_queries(2):
            assert request.user == user
            assert request.user.get_username() == "ann"
        request.end_hook()
        with django_assert_num_queries(0):
            assert request.user.get_username() == "ann"
        user.__class__.objects.update(username="bob")
        request.refresh_user()
        assert request.user.get_username() == "bob"

    def test_nobody_is_anonymous(self) -> None:
        assert with_session(None).user.is_anonymous
        assert user_key(AnonymousUser()) == ""

    def test_a_user_moves_to_another_worker(self, django_assert_num_queries: Any) -> None:
        client = Client()
        user = get_user_model().objects.create_user("ann")
        client.force_login(user)
        there = with_session(client.session.session_key)
        assert there.user == user
        key = user_key(there.user)
        assert key == f"django.contrib.auth.backends.ModelBackend\0{user.pk}"
        here = with_session(None)
        with django_assert_num_queries(1):
            loaded = load_user(here, key)
        assert loaded == user
        assert user_key(loaded) == key
        user.delete()
        assert load_user(here, key).is_anonymous

    def test_who_it_is_costs_no_more_than_the_session(self, django_assert_num_queries: Any) -> None:
        client = Client()
        user = get_user_model().objects.create_user("ann")
        client.force_login(user)
        with django_assert_num_queries(0):
            assert with_session(None).identity() == ("", "")
        with django_assert_num_queries(1):
            who, session = with_session(client.session.session_key).identity()
        assert who == str(user.pk)
        assert session
        assert with_session("invented").identity() == ("", "")
        request = with_session(client.session.session_key)
        assert request.user == user
        request.end_hook()
        with django_assert_num_queries(0):  # the hook has read it
            assert request.identity() == (who, session)

    def test_a_backend_that_is_gone_names_nobody(self) -> None:
        user = get_user_model().objects.create_user("ann")
        assert load_user(with_session(None), f"gone.Backend\0{user.pk}").is_anonymous

    def test_a_user_from_elsewhere_moves_with_the_first_backend(self) -> None:
        user = get_user_model().objects.create_user("ann")
        assert user_key(user) == f"\0{user.pk}"
        assert load_user(with_session(None), user_key(user)) == user


@pytest.mark.django_db
@pytest.mark.parametrize("known", [True, False])
def test_the_gateway_hears_whose_connection_it_is_although_no_hook_asks(
    known: bool,
) -> None:
    client = Client()
    user = get_user_model().objects.create_user("ann")
    client.force_login(user)
    key = client.session.session_key
    source = Source()
    source.executor = PoolExecutor(source, ExecutorConfig())
    request = encode(handshake([("cookie", f"sessionid={key}")] if known else []))
    link = source.link
    connection = WorkerConnection(1, "chat", request, WebSocketHandler, link, source.executor)
    assert handle(connection, Connect(1, 1, "chat", request))
    link.flush()
    accept, *_ = source.socket.batches[0].messages
    assert isinstance(accept, Accept)
    assert accept.user == (str(user.pk) if known else "")
    assert bool(accept.session) is known
    assert key not in accept.session
