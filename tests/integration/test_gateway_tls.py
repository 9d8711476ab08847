"""The same connections over TLS, which stays in Tornado's stream."""

from __future__ import annotations

import logging
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from django_ws.gateway.counters import Counters
from django_ws.gateway.http.server import ServerError
from django_ws.gateway.logs import ControlHandler
from tests.integration.gateway_harness import (
    Client,
    Gateway,
    gateway,
    masked,
    open_sockets,
    wait_until,
)

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("certificate")
    cert, key = directory / "cert.pem", directory / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    extension = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        [*command.split(), *extension, "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    return cert, key


@pytest.fixture
def server(certificate: tuple[Path, Path]) -> Iterator[Gateway]:
    cert, key = map(str, certificate)
    limits = {
        "message_rate": 0,
        "ping_interval": 0,
        "max_pending": 200_000,
        "send_timeout": 0.3,
        "close_timeout": 0.5,
        "idle_timeout": 1.0,
    }
    with gateway(limits, certfile=cert, keyfile=key) as running:
        yield running


@pytest.fixture
def client(server: Gateway, certificate: tuple[Path, Path]) -> Iterator[Client]:
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with Client(server.port, tls=context) as client:
        client.upgrade(Origin="https://127.0.0.1")
        yield client


def test_echoes(server: Gateway, client: Client) -> None:
    assert server.session.handshake.scheme == "https"
    for size in (0, 1, 126, 65536):
        client.frame(2, b"*" * size)
        assert client.read() == (0x82, b"*" * size)
    client.send(b"".join(masked(1, b"%d" % n) for n in range(1000)))
    assert [int(client.read()[1]) for _ in range(1000)] == list(range(1000))


def test_a_page_without_tls_is_refused(server: Gateway, certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with Client(server.port, tls=context) as client:
        assert client.refused(Origin="http://127.0.0.1")[0] == 403


def test_a_refusal_under_tls_is_heard_and_closes(
    server: Gateway, certificate: tuple[Path, Path]
) -> None:
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with Client(server.port, tls=context) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n")
        client.send(b"x" * 100_000)
        status, _, headers = client.head()
        assert (status, headers["connection"]) == (413, "close")
        client.body(headers)
        with suppress(ssl.SSLEOFError):  # the end of the connection, not of TLS
            assert client.at_end()
    wait_until(lambda: open_sockets(server) == 0)


def test_sockets_count_before_they_have_spoken_tls(certificate: tuple[Path, Path]) -> None:
    cert, key = map(str, certificate)
    limits = {"max_connections_per_ip": 2, "idle_timeout": 0.5}
    with gateway(limits, certfile=cert, keyfile=key) as server:
        with Client(server.port) as first, Client(server.port) as second:
            first.send(b"\x16\x03\x01")
            wait_until(lambda: open_sockets(server) == 2)
            with Client(server.port) as third:
                assert third.at_end()
            assert server.counters["refused_limit"] == 1
            assert first.at_end()
            assert second.at_end()
        wait_until(lambda: open_sockets(server) == 0)


class Control:
    """Takes what would go to the supervisor."""

    def __init__(self) -> None:
        self.messages: list[object] = []

    def send(self, message: dict[str, object]) -> bool:
        self.messages.append(message["message"])
        return True


def test_plain_http_on_the_port_is_said_once(server: Gateway) -> None:
    control = Control()
    handler = ControlHandler(control, Counters())
    logging.getLogger("tornado.general").addHandler(handler)
    try:
        for _ in range(20):
            with Client(server.port) as client:
                client.send(b"GET / HTTP/1.1\r\n\r\n")
                assert client.at_end()
    finally:
        logging.getLogger("tornado.general").removeHandler(handler)
    assert len(control.messages) == 1


def test_long_headers_are_refused(server: Gateway, certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with Client(server.port, tls=context) as client:
        assert client.refused(Long="x" * 10_000)[0] == 431
    assert server.counters["refused_headers"] == 1


def test_closing_from_both_sides(server: Gateway, client: Client) -> None:
    client.frame(8, b"\x0f\xa0bye")
    assert client.read() == (0x88, b"\x0f\xa0bye")
    assert server.ended() == (4000, "bye")
    wait_until(lambda: server.server.connections == 0)


def test_own_close(server: Gateway, client: Client) -> None:
    session = server.session
    server.call(lambda: session.client.close(1008, "no"))
    assert client.read() == (0x88, b"\x03\xf0no")
    client.frame(8, b"\x03\xf0")
    assert server.ended() == (1008, "no")
    wait_until(lambda: server.server.connections == 0)


def test_failing(server: Gateway, client: Client) -> None:
    client.frame(1, b"\xff")
    assert client.read()[1][:2] == b"\x03\xef"
    assert server.ended() == (1007, "invalid UTF-8")
    wait_until(lambda: server.server.connections == 0)


def test_vanishing(server: Gateway, client: Client) -> None:
    client.sock.close()
    assert server.ended() == (1006, "")


def test_the_window_and_a_slow_reader(server: Gateway, client: Client) -> None:
    session = server.session
    server.registry.on_receive = lambda *_: False
    client.send(masked(1, b"one") + masked(1, b"two"))
    wait_until(lambda: len(session.received) == 1)
    server.call(session.client.resume)
    wait_until(lambda: len(session.received) == 2)
    server.call(session.client.resume)
    while server.call(lambda: session.client.writable):
        server.call(lambda: session.client.send(2, b"x" * 50_000))
    assert server.ended(session) == (3008, "too slow")


def test_a_client_that_does_not_shake_hands_is_cut_off(server: Gateway) -> None:
    with Client(server.port) as client:
        assert client.at_end()


def test_a_bad_certificate_is_said(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(ServerError, match=r"missing\.pem"), gateway(certfile=missing):
        pass
