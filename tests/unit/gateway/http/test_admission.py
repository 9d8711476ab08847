"""Whoever asks for a session, by whatever transport, gets one or hears why not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders

from django_ws.gateway.http.admission import Admission
from django_ws.gateway.http.refusals import Refusal
from django_ws.gateway.http.requests import Request
from django_ws.gateway.http.routes import Found
from django_ws.gateway.sessions import Saturated, UnknownNamespace
from django_ws.options import GatewayConfig, Limits
from django_ws.wire.messages import Accept, Handshake, Refuse


class Session:
    conn = 1

    def __init__(self, handshake: Handshake) -> None:
        self.handshake = handshake
        self.verdict: asyncio.Future[Accept | Refuse] = asyncio.get_running_loop().create_future()

    def attach(self, client: object) -> None: ...
    def receive(self, opcode: int, data: bytes) -> bool:
        return True

    def writable(self) -> None: ...
    def disconnected(self, code: int, reason: str) -> None: ...


class Registry:
    error: type[Exception] | None = None

    def connect(self, handshake: Handshake) -> Session:
        if self.error:
            raise self.error
        return Session(handshake)


def made(**headers: str) -> Request:
    """A request, by polling say: there is nothing of a WebSocket in it."""
    given = HTTPHeaders({"Host": "example.com", "Origin": "http://example.com"})
    given.update({name.replace("__", "-"): value for name, value in headers.items()})
    return Request(
        "POST", "/poll/?a=1", "HTTP/1.1", given, "http", ("10.0.0.1", 5), ("10.0.0.2", 80)
    )


def admission(**limits: Any) -> Admission:
    config = GatewayConfig(project="p", allowed_hosts=["example.com"], limits=Limits(**limits))
    return Admission(config, Registry())


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())

    return run


def test_hosts_origins_and_the_end() -> None:
    door = admission()
    assert door.check_host(made()) is None
    assert door.check(made()) is None
    refusal = door.check_host(made(Host="evil.example"))
    assert refusal
    assert refusal.status == 400
    refusal = door.check(made(Origin="http://evil.example"))
    assert refusal
    assert refusal.status == 403
    door.stop()
    refusal = door.check(made())
    assert refusal
    assert refusal.counter == "refused_stopping"


def test_what_the_worker_learns() -> None:
    async def test() -> None:
        found = Found("chat", {"room": "a"})
        session = admission().begin(made(X_Y="no", X__Y="yes"), found, ["one"])
        assert isinstance(session, Session)
        handshake = session.handshake
        assert (handshake.namespace, handshake.kwargs) == ("chat", {"room": "a"})
        assert (handshake.path, handshake.query) == ("/poll/", "a=1")
        assert (handshake.client, handshake.server) == (("10.0.0.1", 5), ("10.0.0.2", 80))
        assert handshake.subprotocols == ["one"]
        assert dict(handshake.headers)["x-y"] == "yes"
        assert "x_y" not in dict(handshake.headers)

    in_loop(test)()


@pytest.mark.parametrize(
    ("error", "counter"),
    [(UnknownNamespace, "refused_namespace"), (Saturated, "refused_saturated")],
)
def test_nobody_to_ask(error: type[Exception], counter: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(Registry, "error", error)
    refusal = admission().begin(made(), Found("chat"))
    assert isinstance(refusal, Refusal)
    assert refusal.counter == counter


def verdict_of(
    answer: Accept | Refuse | None, ended: bool | None = None, **limits: Any
) -> Accept | Refusal | None:
    async def ask() -> Accept | Refusal | None:
        door = admission(**limits)
        session = door.begin(made(), Found("chat"))
        assert isinstance(session, Session)
        gone: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if answer is not None:
            session.verdict.set_result(answer)
        if ended is True:
            gone.set_result(True)
        elif ended is False:
            asyncio.get_running_loop().call_soon(door.stop)
        return await door.verdict(session, gone)

    return asyncio.run(ask())


def test_verdicts() -> None:
    accept = Accept(1, "one")
    assert verdict_of(accept) is accept
    assert verdict_of(None, ended=True) is None
    for answer, ended, counter in [
        (None, False, "refused_stopping"),
        (None, None, "refused_timeout"),
        (Refuse(1, 403, "no\r\nway"), None, "refused_handler"),
    ]:
        refusal = verdict_of(answer, ended, handshake_timeout=0.01)
        assert isinstance(refusal, Refusal)
        assert refusal.counter == counter


@pytest.mark.parametrize(
    ("refuse", "body", "log"),
    [
        (Refuse(1, 403, ""), "403\non_connect of the handler", "on_connect refused it"),
        (Refuse(1, 500, ""), "500\non_connect failed", "on_connect failed; see"),
        (Refuse(1, 451, "not\u202e here"), "451 not here\n", "not here"),
    ],
)
def test_a_handlers_refusal_says_what_to_do(refuse: Refuse, body: str, log: str) -> None:
    refusal = verdict_of(refuse)
    assert isinstance(refusal, Refusal)
    assert refusal.body(debug=True).startswith(body)
    assert refusal.body(debug=False).count("\n") == 1
    assert refusal.why(debug=False).startswith(log)
    assert refusal.why(debug=True).count(log) == 1
