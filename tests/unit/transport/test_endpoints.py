"""Which endpoints are accepted, before anything is bound."""

from __future__ import annotations

import pytest
import zmq

from django_ws.options import MAX_IPC_PATH
from django_ws.transport.addresses import split
from django_ws.transport.endpoints import EndpointError, bind, is_local, may_connect


@pytest.mark.parametrize(
    ("endpoint", "parts"),
    [
        ("ipc:///tmp/ws_push", ("ipc", "/tmp/ws_push")),
        ("ipc://relative", ("ipc", "relative")),
        ("tcp://127.0.0.1:5555", ("tcp", "127.0.0.1:5555")),
        ("tcp://[::1]:5555", ("tcp", "[::1]:5555")),
        ("tcp://127.0.0.1:0", ("tcp", "127.0.0.1:0")),
    ],
)
def test_scheme_and_address(endpoint: str, parts: tuple[str, str]) -> None:
    assert split(endpoint) == parts


@pytest.mark.parametrize(
    "endpoint",
    ["", "ipc://", "/tmp/x", "tcp://", "tcp://host", "tcp://host:", "tcp://host:http",
     "udp://127.0.0.1:1", "inproc://x", "ipc:/tmp/x"],
)  # fmt: skip
def test_what_is_no_endpoint_says_what_is_one(endpoint: str) -> None:
    with pytest.raises(EndpointError, match="ipc:///PATH or tcp://HOST:PORT"):
        split(endpoint)


def test_a_path_too_long_for_a_socket_says_so() -> None:
    assert split("ipc://" + "x" * MAX_IPC_PATH)
    with pytest.raises(EndpointError, match="longer than 107 bytes"):
        split("ipc://" + "x" * (MAX_IPC_PATH + 1))
    with pytest.raises(EndpointError, match="longer than 107 bytes"):
        split("ipc://" + "ä" * 60)  # bytes count, not characters


@pytest.mark.parametrize(
    ("endpoint", "local"),
    [
        ("ipc:///x", True),
        ("tcp://127.0.0.1:1", True),
        ("tcp://127.9.9.9:1", True),
        ("tcp://[::1]:1", True),
        ("tcp://localhost:1", True),
        ("tcp://0.0.0.0:1", False),
        ("tcp://*:1", False),
        ("tcp://10.0.0.1:1", False),
        ("tcp://[::]:1", False),
        ("tcp://localhost.example.org:1", False),
    ],
)
def test_is_local(endpoint: str, local: bool) -> None:
    assert is_local(endpoint) is local


@pytest.mark.parametrize(
    ("endpoint", "configured", "allowed"),
    [
        ("ipc:///run/push", "ipc:///run/push", True),
        ("ipc:///run/push.abc", "ipc:///run/push", True),
        ("ipc:///run/pushy", "ipc:///run/push", False),
        ("ipc:///run/push.abc/../../etc/x", "ipc:///run/push", False),
        ("ipc:///run/push.d/x", "ipc:///run/push", False),
        ("ipc:///elsewhere/push", "ipc:///run/push", False),
        ("tcp://127.0.0.1:7", "ipc:///run/push", False),
        ("tcp://127.0.0.1:7", "tcp://127.0.0.1:5", True),
        ("tcp://127.0.0.2:7", "tcp://127.0.0.1:5", False),
        ("tcp://evil.example:7", "tcp://127.0.0.1:5", False),
        ("ipc:///run/push", "tcp://127.0.0.1:5", False),
        ("garbage", "ipc:///run/push", False),
    ],
)
def test_gateways_connect_only_where_their_own_workers_are(
    endpoint: str, configured: str, allowed: bool
) -> None:
    assert may_connect(endpoint, configured) is allowed


def test_an_address_that_others_can_reach_is_refused() -> None:
    with pytest.raises(EndpointError, match="needs CURVE keys"):
        bind(zmq.PULL, "tcp://0.0.0.0:5555")
