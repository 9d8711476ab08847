"""Stopping a gateway."""

from __future__ import annotations

import itertools
import selectors
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
            status, _, headers = pending.head()
            assert (status, headers["retry-after"]) == (503, "1")
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
        server.registry.ready = False
        assert ready(server.port) == 503


def test_closes_are_spread_over_the_set_span() -> None:
    with gateway({"drain_spread": 0.8}) as server, ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(8)]
        server.drain(6.0)
        began = time.monotonic()
        moments = []
        with selectors.DefaultSelector() as selector:
            for client in clients:
                selector.register(client.sock, selectors.EVENT_READ, client)
            while selector.get_map():
                for key, _ in selector.select(5.0):
                    assert key.data.read()[0] == 0x88
                    moments.append(time.monotonic() - began)
                    selector.unregister(key.fileobj)
        assert moments[0] < 0.3
        assert 0.6 < moments[-1] < 1.5
        gaps = [after - before for before, after in itertools.pairwise(moments)]
        assert max(gaps) < 0.4


def test_who_is_not_closed_yet_is_served() -> None:
    with gateway({"drain_spread": 1.0}) as server, ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(4)]
        server.drain(6.0)
        closed = 0
        for client in clients:
            client.frame(1, b"hello")
            first, _ = client.read()
            closed += first == 0x88
        assert closed < 4


def test_a_gateway_that_is_renewed_lets_others_have_the_port() -> None:
    with ExitStack() as stack:
        old = stack.enter_context(gateway(sharing="first"))
        client = stack.enter_context(connected(old))
        new = stack.enter_context(gateway(sharing="more", port=old.port))
        old.renew(3.0)
        first, data = client.read()
        assert (first, data) == (0x88, b"\x03\xf4server restarting")
        client.frame(8, data)
        for _ in range(20):  # all reach the new one
            with connected(new):
                pass
        assert len(new.registry.sessions) == 20
        assert len(old.registry.sessions) == 1
        old.join()


def test_who_has_just_connected_to_a_gateway_that_is_renewed_is_let_in() -> None:
    with gateway(sharing="first") as old, Client(old.port) as client:
        wait_until(lambda: old.server._reception.staying == 1)
        old.renew(6.0)
        client.send(request(old.port))
        assert client.head()[0] == 101
        assert client.read() == (0x88, b"\x03\xf4server restarting")


def test_clients_that_do_not_answer_cannot_delay_the_end() -> None:
    with gateway({"close_timeout": 30}) as server, connected(server):
        began = time.monotonic()
        server.drain(0.4)
        server.join()
        assert time.monotonic() - began < 2
        assert server.ended() == (1001, "server shutting down")
