"""Plain HTTP beside the WebSockets, as ``--wsgi`` needs it."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from django_ws.gateway.http import bodies, upstream
from tests.integration.gateway_harness import (
    Client,
    Gateway,
    gateway,
    open_sockets,
    request,
    wait_until,
)


class Pages(BaseHTTPRequestHandler):
    """Tells what it was asked."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.begun.append(self.path)  # type: ignore[attr-defined]
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
        self.server.begun.append(self.path)  # type: ignore[attr-defined]
        if self.path == "/wait":
            self.server.go_on.wait(5)  # type: ignore[attr-defined]
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    do_HEAD = do_GET

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Child(ThreadingHTTPServer):
    """The child, which notes what it begins."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Pages)
        self.begun: list[str] = []
        self.go_on = threading.Event()


@contextmanager
def child_of(limits: dict[str, Any]) -> Iterator[tuple[Child, Gateway]]:
    """A child and a gateway of their own."""
    with pages() as child, gateway(limits, proxy_port=child.server_port) as running:
        yield child, running


@contextmanager
def pages() -> Iterator[Child]:
    """The child."""
    with Child() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[Gateway]:
    with child_of({}) as (_, running):
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
    monkeypatch.setattr(upstream, "PATIENCE", 0.2)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        with gateway(proxy_port=reserved.getsockname()[1]) as server, Client(server.port) as client:
            status, headers = get(client, "/page")
            assert status == 502
            assert "not there" in client.body(headers)


# ---------------------------------------------------------------------- bodies


def post(path: str, *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in ("Host: localhost", *headers))
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode()


def answer(client: Client) -> tuple[int, str]:
    status, _, headers = client.head()
    return status, client.body(headers)


def test_a_body_in_chunks_arrives_whole(client: Client) -> None:
    body = bytes(range(97, 123)) * 10_000
    client.send(post("/upload", "Transfer-Encoding: chunked"))
    for start in range(0, len(body), 7000):
        part = body[start : start + 7000]
        client.send(b"%x\r\n%b\r\n" % (len(part), part))
    client.send(b"0\r\n\r\n")
    assert answer(client) == (200, body.decode())
    client.send(post("/upload", "Content-Length: 2") + b"ok")
    assert answer(client) == (200, "ok")


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 3,3"],
        ["Content-Length: 3", "Content-Length: 3"],
        ["Content-Length: -1"],
        ["Content-Length: 1e3"],
        ["Content-Length: " + "9" * 40],
        ["Content-Length:"],
        ["Content-Length: 3", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: gzip"],
    ],
)
def test_a_body_without_a_clear_end_is_refused(
    server: Gateway, client: Client, headers: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    client.send(post("/upload", *headers) + b"abc")
    assert answer(client)[0] == 400
    assert client.at_end()
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("chunk", [b"x\r\n", b"-1\r\n", b"5\r\nhello??"])
def test_broken_chunks_end_the_connection(
    client: Client, chunk: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    client.send(post("/upload", "Transfer-Encoding: chunked") + chunk)
    assert client.sock.recv(12) == b"HTTP/1.1 400"
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (post("/upload", "Content-Length: 1000000").replace(b"localhost", b"evil.example"), 400),
        (request(1, Content__Length="1000000"), 413),
        (request(1, Transfer__Encoding="chunked"), 413),
        (post("/upload", f"Content-Length: {2 * 1024**3}"), 413),
    ],
    ids=["host", "upgrade", "chunked upgrade", "too long"],
)
def test_what_is_refused_costs_no_body(head: bytes, status: int) -> None:
    with child_of({}) as (child, server), Client(server.port) as client:
        client.send(head.replace(b"127.0.0.1:1\r\n", b"127.0.0.1\r\n"))
        assert answer(client)[0] == status
        assert client.at_end()
        assert child.begun == []
        assert server.registry.sessions == []


def test_a_slow_body_gets_no_thread_and_is_given_up() -> None:
    with child_of({"idle_timeout": 0.2}) as (child, server), Client(server.port) as client:
        client.send(post("/upload", "Content-Length: 100000") + b"x" * 50_000)
        assert answer(client)[0] == 408
        assert client.at_end()
        assert child.begun == []


def test_a_slow_body_that_has_a_thread_is_given_up() -> None:
    with child_of({"idle_timeout": 0.2}) as (child, server), Client(server.port) as client:
        client.send(post("/upload", "Content-Length: 200000") + b"x" * 100_000)
        assert answer(client)[0] == 408
        wait_until(lambda: open_sockets(server) == 0)
        assert child.begun == ["/upload"]


def test_bodies_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_CHUNKED", 10_000)
    with child_of({}) as (_, server):
        with Client(server.port) as client:
            client.send(post("/upload", "Transfer-Encoding: chunked") + b"4e20\r\n" + b"x" * 20_000)
            assert answer(client)[0] == 413
        monkeypatch.setattr(bodies, "MAX_HELD", 30_000)
        with Client(server.port) as first, Client(server.port) as second:
            first.send(post("/upload", "Content-Length: 20001") + b"x" * 20_000)
            wait_until(lambda: held(server) == 20_000)
            second.send(post("/upload", "Content-Length: 20001") + b"x" * 20_000)
            assert answer(second)[0] == 503
            first.send(b"x")
            assert answer(first)[0] == 200
        wait_until(lambda: held(server) == 0)


def held(server: Gateway) -> int:
    """Bytes of bodies in memory."""
    return server.server._front._pages.held.size  # type: ignore[union-attr]


def test_so_many_threads_and_no_more() -> None:
    with child_of({}) as (child, server), ExitStack() as stack:
        server.call(lambda: take_slots(server, 2))
        waiting = [stack.enter_context(Client(server.port)) for _ in range(4)]
        for client in waiting:
            client.send(post("/wait", "Content-Length: 2") + b"ok")
        wait_until(lambda: len(child.begun) == 2)
        waiting.pop(0).sock.close()  # its place is free again
        wait_until(lambda: len(child.begun) == 3)
        child.go_on.set()
        for client in waiting:
            assert answer(client) == (200, "ok")
        assert len(child.begun) == 4


def take_slots(server: Gateway, left: int) -> None:
    """Leave so many requests at a time to the child."""
    slots = server.server._front._pages.upstream._slots  # type: ignore[union-attr]
    slots._value = left


def test_an_idle_connection_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_ws.gateway.http.server.KEEP_ALIVE", 0.1)
    with child_of({}) as (_, server), Client(server.port) as client:
        status, headers = get(client, "/page")
        assert status == 200
        client.body(headers)
        assert client.at_end()
        wait_until(lambda: open_sockets(server) == 0)


def test_connections_for_pages_count(monkeypatch: pytest.MonkeyPatch) -> None:
    with child_of({"max_connections_per_ip": 2}) as (_, server), ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(3)]
        for client in clients[:2]:
            status, headers = get(client, "/page")
            assert status == 200
            client.body(headers)
        assert get(clients[2], "/page")[0] == 503


def test_a_websocket_at_a_wrong_path_is_no_page(caplog: pytest.LogCaptureFixture) -> None:
    with child_of({}) as (child, server), Client(server.port) as client:
        assert client.refused("/ws/chat/lobby")[0] == 404
        assert child.begun == []
    assert "/ws/chat/lobby refused (404): There is no WebSocket at this path." in caplog.text
    assert "The URLs of WebSockets are /socket" in caplog.text
