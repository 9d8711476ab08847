"""``WebSocketLiveServerTestCase`` against its real gateway."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import unittest
from collections.abc import Callable
from typing import Any
from urllib.request import urlopen

import psutil
import pytest
from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from django_ws import WebSocketHandler, disconnect, history, presence, publish
from django_ws.testing import WebSocketLiveServerTestCase, capture_publications, halves
from django_ws.testing.server import LiveServer
from django_ws.worker.main import Worker

# Measured, what starts takes longer than may be.
pytestmark = [pytest.mark.system, pytest.mark.load, pytest.mark.django_db(transaction=True)]

Children = Callable[[], list[psutil.Process]]


@pytest.fixture
def children() -> Children:
    """Tells which processes the test has started; servers of other tests may still run."""
    before = psutil.Process().children()
    return lambda: [each for each in psutil.Process().children() if each not in before]


def page(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        user = get_user_model().objects.create_user(request.GET["name"])
        publish("users", {"pk": user.pk})
    return HttpResponse(f"hello {request.get_host()}")


urlpatterns = [path("page/", page)]


class Users(WebSocketHandler):
    closed_by: list[int | None] = []

    def on_connect(self) -> None:
        self.join(self.kwargs.get("group", "users"))

    def on_message(self, message: Any) -> None:
        if message == "count":
            self.send(str(get_user_model().objects.count()))
        elif message == "who":
            self.send(f"{self.user.get_username()} {threading.current_thread().name}")
        elif message == "loop":
            while not self.wait(0.01):
                pass
        else:
            get_user_model().objects.create_user(message)
            publish("users", f"created {message}")

    def on_close(self) -> None:
        self.closed_by.append(self.close_code)


SETTINGS = {
    "ROOT_URLCONF": __name__,
    "DEFAULT_WS_HANDLERS": {
        "default": f"{__name__}.Users",
        "group": {"handler": f"{__name__}.Users", "url": "ws/<slug:group>/"},
    },
    "DJANGO_WS": {
        "GROUPS": {"users": {"history_size": 9, "history_ttl": 60, "presence": True}},
        "PUBLIC_URL": "https://example.com",
        "ENGINE": "redis://no.such.host.invalid",
        "DRAIN_SPREAD": 30,
    },
}


@override_settings(**SETTINGS)
class Live(WebSocketLiveServerTestCase):
    def connect(self, *args: Any, **options: Any) -> ClientConnection:
        url = self.websocket_url(*args)
        return self.enterContext(connect(url, origin=self.live_server_url, **options))

    def test_pages_and_sockets_have_the_same_origin(self) -> None:
        client = self.connect()
        with urlopen(f"{self.live_server_url}/page/?name=ann") as answer:
            assert answer.read().decode() == f"hello {self.live_server_url[7:]}"
        assert list(json.loads(client.recv(5))) == ["pk"]

    def test_handlers_work_with_the_database_of_the_test(self) -> None:
        get_user_model().objects.create_user("ann")
        client = self.connect()
        client.send("count")
        assert client.recv(5) == "1"
        client.send("bob")
        assert client.recv(5) == "created bob"
        assert get_user_model().objects.filter(username="bob").exists()

    def test_a_login_of_the_test(self) -> None:
        pages = Client()
        pages.force_login(get_user_model().objects.create_user("ann"))
        cookie = f"sessionid={pages.cookies['sessionid'].value}"
        client = self.connect(additional_headers={"Cookie": cookie})
        client.send("who")
        assert str(client.recv(5)).startswith("ann ")

    def test_a_namespaces_own_url(self) -> None:
        assert self.websocket_url("group", group="a").endswith("/ws/a/")
        client = self.connect("/ws/a/")
        publish("a", "x")
        assert client.recv(5) == "x"

    def test_what_the_test_publishes_and_asks(self) -> None:
        client = self.connect()
        with transaction.atomic():
            publish("users", "on commit")
        assert client.recv(5) == "on commit"
        assert publish("users", "x", wait=True)
        assert history("users").publications[-1].data == "x"
        assert len(presence("users")) == 1
        assert disconnect(id=presence("users")[0].id) == 1
        assert client.recv(5) == "x"
        with pytest.raises(ConnectionClosed):
            client.recv(5)
        assert client.close_code == 4401

    def test_publications_can_be_captured(self) -> None:
        with (
            capture_publications() as published,
            urlopen(f"{self.live_server_url}/page/?name=ann"),
        ):
            assert [each.group for each in published] == ["users"]

    def test_the_gateway_checks(self) -> None:
        with pytest.raises(InvalidStatus) as raised:
            connect(self.websocket_url(), origin="https://example.com", legacy=True)
        assert raised.value.response.status_code == 403


def run(kind: type[unittest.TestCase], *names: str) -> unittest.TestResult:
    result = unittest.TestResult()
    unittest.TestSuite(map(kind, names)).run(result)
    return result


def test_it_leaves_nothing(children: Children) -> None:
    threads = set(threading.enumerate())

    class Case(Live):
        def test(self) -> None:
            self.connect().send("loop")

    Users.closed_by.clear()
    result = run(Case, "test")
    assert result.wasSuccessful(), result
    assert Users.closed_by
    assert children() == []
    left = {each for each in threading.enumerate() if each.is_alive()} - threads
    assert [each for each in left if not each.name.startswith("asyncio")] == []


@override_settings(**SETTINGS)
def test_it_is_ready_soon() -> None:
    """In seconds of CPU, which others on this machine do not change; it waits for nothing else."""
    before = sum(os.times()[:4])
    server = LiveServer()
    started = time.monotonic()
    server.start()
    seconds = time.monotonic() - started
    server.stop()
    spent = sum(os.times()[:4]) - before
    assert spent < 1
    assert seconds < 10


def test_a_gateway_that_dies_fails_the_test(children: Children) -> None:
    class Case(Live):
        def test(self) -> None:
            (gateway,) = children()
            gateway.send_signal(signal.SIGKILL)
            with pytest.raises(ConnectionClosed):
                self.connect().recv(5)

        def test_other(self) -> None:
            pass

    result = run(Case, "test")
    assert not result.wasSuccessful()
    words = "".join(trace for _, trace in [*result.errors, *result.failures])
    assert "the gateway was killed by SIGKILL" in words


def test_a_worker_that_dies_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(worker: Worker) -> None:
        raise LookupError("no beat")

    class Case(Live):
        def test(self) -> None:
            monkeypatch.setattr(Worker, "_beat", fail)
            half = self._server._halves[1]
            half._heard.clear()
            assert half._heard.wait(10)

    result = run(Case, "test")
    words = "".join(trace for _, trace in result.errors)
    assert "the worker failed" in words
    assert "LookupError: no beat" in words


def test_a_hook_that_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "STOP", 0.2)
    let_go = threading.Event()

    class Case(Live):
        def test(self) -> None:
            monkeypatch.setattr(Users, "on_message", lambda handler, message: let_go.wait(30))
            self.connect().send("x")
            assert publish("users", "x", wait=True)

    result = run(Case, "test")
    let_go.set()
    words = "".join(trace for _, trace in result.errors)
    assert "a handler's hook does not end" in words


def test_a_handler_that_cannot_be_imported_is_told() -> None:
    @override_settings(DEFAULT_WS_HANDLERS={"default": f"{__name__}.Nobody"})
    class Case(Live):
        pass

    result = run(Case, "test_the_gateway_checks")
    assert "Nobody" in result.errors[0][1]


def test_wrong_settings_are_told() -> None:
    @override_settings(DJANGO_WS={"MESSAGE_RATE": "many"})
    class Case(Live):
        pass

    result = run(Case, "test_the_gateway_checks")
    assert "MESSAGE_RATE" in result.errors[0][1]


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        class Case(Live):
            port = other.getsockname()[1]

        result = run(Case, "test_the_gateway_checks")
    assert "the gateway does not start" in result.errors[0][1]
