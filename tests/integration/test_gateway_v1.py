"""Clients that offer django-ws.v1, before a handler has accepted them: who is let in, and how."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from django_ws.wire.messages import TEXT, Accept, Refuse
from tests.integration.gateway_harness import (
    Client,
    Gateway,
    Saturated,
    UnknownNamespace,
    gateway,
    wait_until,
)

OFFER = "chat, django-ws.v1"


@contextmanager
def opened(server: Gateway) -> Iterator[Client]:
    """A client that has said nothing yet."""
    with Client(server.port) as client:
        answer = client.upgrade(Sec__WebSocket__Protocol=OFFER)
        assert answer["sec-websocket-protocol"] == "django-ws.v1"
        yield client


def say(client: Client, *envelope: object) -> None:
    client.frame(TEXT, json.dumps(envelope).encode())


def hear(client: Client) -> Any:
    first, data = client.read()
    assert first == 0x81
    return json.loads(data)


def close_code(client: Client) -> int:
    first, data = client.read()
    assert first == 0x88
    return int.from_bytes(data[:2])


def test_nobody_hears_of_it_before_its_hello() -> None:
    with gateway() as server, opened(server) as client:
        assert server.registry.sessions == []
        say(client, "hello", {"auth": {"token": 5}})
        kind, welcome = hear(client)
        assert kind == "welcome"
        assert welcome["id"] == "fake-1"
        assert welcome["silence"] == 33000
        handshake = server.session.handshake
        assert (handshake.kind, handshake.subprotocols) == ("v1", ["django-ws.v1"])
        assert json.loads(handshake.auth) == {"token": 5}


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Origin": "http://evil.example"}, 403), ({"Host": "evil.example"}, 400)],
)
def test_who_may_not_connect_gets_a_status(headers: dict[str, str], status: int) -> None:
    with gateway() as server, Client(server.port) as client:
        assert client.refused(**headers, Sec__WebSocket__Protocol=OFFER)[0] == status
        assert client.at_end()


@pytest.mark.parametrize(
    ("error", "code"), [(UnknownNamespace, 4404), (Saturated, 4503)], ids=["unknown", "saturated"]
)
def test_what_is_known_after_the_hello_is_a_close_code(error: type[Exception], code: int) -> None:
    with gateway() as server, opened(server) as client:
        server.registry.error = error
        say(client, "hello", {})
        assert close_code(client) == code


@pytest.mark.parametrize(("status", "code"), [(401, 4401), (429, 3013), (599, 4599)])
def test_a_handler_refuses_by_a_close_code(status: int, code: int) -> None:
    with gateway() as server, opened(server) as client:
        server.registry.answer = Refuse(1, status, "because")
        say(client, "hello", {})
        assert close_code(client) == code
        assert server.ended() == (1006, "")
        assert server.counters["refused_handler"] == 1


def test_no_worker_answers_in_time() -> None:
    with gateway({"handshake_timeout": 0.2}) as server, opened(server) as client:
        server.registry.answer = None
        say(client, "hello", {})
        assert close_code(client) == 4503
        assert server.ended() == (1006, "")


def test_no_hello_comes_in_time() -> None:
    with gateway({"handshake_timeout": 0.2}) as server, opened(server) as client:
        assert close_code(client) == 4408
        assert server.registry.sessions == []


def test_a_client_that_leaves_before_its_welcome_ends_its_session() -> None:
    with gateway() as server, opened(server) as client:
        server.registry.answer = None
        say(client, "hello", {})
        wait_until(lambda: server.registry.sessions, "a session")
        client.sock.close()
        assert server.ended() == (1006, "")


def test_who_says_more_than_hello_is_sent_away() -> None:
    with gateway() as server, opened(server) as client:
        server.registry.answer = None
        say(client, "hello", {})
        say(client, "m", 1, 0, "too early")
        assert close_code(client) == 3501
        client.frame(8, (3501).to_bytes(2))
        assert server.ended()[0] == 1006


def test_parked_sessions_end_with_the_gateway() -> None:
    with gateway() as server, opened(server) as client:
        say(client, "hello", {})
        hear(client)
        session = server.session
        client.sock.close()
        wait_until(lambda: len(server.server._parking) == 1, "a parked session")
        assert session.ended == []
        server.drain(0.5)
        server.join()
        assert session.ended == [(1006, "server shutting down")]


def test_without_a_time_to_live_it_ends_with_its_connection() -> None:
    with gateway({"session_ttl": 0}) as server, opened(server) as client:
        say(client, "hello", {})
        assert hear(client)[1]["ttl"] == 0
        client.sock.close()
        assert server.ended() == (1006, "")


def test_a_token_is_random_and_long() -> None:
    tokens = set()
    with gateway() as server:
        for _ in range(3):
            with opened(server) as client:
                say(client, "hello", {})
                tokens.add(hear(client)[1]["token"])
    assert len(tokens) == 3
    assert min(map(len, tokens)) >= 22  # 128 bits in base64


def test_an_accident_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with gateway() as server, opened(server) as client:
        server.registry.answer = Accept(0, "")
        server.registry.error = ZeroDivisionError
        say(client, "hello", {})
        assert close_code(client) == 4500
    assert "could not be greeted" in caplog.text
