"""What a handler's members ask of its connection, and what they refuse by themselves."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.utils.functional import lazystr
from django.utils.safestring import SafeString, mark_safe

from django_ws.base import JsonWebSocketHandler, WebSocketHandler
from django_ws.exceptions import RequestError
from django_ws.publications import Position
from django_ws.wire.messages import BINARY, TEXT


class FakeConnection:
    """Notes what is called, and says of each attribute its name."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.id = "gw-1"
        self.user = "the user"
        self.request = self

    def __getattr__(self, name: str) -> Any:
        if name in ("send", "close", "emit", "join", "leave", "publish", "show", "wait"):
            return lambda *args: self.calls.append((name, *args)) or Position(7, "e")
        if name in ("refresh_user", "select_subprotocol"):
            return lambda *args: self.calls.append((name, *args))
        return f"its {name}"


def made(kind: type[WebSocketHandler] = WebSocketHandler) -> tuple[Any, FakeConnection]:
    handler, connection = kind(), FakeConnection()
    handler._connection = connection  # type: ignore[assignment]
    return handler, connection


@pytest.mark.parametrize(
    "name",
    [
        *("gateway", "namespace", "kwargs", "state", "groups", "subprotocol", "closed"),
        *("stopping", "close_code", "close_reason", "auth", "info"),
    ],
)
def test_members_are_the_connections(name: str) -> None:
    handler, _ = made()
    assert getattr(handler, name) == f"its {name}"


def test_what_may_be_assigned_goes_to_the_connection() -> None:
    handler, connection = made()
    handler.user = "another"
    handler.subprotocol = "chat"
    handler.info = {"name": "Ada"}
    handler.refresh_user()
    assert handler.user == "another"
    assert connection.calls == [
        ("select_subprotocol", "chat"),
        ("show", {"name": "Ada"}),
        ("refresh_user",),
    ]
    assert vars(handler) == {}  # so that nothing of it has to move


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ("text", "text"),
        (mark_safe("<b>"), "<b>"),
        (lazystr("later"), "later"),
        (b"bytes", b"bytes"),
        (bytearray(b"array"), b"array"),
        (memoryview(b"view"), b"view"),
    ],
)
def test_text_and_bytes_of_any_kind_are_sent_as_plain_ones(message: Any, sent: Any) -> None:
    handler, connection = made()
    handler.send(message)
    assert connection.calls == [("send", sent)]
    assert type(connection.calls[0][1]) in (str, bytes)
    assert not isinstance(connection.calls[0][1], SafeString)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"a": 1}, "send() takes str or bytes, not dict: use send_json() to send it as JSON"),
        (7, "send() takes str or bytes, not int"),
    ],
)
def test_anything_else_is_refused_with_advice(message: Any, words: str) -> None:
    handler, connection = made()
    with pytest.raises(TypeError) as raised:
        handler.send(message)
    assert str(raised.value) == words
    assert connection.calls == []


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 4999])
def test_codes_that_may_be_sent(code: int) -> None:
    handler, connection = made()
    handler.close(code, "ä" * 61)
    assert connection.calls == [("close", code, "ä" * 61)]


@pytest.mark.parametrize(
    ("code", "reason"), [(999, ""), (1004, ""), (1005, ""), (1006, ""), (1015, ""), (5000, "")]
)
def test_codes_that_may_not(code: int, reason: str) -> None:
    with pytest.raises(ValueError, match="no close code"):
        made()[0].close(code, reason)


def test_a_code_is_an_int_and_a_reason_plain_text() -> None:
    """A gateway could read neither, and a worker whose messages cannot be read is lost."""
    handler, connection = made()
    handler.close(4000, mark_safe("safe"))
    handler.close(4000, lazystr("later"))
    assert [type(call[2]) for call in connection.calls] == [str, str]
    with pytest.raises(TypeError, match="float"):
        handler.close(4000.0)  # type: ignore[arg-type]


def test_a_reason_has_a_limit() -> None:
    with pytest.raises(ValueError, match="123 bytes"):
        made()[0].close(1000, "ä" * 62)


def test_groups() -> None:
    handler, connection = made()
    assert handler.join("room") == Position(7, "e")
    assert handler.join("room", since=(3, "e")) == Position(7, "e")
    handler.leave("room")
    handler.publish("room", "text", exclude_self=True)
    handler.publish("room", b"x", event="news", immediate=True, using="other")
    handler.publish("room", {"a": 1})
    drafts = [call[1] for call in connection.calls[3:]]
    assert connection.calls[:3] == [
        ("join", "room", None),
        ("join", "room", (3, "e")),
        ("leave", "room"),
    ]
    assert [(each.opcode, each.data, each.exclude, each.event, each.json) for each in drafts] == [
        (TEXT, b"text", "gw-1", "", False),
        (BINARY, b"x", "", "news", False),
        (TEXT, b'{"a": 1}', "", "", True),
    ]
    assert [call[2:] for call in connection.calls[3:]] == [
        (False, None),
        (True, "other"),
        (False, None),
    ]


@pytest.mark.parametrize("call", ["join", "leave", "publish"])
def test_a_group_that_no_gateway_could_read_is_refused_in_the_hook(call: str) -> None:
    handler, connection = made()
    more = ["message"] if call == "publish" else []
    with pytest.raises(TypeError, match="a group's name is a str, not int"):
        getattr(handler, call)(7, *more)
    with pytest.raises(UnicodeEncodeError):
        getattr(handler, call)("half a pair \ud800", *more)
    assert connection.calls == []


def test_names_are_plain_text() -> None:
    handler, connection = made()
    handler.join(mark_safe("room"))
    handler.leave(mark_safe("room"))
    handler.emit(mark_safe("news"))
    handler.publish(mark_safe("room"), "text", event=mark_safe("news"))
    (_, joined, _), (_, left), (_, emitted, _), (_, draft, *_) = connection.calls
    names = [joined, left, emitted, draft.group, draft.event]
    assert [type(name) for name in names] == [str] * 5
    assert names == ["room", "room", "news", "room", "news"]


def test_what_no_event_can_be_called() -> None:
    handler, connection = made()
    for call in (handler.emit, lambda name: handler.publish("room", "text", event=name)):
        with pytest.raises(TypeError, match="an event's name is a str, not int"):
            call(5)
        with pytest.raises(UnicodeEncodeError):
            call("half a pair \ud800")
    assert connection.calls == []


def test_events_and_waiting() -> None:
    handler, connection = made()
    handler.emit("news", 1, b"x")
    handler.wait()
    handler.wait(2.5)
    with pytest.raises(TypeError, match="an event's name is a str, not bytes"):
        handler.emit(b"news")
    assert connection.calls == [("emit", "news", (1, b"x")), ("wait", None), ("wait", 2.5)]


@pytest.mark.parametrize(
    ("error", "code"), [(PermissionDenied(), 4403), (ValueError(), 1011), (KeyError("x"), 1011)]
)
def test_on_error_closes(error: Exception, code: int) -> None:
    handler, connection = made()
    handler.on_error(error)
    assert connection.calls[0][:2] == ("close", code)


def test_hooks_do_nothing_by_themselves() -> None:
    handler, connection = made()
    assert handler.authenticate() is None
    assert handler.on_connect() is None
    assert handler.on_open("x") is None
    for hook in (handler.on_close, handler.on_restore):
        assert hook() is None
    assert handler.on_message("x") is None
    with pytest.raises(RequestError) as raised:
        handler.on_request("x")
    assert raised.value.code == 4400
    assert connection.calls == []


def test_dispatch_runs_the_check_that_no_method_is() -> None:
    class Handler(WebSocketHandler):
        def authorize(self) -> str:
            return "never"

        def on_open(self, message: Any) -> Any:
            return message

    handler, _ = made(Handler)
    assert handler.dispatch("authorize", lambda: "the check") == "the check"
    assert handler.dispatch("on_open", "x") == "x"


def test_send_json_encodes_as_django_does() -> None:
    handler, connection = made(JsonWebSocketHandler)
    handler.send_json({"title": lazystr("Titel")})
    assert connection.calls == [("send", '{"title": "Titel"}')]
