"""Requests and events of clients that can ask, from the wire to the answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from django_ws.base import JsonWebSocketHandler, WebSocketHandler
from django_ws.exceptions import RequestError
from django_ws.wire.codec import encode
from django_ws.wire.messages import (
    TEXT,
    Call,
    Close,
    Emit,
    Handshake,
    Kind,
    Message,
    Reply,
    Send,
)
from django_ws.worker import hygiene
from django_ws.worker.connection import WorkerConnection
from django_ws.worker.turn import handle
from tests.unit.worker.executors.test_pool import Log
from tests.unit.worker.test_turn import World

HANDSHAKE = encode(
    Handshake(
        "default",
        {},
        "http",
        "/socket.io/",
        "",
        [],
        ("::1", 1),
        ("::1", 2),
        [],
        0.0,
        kind="socketio",
        auth=b'{"token":"t"}',
    )
)


class Talk:
    """A client with envelopes at one connection."""

    def __init__(self, kind: type[WebSocketHandler]) -> None:
        self.world = World()
        self.connection = WorkerConnection(
            1, "default", HANDSHAKE, kind, self.world.link, self.world.runner
        )
        self.world.link.connections[1] = self.connection
        self.connection.lifecycle.restore(False, True, lambda handler: None)
        self.seq = 1

    def say(self, kind: Kind, name: str, data: bytes, *attachments: bytes, ask: bool) -> list[Any]:
        self.seq += 1
        call = Call(1, self.seq, kind, name, data, list(attachments), ask)
        assert handle(self.connection, call)
        said = self.world.said()
        assert self.connection.link.handled == self.seq - 1
        return said

    def request(self, data: bytes, *attachments: bytes) -> list[Any]:
        return self.say(Kind.REQUEST, "", data, *attachments, ask=True)

    def event(self, name: str, data: bytes, *attachments: bytes, ask: bool = True) -> list[Any]:
        return self.say(Kind.EVENT, name, data, *attachments, ask=ask)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hygiene.thread, "dirty", False)


def handler(base: type[WebSocketHandler] = WebSocketHandler, **members: Any) -> Any:
    return type("H", (base,), members)


# ---------------------------------------------------------------- requests


def test_what_on_request_returns_is_the_answer() -> None:
    talk = Talk(handler(on_request=lambda self, message: [message, b"more"]))
    data = b'{"a":{"_placeholder":true,"num":0}}'
    (reply,) = talk.request(data, b"bytes")
    assert reply.code == 0
    assert reply.seq == 2
    assert msgspec.json.decode(reply.data) == [
        {"a": {"_placeholder": True, "num": 0}},
        {"_placeholder": True, "num": 1},
    ]
    assert reply.attachments == [b"bytes", b"more"]


def test_nobody_answers_by_default() -> None:
    assert Talk(handler()).request(b"1") == [Reply(1, 2, 4400, b"no on_request")]


def test_a_request_error_is_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    def on_request(self: Any, message: Any) -> Any:
        raise RequestError(7, "sold out")

    assert Talk(handler(on_request=on_request)).request(b"1") == [Reply(1, 2, 7, b"sold out")]
    assert caplog.text == ""


@pytest.mark.parametrize("result", [object(), float("nan")])
def test_a_request_that_fails_is_answered_and_the_connection_lives(
    result: Any, caplog: pytest.LogCaptureFixture
) -> None:
    talk = Talk(handler(on_request=lambda self, message: result))
    assert talk.request(b"1") == [Reply(1, 2, 4500, b"internal error")]
    assert "on_request failed" in caplog.text
    talk = Talk(handler(on_request=lambda self, message: 1 / message))
    assert talk.request(b"0") == [Reply(1, 2, 4500, b"internal error")]
    assert talk.request(b"4") == [Reply(1, 3, 0, b"0.25")]


def test_an_answer_that_is_too_big_is_an_error() -> None:
    talk = Talk(handler(on_request=lambda self, message: "x" * message))
    talk.world.runner.max_outgoing = 1000
    assert talk.request(b"998")[0].code == 0
    assert talk.request(b"999") == [Reply(1, 3, 4500, b"internal error")]


@pytest.mark.parametrize("data", [b"{", b"[" * 100_000])
def test_what_is_no_json_closes(data: bytes) -> None:
    assert Talk(handler()).request(data) == [Close(1, 1007, "not JSON")]


def test_a_missing_attachment_closes() -> None:
    data = b'[{"_placeholder":true,"num":1}]'
    assert Talk(handler()).event("news", data, b"only one") == [Close(1, 1007, "not JSON")]


def test_after_its_own_close_nothing_is_answered() -> None:
    def on_request(self: Any, message: Any) -> Any:
        self.close(4000, "enough")
        return message

    talk = Talk(handler(on_request=on_request))
    assert talk.request(b"1") == [Close(1, 4000, "enough")]
    assert talk.request(b"2") == []


# ---------------------------------------------------------------- events


@pytest.mark.parametrize(
    ("result", "data"),
    [(None, b"[]"), (1, b"[1]"), ((1, "b"), b'[1,"b"]'), ([1, 2], b"[[1,2]]"), ((), b"[]")],
)
def test_what_on_event_returns_is_the_acknowledgement(result: Any, data: bytes) -> None:
    seen = []

    def on_event(self: Any, event: str, *args: Any) -> Any:
        seen.append((event, args))
        return result

    talk = Talk(handler(on_event=on_event))
    assert talk.event("news", b'["a",2]') == [Reply(1, 2, 0, data)]
    assert talk.event("other", b"[]", ask=False) == []
    assert talk.event("single", b"3") == [Reply(1, 4, 0, data)]
    assert seen == [("news", ("a", 2)), ("other", ()), ("single", (3,))]


def test_an_event_that_fails_closes_and_is_not_acknowledged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    talk = Talk(handler(on_event=lambda self, event: 1 / 0))
    assert talk.event("news", b"[]") == [Close(1, 1011, "internal error")]
    assert "on_event failed: ZeroDivisionError" in caplog.text


def test_without_on_event_a_message_is_a_message_and_the_rest_is_ignored() -> None:
    kind: Any = handler(Log, log=[])
    talk = Talk(kind)
    assert talk.event("message", b'["first"]') == [Reply(1, 2, 0, b"[]")]
    assert talk.event("message", b'[{"a":1}]') == [Reply(1, 3, 0, b"[]")]
    assert talk.event("message", b"[]") == [Reply(1, 4, 0, b"[]")]
    assert talk.event("news", b'["x"]') == [Reply(1, 5, 0, b"[]")]
    assert [what for _, what in kind.log] == ["first", {"a": 1}]


def test_on_open_may_keep_the_first_message() -> None:
    kind = handler(
        on_open=lambda self, message: self.send(f"opened by {message}") or True,
        on_message=lambda self, message: self.send(message),
    )
    talk = Talk(kind)
    assert talk.event("message", b'["a"]', ask=False) == [Send(1, TEXT, b"opened by a")]
    assert talk.event("message", b'["b"]', ask=False) == [Send(1, TEXT, b"b")]


def test_an_own_on_event_may_leave_messages_to_the_default() -> None:
    def on_event(self: Any, event: str, *args: Any) -> Any:
        return WebSocketHandler.on_event(self, event, *args)

    kind = handler(
        on_event=on_event,
        on_open=lambda self, message: self.send("opened") or (message == "keep" or None),
        on_message=lambda self, message: self.send(message),
    )
    talk = Talk(kind)
    assert talk.event("message", b'["a"]', ask=False) == [
        Send(1, TEXT, b"opened"),
        Send(1, TEXT, b"a"),
    ]
    assert talk.event("message", b'["b"]', ask=False) == [Send(1, TEXT, b"b")]
    assert talk.event("news", b'["b"]', ask=False) == []
    assert Talk(kind).event("message", b'["keep"]', ask=False) == [Send(1, TEXT, b"opened")]


def test_json_handlers_decode_text_and_refuse_bytes() -> None:
    kind = handler(
        JsonWebSocketHandler, on_message=lambda self, message: self.send_json(message["a"])
    )
    talk = Talk(kind)
    assert talk.event("message", b'["{\\"a\\":1}"]', ask=False) == [Send(1, TEXT, b"1")]
    assert talk.event("message", b'[{"a":2}]', ask=False) == [Send(1, TEXT, b"2")]
    data = b'[{"_placeholder":true,"num":0}]'
    assert talk.event("message", data, b"x", ask=False) == [Close(1, 1003, "only text messages")]


# ---------------------------------------------------------------- what handlers say to such clients


def test_emit_takes_values_and_bytes() -> None:
    talk = Talk(handler(on_message=lambda self, message: self.emit("news", message, b"raw")))
    assert handle(talk.connection, Message(1, 2, TEXT, b"a"))
    assert talk.world.said() == [Emit(1, "news", b'["a",{"_placeholder":true,"num":0}]', [b"raw"])]


@pytest.mark.parametrize(
    ("args", "error"),
    [((7,), "an event's name is a str, not int"), (("big", "x" * 1000), "over the limit of 900")],
)
def test_what_cannot_be_emitted(args: Any, error: str, caplog: pytest.LogCaptureFixture) -> None:
    talk = Talk(handler(on_message=lambda self, message: self.emit(*args)))
    talk.world.runner.max_outgoing = 900
    assert handle(talk.connection, Message(1, 2, TEXT, b"a"))
    assert talk.world.said() == [Close(1, 1011, "internal error")]
    assert error in caplog.text


@pytest.mark.parametrize("args", [("disconnect",), ("news", *[b"x"] * 11)])
def test_what_clients_of_socket_io_would_break_off_over(
    args: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """With their sessions kept they would come back for it, and break off again, without end."""
    talk = Talk(handler(on_message=lambda self, message: self.emit(*args)))
    assert handle(talk.connection, Message(1, 2, TEXT, b"a"))
    assert talk.world.said() == [Close(1, 1011, "internal error")]
    assert "ValueError" in caplog.text
    answering = Talk(handler(on_event=lambda self, event: args))
    assert [type(each) for each in answering.event("ask", b"[]")] == [
        Reply if len(args) < 10 else Close
    ]


def test_auth_is_what_the_client_brought() -> None:
    talk = Talk(handler(on_message=lambda self, message: self.send_json(self.auth)))
    assert handle(talk.connection, Message(1, 2, TEXT, b"a"))
    assert talk.world.said() == [Send(1, TEXT, b'{"token": "t"}')]
