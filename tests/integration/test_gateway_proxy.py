"""Plain HTTP beside the WebSockets, as ``--wsgi`` needs it."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from django_ws.gateway.http import proxy
from tests.integration.gateway_harness import Client, Gateway, gateway


class Pages(BaseHTTPRequestHandler):
    """Tells what it was asked."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.send_header("Set-Cookie", "a=1")
            self.send_header("Set-Cookie", "b=2")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/stream":
            self.close_connection = True
            self.send_response(200)
            self.end_headers()
            for _ in range(3):
                self.wfile.write(b"x" * 100_000)
        elif self.path == "/nothing":
            self.send_response(204)
            self.end_headers()
        else:
            self.answer(str(self.headers).encode())

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    do_HEAD = do_GET

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def pages() -> Iterator[int]:
    """The child's port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[Gateway]:
    with pages() as port, gateway(proxy_port=port) as running:
        yield running


@pytest.fixture
def client(server: Gateway) -> Iterator[Client]:
    with Client(server.port) as client:
        yield client


def get(client: Client, path: str, method: str = "GET") -> tuple[int, dict[str, str]]:
    client.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Own: yes\r\n\r\n".encode())
    status, _, headers = client.head()
    return status, headers


def test_passes_requests_on_and_keeps_the_connection(client: Client) -> None:
    for _ in range(2):
        status, headers = get(client, "/page")
        body = client.body(headers)
        assert status == 200
        assert "Host: localhost" in body
        assert "X-Own: yes" in body
        assert "X-Forwarded-For: 127.0.0.1" in body
        assert "X-Forwarded-Proto: http" in body


def test_redirects_and_cookies_are_the_browsers_business(client: Client, server: Gateway) -> None:
    client.send(b"GET /redirect HTTP/1.1\r\nHost: localhost\r\n\r\n")
    while b"\r\n\r\n" not in client.buffer:
        assert client._more()
    assert client.buffer.startswith(b"HTTP/1.1 302")
    assert b"Location: /elsewhere" in client.buffer
    assert client.buffer.count(b"Set-Cookie: ") == 2


def test_answers_without_a_body(client: Client) -> None:
    assert get(client, "/nothing")[0] == 204
    status, headers = get(client, "/page", "HEAD")
    assert status == 200
    assert int(headers["content-length"]) > 0
    assert get(client, "/nothing")[0] == 204


def test_streams_both_ways(server: Gateway) -> None:
    url = f"http://127.0.0.1:{server.port}"
    with urllib.request.urlopen(f"{url}/stream") as response:
        assert response.read() == b"x" * 300_000
    body = bytes(range(256)) * 8192
    with urllib.request.urlopen(f"{url}/upload", data=body) as response:
        assert response.read() == body


def test_websockets_are_served_beside_it(server: Gateway, client: Client) -> None:
    status, headers = get(client, "/socket/")
    assert status == 200
    client.body(headers)
    client.upgrade()
    client.frame(1, b"hello")
    assert client.read() == (0x81, b"hello")


def test_a_missing_child_is_waited_for_and_then_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "PATIENCE", 0.2)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        with gateway(proxy_port=reserved.getsockname()[1]) as server, Client(server.port) as client:
            status, headers = get(client, "/page")
            assert status == 502
            assert "not there" in client.body(headers)
