"""The client that users test their handlers with."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import Http404
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.urls import NoReverseMatch
from django.utils import translation

from django_ws import ConnectionClosed, JsonWebSocketHandler, MessageTooBig, Reject
from django_ws.base import WebSocketHandler
from django_ws.testing import WebSocketClient
from tests.handlers import Echo, JsonEcho, Ticker


class Recorder(WebSocketHandler):
    """Keeps what happened."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def on_connect(self) -> None:
        self.send("connecting")
        if self.request.GET.get("refuse"):
            raise Reject(int(self.request.GET["refuse"]), "not you")
        if self.request.GET.get("fail"):
            raise Http404("oops")

    def on_open(self, message: Any) -> Any:
        self.events.append(("open", message))
        return True if message == "only open" else None

    def on_message(self, message: Any) -> None:
        self.events.append(("message", message))
        if message == "close":
            self.send("last")
            self.close(4001, "enough")
            self.send("never")
        elif message == "fail":
            raise LookupError("failed")
        elif message == "deny":
            raise PermissionDenied
        elif message == "state":
            self.state["bad"] = {1, 2}

    def on_close(self) -> None:
        self.events.append(("close", self.close_code, self.close_reason))


def connected(target: type[WebSocketHandler], **options: Any) -> tuple[WebSocketClient, list[Any]]:
    client = WebSocketClient(target, **options)
    assert client.connect()
    return client, getattr(client.handler, "events", [])


# ---------------------------------------------------------------- connecting


@pytest.mark.parametrize(
    ("path", "handler"),
    [
        ("", Echo),
        ("/socket", Echo),
        ("/socket/", Echo),
        ("/socket/default?x=1", Echo),
        ("/socket/json/", JsonEcho),
        ("json", JsonEcho),
    ],
)
def test_paths_and_namespaces_lead_to_handlers(path: str, handler: type) -> None:
    client = WebSocketClient()
    assert client.connect(path)
    assert type(client.handler) is handler
    assert client.accepted
    assert client.status == 101


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/elsewhere", "/elsewhere does not match /socket"),
        ("/socket/unknown", r"there is no DEFAULT_WS_HANDLERS\['unknown'\]"),
        ("unknown", r"there is no DEFAULT_WS_HANDLERS\['unknown'\]"),
    ],
)
def test_what_leads_nowhere_is_404(path: str, why: str) -> None:
    client = WebSocketClient()
    assert client.connect(path) is False
    assert client.status == 404
    with pytest.raises(AssertionError, match=f"was refused with 404 Not Found: {why}"):
        client.send("hello")


def test_groups_of_the_pattern_are_kwargs(settings: LazySettings) -> None:
    settings.DJANGO_WS = {"WEBSOCKET_URL": r"/ws/(?P<namespace>\w+)(?:/(?P<room>[^/]+))?(?P<x>/)?"}
    client = WebSocketClient()
    assert client.connect("/ws/json/lobby")
    assert client.handler.kwargs == {"room": "lobby"}
    assert client.handler.namespace == "json"


def test_a_namespace_needs_the_parameters_of_its_url(settings: LazySettings) -> None:
    settings.DEFAULT_WS_HANDLERS = {
        "chat": {"handler": "tests.handlers.Echo", "url": "ws/<int:number>/<slug:room>/"}
    }
    client = WebSocketClient("chat")
    with pytest.raises(ValueError, match=r"with kwargs=\{\"number\": …, \"room\": …\}"):
        client.connect()
    assert client.connect(kwargs={"number": 1, "room": "lobby"})
    client.close()
    assert WebSocketClient().connect("/ws/1/lobby/")


def test_a_group_has_a_name() -> None:
    client, _ = connected(Recorder)
    with pytest.raises(ValueError, match="cannot be empty"):
        client.handler.join("")


def test_other_classes_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match="is no subclass of WebSocketHandler"):
        WebSocketClient(dict)  # type: ignore[arg-type]


def test_a_class_needs_no_setting(settings: LazySettings) -> None:
    settings.DEFAULT_WS_HANDLERS = None
    client = WebSocketClient(Recorder)
    assert client.connect("/socket/any?room=1", kwargs={"room": "lobby"}, headers={"X-A": "b"})
    handler = client.handler
    assert (handler.namespace, handler.kwargs) == ("any", {"room": "lobby"})
    assert handler.request.path == "/socket/any"
    assert handler.request.GET["room"] == "1"
    assert handler.request.headers["X-A"] == "b"
    assert handler.request.get_host() == "testserver"
    assert handler.id
    assert client.receive() == "connecting"


def test_a_refusal_has_status_and_reason() -> None:
    client = WebSocketClient(Recorder)
    assert not client.connect("default?refuse=410")
    assert (client.accepted, client.status, client.reason) == (False, 410, "not you")
    with pytest.raises(AssertionError, match="refused with 410 not you"):
        client.receive()
    assert client.connect()
    assert client.receive() == "connecting"


def test_on_connect_that_fails() -> None:
    with pytest.raises(Http404):
        WebSocketClient(Recorder).connect("default?fail=1")
    client = WebSocketClient(Recorder, raise_handler_exceptions=False)
    assert not client.connect("default?fail=1")
    assert client.status == 500


def test_subprotocols() -> None:
    class Chooses(WebSocketHandler):
        def on_connect(self) -> None:
            self.subprotocol = "v2"

    client = WebSocketClient(Chooses)
    assert client.connect(subprotocols=["v1", "v2"])
    assert client.subprotocol == "v2"
    assert client.handler.request.headers["Sec-WebSocket-Protocol"] == "v1, v2"
    with pytest.raises(ValueError, match="does not offer"):
        WebSocketClient(Chooses).connect(subprotocols=["v1"])


def test_one_connection_at_a_time() -> None:
    client, _ = connected(Recorder)
    with pytest.raises(RuntimeError, match="close"):
        client.connect()
    client.close()
    assert client.connect()


def test_before_connect_there_is_nothing() -> None:
    with pytest.raises(AssertionError, match="connect"):
        WebSocketClient().send("x")


# ---------------------------------------------------------------- messages and closing


def test_the_first_message() -> None:
    client, events = connected(Recorder)
    client.send("one")
    client.send(b"two")
    assert events == [("open", "one"), ("message", "one"), ("message", b"two")]
    client, events = connected(Recorder)
    client.send("only open")
    assert events == [("open", "only open")]


def test_receive() -> None:
    client, _ = connected(Echo)
    client.send("")
    client.send(b"\x00")
    assert not client.receive_nothing()
    assert client.receive() == ""
    assert client.receive() == b"\x00"
    assert client.receive_nothing()
    with pytest.raises(AssertionError, match="sent nothing"):
        client.receive()


def test_json() -> None:
    client, _ = connected(JsonEcho)
    client.send_json({"a": [1, None]})
    assert client.receive_json() == {"a": [1, None]}
    client.send("{")
    assert (client.closed, client.close_code) == (True, 1007)
    client, _ = connected(JsonEcho)
    client.send(b"{}")
    assert client.close_code == 1003
    assert issubclass(JsonEcho, JsonWebSocketHandler)


def test_the_client_closes() -> None:
    client, events = connected(Recorder)
    client.close(4100, "bye")
    client.close()
    assert events == [("close", 4100, "bye")]
    with pytest.raises(ConnectionClosed) as raised:
        client.send("x")
    assert raised.value.code == 4100
    assert client.receive() == "connecting"


def test_the_handler_closes() -> None:
    client, events = connected(Recorder)
    client.receive()
    client.send("close")
    assert events[-1] == ("close", 4001, "enough")
    assert (client.close_code, client.close_reason) == (4001, "enough")
    assert client.receive() == "last"
    with pytest.raises(AssertionError, match="closed with 4001"):
        client.receive()


def test_a_context_manager_closes() -> None:
    with WebSocketClient(Recorder) as client:
        assert client.connect()
        handler = client.handler
    assert isinstance(handler, Recorder)
    assert handler.events == [("close", 1000, "")]
    with WebSocketClient(Recorder):
        pass


def test_exceptions_of_hooks() -> None:
    client, _ = connected(Recorder)
    with pytest.raises(LookupError, match="failed"):
        client.send("fail")
    client, events = connected(Recorder, raise_handler_exceptions=False)
    client.send("fail")
    assert client.close_code == 1011
    assert events[-1] == ("close", 1011, "internal error")
    client, _ = connected(Recorder, raise_handler_exceptions=False)
    client.send("deny")
    assert client.close_code == 4403


def test_a_state_that_could_not_move_is_an_error() -> None:
    client, _ = connected(Recorder)
    with pytest.raises(TypeError, match="JSON types"):
        client.send("state")


def test_a_message_over_the_limit() -> None:
    class Big(WebSocketHandler):
        def on_message(self, message: Any) -> None:
            self.send(b"x" * (1024 * 1024 + 1))

    client, _ = connected(Big)
    with pytest.raises(MessageTooBig):
        client.send("x")


def test_a_thread_of_the_handlers_own() -> None:
    class Threaded(WebSocketHandler):
        def on_message(self, message: Any) -> None:
            threading.Timer(0.01, self.send, [message]).start()

    client, _ = connected(Threaded)
    client.send("later")
    assert client.receive(timeout=10) == "later"


def test_a_language_does_not_leak_out_of_a_hook() -> None:
    class Speaks(WebSocketHandler):
        def on_message(self, message: Any) -> None:
            translation.activate("de")

    before = translation.get_language()
    client, _ = connected(Speaks)
    client.send("x")
    assert translation.get_language() == before


# ---------------------------------------------------------------- loops


def test_a_loop_comes_to_an_end() -> None:
    client, _ = connected(Ticker)
    client.send("go")
    assert [client.receive(), client.receive()] == ["1", "2"]
    assert client.receive_nothing()
    assert not client.closed
    client, _ = connected(Ticker, waits=4)
    client.send("go")
    assert [client.receive() for _ in range(5)] == list("12345")


def test_stopping_is_told_while_the_loop_is_to_end() -> None:
    class Watches(WebSocketHandler):
        def on_message(self, message: Any) -> None:
            seen = [self.stopping]
            while not self.wait(1000):
                seen.append(self.stopping)
            self.send_json([*seen, self.stopping])

    client, _ = connected(Watches)
    for _ in range(2):
        client.send("go")
        assert client.receive_json() == [False, False, True]


def test_waiting_for_ever_ends_at_once() -> None:
    class Waits(WebSocketHandler):
        def on_message(self, message: Any) -> None:
            self.send(str(self.wait()))
            self.close()
            assert self.wait(1)

    client, _ = connected(Waits)
    client.send("go")
    assert client.receive() == "True"


def test_an_endless_loop_fails_instead_of_hanging() -> None:
    class Endless(WebSocketHandler):
        def on_message(self, message: Any) -> None:
            while True:
                self.wait(1)

    client, _ = connected(Endless)
    with pytest.raises(AssertionError, match="does not end"):
        client.send("go")


# ---------------------------------------------------------------- Django


@pytest.mark.django_db
class TestDatabase:
    def test_force_login(self) -> None:
        client = WebSocketClient()
        assert not client.connect("user")
        assert client.status == 403
        client.force_login(get_user_model().objects.create_user("ann"))
        assert client.connect("user")
        client.send("x")
        assert client.receive() == "ann"

    def test_a_login_can_be_shared(self) -> None:
        pages = Client()
        pages.force_login(get_user_model().objects.create_user("ann"))
        client = WebSocketClient("user")
        client.cookies = pages.cookies
        assert client.connect()

    def test_hooks_work_in_the_transaction_of_the_test(self) -> None:
        users = get_user_model().objects

        class Counts(WebSocketHandler):
            def on_message(self, message: Any) -> None:
                users.create_user(message)
                self.wait(1)
                self.send(str(users.count()))

        users.create_user("ann")
        open_before = connection.connection
        client, _ = connected(Counts)
        client.send("bob")
        assert client.receive() == "2"
        assert users.count() == 2
        assert connection.in_atomic_block
        assert connection.connection is open_before

    def test_the_session_is_saved_after_each_hook(self) -> None:
        class Visits(WebSocketHandler):
            def on_message(self, message: Any) -> None:
                visits = self.request.session.get("visits", 0) + 1
                self.request.session["visits"] = visits

        pages = Client()
        pages.force_login(get_user_model().objects.create_user("ann"))
        client = WebSocketClient(Visits)
        client.cookies = pages.cookies
        client.connect()
        client.send("x")
        client.send("x")
        assert pages.session["visits"] == 2


# ---------------------------------------------------------------- {% ws_url %}


def render(arguments: str, **context: Any) -> str:
    return Template("{% load django_ws %}{% ws_url " + arguments + " %}").render(Context(context))


def test_ws_url_without_a_request_is_a_path() -> None:
    assert render('"json"') == "/socket/json"
    assert render("") == render('"default"') == "/socket"


def test_ws_url_follows_the_page() -> None:
    request = RequestFactory().get("/page")
    assert render('"json"', request=request) == "ws://testserver/socket/json"
    request = RequestFactory().get("/page", secure=True)
    assert render('"json"', request=request) == "wss://testserver/socket/json"


@pytest.mark.parametrize("public", ["wss://ws.example.com/", "https://ws.example.com"])
def test_ws_url_prefers_the_public_url(settings: LazySettings, public: str) -> None:
    settings.DJANGO_WS = {"PUBLIC_URL": public}
    request = RequestFactory().get("/page")
    assert render('"json"', request=request) == "wss://ws.example.com/socket/json"


def test_ws_url_fills_in_the_pattern(settings: LazySettings) -> None:
    settings.DJANGO_WS = {"WEBSOCKET_URL": r"/ws/(?P<namespace>\w+)(?:/(?P<room>[^/]+))?/?"}
    assert render('"json" room="a b&c"') == "/ws/json/a%20b%26c"
    assert render('"json"') == "/ws/json"
    with pytest.raises(NoReverseMatch, match="has no URL"):
        render('"json" room="a/b"')
    with pytest.raises(NoReverseMatch, match="has no URL"):
        render('"json" lobby="a"')


CHAT = {"handler": "tests.handlers.Echo", "url": "ws/chat/<slug:room>/<int:page>/"}


def test_ws_url_and_client_know_a_namespaces_own_url(settings: LazySettings) -> None:
    settings.DEFAULT_WS_HANDLERS = {"chat": CHAT}
    assert render('"chat" room="lobby" page=3') == "/ws/chat/lobby/3/"
    settings.FORCE_SCRIPT_NAME = "/app"
    assert render('"chat" room="lobby" page=3') == "/app/ws/chat/lobby/3/"
    client = WebSocketClient()
    assert client.connect("/ws/chat/lobby/3/")
    assert client.handler.kwargs == {"room": "lobby", "page": 3}
    assert not WebSocketClient().connect("/socket/chat")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ('"chta"', "has no 'chta'. Did you mean 'chat'"),
        ('"chat" room="a/b" page=1', "does not take room='a/b'"),
        ('"chat" room="a"', "needs page"),
        ('"chat" room="a" page=1 x=2', "has no x"),
    ],
)
def test_ws_url_says_what_is_wrong(settings: LazySettings, arguments: str, words: str) -> None:
    settings.DEFAULT_WS_HANDLERS = {"chat": CHAT}
    with pytest.raises(NoReverseMatch, match=words):
        render(arguments)


def test_what_a_converter_does_not_take_is_404(settings: LazySettings) -> None:
    settings.ROOT_URLCONF = "tests.converters"
    settings.DEFAULT_WS_HANDLERS = {"day": {**CHAT, "url": "ws/<iso_day:day>/"}}
    client = WebSocketClient()
    assert not client.connect("/ws/2026-13-01/")
    assert client.status == 404
