"""Sockets are counted and timed from accept on, and some descriptors are not for clients."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from django_ws.wire.messages import Accept
from tests.integration.gateway_harness import (
    Client,
    Gateway,
    connected,
    gateway,
    open_sockets,
    request,
    wait_until,
)

HALF = b"GET /socket/ HTTP/1.1\r\nHost: local"


@contextmanager
def holding(server: Gateway, count: int, data: bytes) -> Iterator[None]:
    """So many clients that have sent something and wait."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(Client(server.port)).send(data)
        wait_until(lambda: open_sockets(server) == count)
        yield


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """In this process, while it lasts."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("held", [b"", HALF], ids=["silence", "head"])
@pytest.mark.parametrize("cap", ["max_connections", "max_connections_per_ip"])
def test_whatever_has_been_sent_a_socket_counts(held: bytes, cap: str) -> None:
    with gateway({cap: 3}) as server:
        with holding(server, 3, held):
            for _ in range(3):
                with Client(server.port) as client:
                    status, body = client.refused()
                    assert status == 503
                    assert "connection" in body
            assert server.counters["refused_limit"] == 3
        wait_until(lambda: open_sockets(server) == 0)
        with connected(server) as client:
            client.frame(1, b"room again")
            assert client.read() == (0x81, b"room again")


def test_who_is_told_of_a_cap_needs_no_request_for_it() -> None:
    with (
        gateway({"max_connections": 1}) as server,
        holding(server, 1, b""),
        Client(server.port) as client,
    ):
        status, _, headers = client.head()
        assert (status, headers["connection"]) == (503, "close")
        assert "no room" in client.body(headers)
        assert client.at_end()


def test_more_than_can_be_waited_for_are_cut_off() -> None:
    with gateway({"max_connections": 1}) as server, holding(server, 1, b""):
        server.call(lambda: setattr(server.server._reception._descriptors, "excess", 1))
        with Client(server.port) as first, Client(server.port) as second:
            assert first.head()[0] == 503
            assert second.head()[0] == 503
            second.buffer = b""
            assert second.at_end()
        assert server.counters["refused_limit"] == 2
        wait_until(lambda: not server.server._reception._excess)
        with Client(server.port) as client:
            assert client.head()[0] == 503


def test_an_idle_socket_gives_its_place_back() -> None:
    limits = {"max_connections_per_ip": 2, "idle_timeout": 0.2}
    with gateway(limits) as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(2)]
        clients[0].send(HALF)
        for client in clients:
            assert client.at_end()
        wait_until(lambda: open_sockets(server) == 0)
        stack.enter_context(connected(server))


def test_a_websocket_counts_once_and_until_its_end() -> None:
    with gateway() as server:
        with connected(server), connected(server):
            assert open_sockets(server) == 2
        wait_until(lambda: open_sockets(server) == 0)


def test_a_socket_beyond_the_highest_number_is_not_for_clients() -> None:
    with gateway() as server, connected(server) as old:
        server.call(lambda: setattr(server.server._reception._descriptors, "highest", 1))
        with Client(server.port) as client:
            assert client.refused()[0] == 503
        assert open_sockets(server) == 1
        old.frame(1, b"still there?")
        assert old.read() == (0x81, b"still there?")


def test_a_handshake_needs_no_descriptor_of_its_own() -> None:
    with gateway() as server, Client(server.port) as client:
        server.registry.answer = None
        client.send(request(server.port))
        wait_until(lambda: server.registry.sessions)
        session = server.session
        with no_descriptors_left():
            server.call(lambda: session.verdict.set_result(Accept(0, "")))
            assert client.head()[0] == 101
            client.frame(1, b"hello")
            assert client.read() == (0x81, b"hello")
        client.sock.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: open_sockets(server) == 0)


def test_a_failed_hand_over_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise OSError

    with gateway() as server, Client(server.port) as client:
        monkeypatch.setattr(type(server.loop), "connect_accepted_socket", fail, raising=False)
        before = len(os.listdir("/proc/self/fd"))
        client.send(request(server.port))
        with suppress(ConnectionResetError):
            assert client.at_end()
        assert server.ended() == (1006, "")
        assert server.counters["refused_vanished"] == 1
        wait_until(lambda: open_sockets(server) == 0)
        assert len(os.listdir("/proc/self/fd")) < before + 1
