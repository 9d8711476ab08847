"""The handshake as a Django request."""

from __future__ import annotations

import logging
from datetime import timedelta
from importlib import import_module
from io import BytesIO
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth import get_user_model, login, logout
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.test import Client
from django.utils import timezone

from django_ws.base import WebSocketHandler
from django_ws.exceptions import SessionReadOnly
from django_ws.wire.codec import encode
from django_ws.wire.messages import TEXT, Accept, Connect, Handshake, Identity, Message
from django_ws.worker.connection import WorkerConnection
from django_ws.worker.executors import ExecutorConfig
from django_ws.worker.executors.pool import PoolExecutor
from django_ws.worker.request import HandshakeRequest
from django_ws.worker.turn import handle
from django_ws.worker.users import load_user, user_key
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

    def test_where_no_cookie_can_follow_nothing_is_written(self, settings: LazySettings) -> None:
        for request in (with_session(None), with_session("gone")):
            assert "visits" not in request.session
            with pytest.raises(SessionReadOnly, match="in a view"):
                request.session["visits"] = 5
            with pytest.raises(SessionReadOnly):
                request.session.create()
            request.end_hook(failed=True)
            request.session.flush()
            request.end_hook()
        settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
        signed = import_module(settings.SESSION_ENGINE).SessionStore()
        signed["visits"] = 1
        signed.save()
        request = with_session(signed.session_key)
        assert request.session["visits"] == 1
        with pytest.raises(SessionReadOnly, match="signed_cookies"):
            request.session["visits"] = 2

    def test_a_failed_hook_saves_nothing(self) -> None:
        key = self.stored().session_key
        request = with_session(key)
        request.session["visits"] = 7
        request.end_hook(failed=True)
        assert SessionStore(key)["visits"] == 1
        assert request.session["visits"] == 1

    def test_each_hook_saves_it_if_each_request_would(self, settings: LazySettings) -> None:
        stored = self.stored()
        Session.objects.update(expire_date="2020-01-01T00:00Z")
        Session.objects.update(expire_date=timezone.now() + timedelta(seconds=60))
        before = Session.objects.get().expire_date
        with_session(stored.session_key).end_hook()
        assert Session.objects.get().expire_date == before
        settings.SESSION_SAVE_EVERY_REQUEST = True
        with_session(stored.session_key).end_hook()
        assert Session.objects.get().expire_date > before

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

    def test_login_in_a_hook_is_refused_and_leaves_the_browser_its_session(self) -> None:
        user = get_user_model().objects.create_user("ann")
        key = self.stored().session_key
        for request in (with_session(None), with_session(key)):
            with pytest.raises(SessionReadOnly, match=r"login\(\)"):
                login(request, user)
            request.end_hook(failed=True)
        assert SessionStore(key)["visits"] == 1


def test_a_project_without_sessions_is_told_so(settings: LazySettings) -> None:
    settings.INSTALLED_APPS = ["django_ws"]
    settings.MIDDLEWARE = []
    request = HandshakeRequest(handshake())
    assert not hasattr(request, "session")
    with pytest.raises(AttributeError, match=r"add django\.contrib\.auth to INSTALLED_APPS"):
        assert request.user.is_authenticated


def test_the_prefix_of_the_project_is_not_part_of_the_path(settings: LazySettings) -> None:
    settings.FORCE_SCRIPT_NAME = "/site/"
    for path in ("/site/socket/x", "/socket/x"):
        request = HandshakeRequest(handshake(path=path))
        assert request.META["SCRIPT_NAME"] == "/site"
        assert (request.path, request.path_info) == ("/site/socket/x", "/socket/x")


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

    def test_who_has_logged_out_is_gone_also_within_a_hook(self) -> None:
        client = Client()
        client.force_login(get_user_model().objects.create_user("ann"))
        key = client.session.session_key
        for written in (False, True):
            request = with_session(key)
            assert request.user.is_authenticated
            if written:
                request.session["seen"] = True
                SessionStore(key).delete()
            else:
                assert "seen" not in request.session
            client.logout() if written else SessionStore(key).flush()
            request.refresh_user()
            assert request.user_key() == ""  # also if nobody asks before the worker changes
            assert request.user.is_anonymous
            client.force_login(get_user_model().objects.get())
            key = client.session.session_key

    def test_a_session_by_a_former_secret_keeps_its_key(self, settings: LazySettings) -> None:
        client = Client()
        user = get_user_model().objects.create_user("ann")
        client.force_login(user)
        key = client.session.session_key
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
        settings.SECRET_KEY = "another"
        request = with_session(key)
        assert request.user == user
        request.end_hook()
        assert SessionStore(key).exists(key)
        settings.SECRET_KEY_FALLBACKS = []
        assert with_session(key).user.is_anonymous
        assert SessionStore(key).exists(key)

    def test_a_user_that_is_no_model(self) -> None:
        class Claims(AnonymousUser):
            is_authenticated = True  # type: ignore[assignment]
            pk = "auth0|7"

        request = with_session(None)
        request.user = Claims()
        assert request.user.is_authenticated
        assert request.user_key() == ""
        assert request.identity() == ("auth0|7", "")

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
        with django_assert_num_queries(1):
            loaded = load_user(key)
        assert loaded == user
        assert user_key(loaded) == key
        user.delete()
        assert load_user(key).is_anonymous

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
        assert load_user(f"gone.Backend\0{user.pk}").is_anonymous

    def test_a_user_from_elsewhere_moves_with_the_first_backend(self) -> None:
        user = get_user_model().objects.create_user("ann")
        assert user_key(user) == f"\0{user.pk}"
        assert load_user(user_key(user)) == user


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

    if known:
        Changes.who = AnonymousUser()
        connection.handler_class = connection.lifecycle.handler_class = Changes
        connection.lifecycle.handler.__class__ = Changes
        for seq in (2, 3):
            assert handle(connection, Message(1, seq, TEXT, b""))
        link.flush()
        said = [m for batch in source.socket.batches for m in batch.messages]
        assert [m for m in said if isinstance(m, Identity)] == [Identity(1, "", accept.session)]


class Changes(WebSocketHandler):
    who: Any

    def on_message(self, message: str) -> None:
        self.user = self.who


@pytest.mark.django_db
def test_who_is_assigned_as_none_is_nobody() -> None:
    """Not the session's user: a query for a token's user may have found nobody."""
    client = Client()
    client.force_login(get_user_model().objects.create_user("ann"))
    request = HandshakeRequest(
        handshake([("cookie", f"sessionid={client.cookies['sessionid'].value}")])
    )
    request.user = None  # type: ignore[assignment]
    assert isinstance(request.user, AnonymousUser)
    assert request.identity()[0] == ""
