"""Stopping a gateway."""

from __future__ import annotations

import time
from contextlib import ExitStack

from tests.integration.gateway_harness import Client, connected, gateway, request, wait_until


def test_clients_are_closed_and_everything_is_let_go() -> None:
    with gateway() as server, ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(250)]
        began = time.monotonic()
        server.drain(6.0)
        for client in clients:
            first, data = client.read()
            assert (first, data[:2]) == (0x88, b"\x03\xe9")
            client.frame(8, data)
        assert all(client.at_end() for client in clients)
        server.join()
        assert time.monotonic() - began < 3
        assert {session.ended[0] for session in server.registry.sessions} == {
            (1001, "server shutting down")
        }
        assert server.registry.drained
        assert server.registry.closed


def test_nobody_new_is_let_in() -> None:
    with gateway() as server, connected(server) as old, Client(server.port) as late:
        server.registry.answer = None
        with Client(server.port) as pending:
            pending.send(request(server.port))
            wait_until(lambda: len(server.registry.sessions) == 2)
            server.drain(3.0)
            assert pending.head()[0] == 503
            assert server.ended() == (1006, "")
            status, body = late.refused()
            assert (status, body) == (503, "This server is shutting down.\n")
            with Client(server.port) as later:
                assert later.refused() == (503, "This server is shutting down.\n")
            assert ready(server.port) == 503
            assert old.read()[0] == 0x88
        old.frame(8, b"\x03\xe9")
        assert old.at_end()


def ready(port: int) -> int:
    """The readiness check's answer."""
    with Client(port) as client:
        client.send(f"GET /-/ready HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        return client.head()[0]


def test_readiness_follows_the_workers() -> None:
    with gateway() as server:
        assert ready(server.port) == 200
        server.registry.workers = 0
        assert ready(server.port) == 503


def test_clients_that_do_not_answer_cannot_delay_the_end() -> None:
    with gateway({"close_timeout": 30}) as server, connected(server):
        began = time.monotonic()
        server.drain(0.4)
        server.join()
        assert time.monotonic() - began < 2
        assert server.ended() == (1001, "server shutting down")
