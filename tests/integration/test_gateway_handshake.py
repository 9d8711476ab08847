"""Who gets in, what a refusal says, and what a worker learns of a handshake."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from django_ws.gateway.http import answers
from django_ws.options import Route
from django_ws.wire.messages import Accept, Refuse
from tests.integration.gateway_harness import (
    Client,
    Gateway,
    Saturated,
    UnknownNamespace,
    connected,
    gateway,
    masked,
    open_sockets,
    request,
    wait_until,
)

URL = r"/socket(?:/(?P<namespace>\w*))?(?:/(?P<room>[^/]+))?(?:/(?P<page>\d+))?/?"


@pytest.fixture(scope="module")
def server() -> Iterator[Gateway]:
    with gateway(websocket_url=URL, debug=True, allowed_origins=["https://good.example"]) as server:
        yield server


@pytest.fixture
def client(server: Gateway) -> Iterator[Client]:
    server.registry.answer = Accept(0, "")
    server.registry.error = None
    with Client(server.port) as client:
        yield client


def test_what_a_worker_learns(server: Gateway, client: Client) -> None:
    client.upgrade(
        "/socket/ch%C3%A4t/a%20room?q=1&q=%2F",
        Cookie="sessionid=s",
        X__Forwarded__For="10.0.0.1",
        X_Forwarded_For="spoofed",
        Latin="caf\xe9",
        **{"Sec-WebSocket-Protocol": "chat, superchat"},
    )
    handshake = server.session.handshake
    assert handshake.namespace == "chät"
    assert handshake.kwargs == {"room": "a room"}
    assert (handshake.scheme, handshake.path) == ("http", "/socket/chät/a room")
    assert handshake.query == "q=1&q=%2F"
    assert handshake.subprotocols == ["chat", "superchat"]
    assert handshake.client == client.sock.getsockname()
    assert handshake.server == ("127.0.0.1", server.port)
    assert abs(handshake.time - time.time()) < 5
    headers = dict(handshake.headers)
    assert headers["cookie"] == "sessionid=s"
    assert headers["latin"] == "caf\xe9"
    assert headers["x-forwarded-for"] == "10.0.0.1"
    assert not any("_" in name for name in headers)


@pytest.mark.parametrize("path", ["/socket", "/socket/", "/socket//"])
def test_an_empty_namespace_is_the_default(server: Gateway, client: Client, path: str) -> None:
    client.upgrade(path)
    assert server.session.handshake.namespace == "default"


def test_the_subprotocol_that_was_chosen(server: Gateway, client: Client) -> None:
    server.registry.answer = Accept(0, "superchat")
    answer = client.upgrade(**{"Sec-WebSocket-Protocol": "chat, superchat"})
    assert answer["sec-websocket-protocol"] == "superchat"
    assert "server" not in answer


def test_what_was_sent_with_the_handshake_is_not_lost(server: Gateway, client: Client) -> None:
    server.registry.answer = None
    before = len(server.registry.sessions)
    early = masked(1, b"first") + masked(2, b"x" * 50_000)
    client.send(request(server.port) + early[:40_000])
    wait_until(lambda: len(server.registry.sessions) > before)
    session = server.session
    server.call(lambda: session.verdict.set_result(Accept(0, "")))
    client.send(early[40_000:])
    assert client.head()[0] == 101
    assert client.read() == (0x81, b"first")
    assert client.read() == (0x82, b"x" * 50_000)


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ({"Host": "evil.example"}, 400, "'evil.example' to ALLOWED_HOSTS"),
        ({"Host": "a.example, b.example"}, 400, ""),
        ({"Host": None}, 400, ""),
        ({"Origin": "https://evil.example"}, 403, "ALLOWED_ORIGINS"),
        ({"Origin": "http://localhost:8000"}, 403, "localhost and 127.0.0.1 are two"),
        ({"Origin": "null"}, 403, "origin"),
        ({"Origin": None}, 403, "ALLOW_MISSING_ORIGIN"),
        ({"Sec-WebSocket-Key": "short"}, 400, "Sec-WebSocket-Key"),
        ({"Sec-WebSocket-Key": None}, 400, "Sec-WebSocket-Key"),
        ({"Sec-WebSocket-Version": "8"}, 400, "Sec-WebSocket-Version"),
        ({"Connection": "keep-alive"}, 426, "Connection"),
        ({"Upgrade": None}, 426, "address of a WebSocket"),
    ],
)
def test_refusals(
    server: Gateway, client: Client, headers: dict[str, str | None], status: int, text: str
) -> None:
    before = len(server.registry.sessions)
    code, body = client.refused(**headers)
    assert code == status
    assert text in body
    assert len(server.registry.sessions) == before


def test_other_ports_and_listed_origins_get_in(server: Gateway) -> None:
    for origin in ("http://127.0.0.1:8000", "https://127.0.0.1", "https://good.example"):
        with Client(server.port) as client:
            client.upgrade(Origin=origin)


def test_advice_is_for_debug_only() -> None:
    with gateway() as server, Client(server.port) as client:
        status, body = client.refused(Origin="https://evil.example")
        assert (status, body) == (403, "This origin may not connect.\n")
        assert server.counters["refused_origin"] == 1


@pytest.mark.parametrize("debug", [True, False])
def test_the_log_says_why(caplog: pytest.LogCaptureFixture, debug: bool) -> None:
    """The page's own code cannot read the body of a refusal."""

    def refused(server: Gateway, **headers: str | None) -> str:
        caplog.clear()
        with Client(server.port) as client:
            assert client.refused(**headers)[0] >= 400
        (record,) = caplog.records
        return record.getMessage()

    with gateway(debug=debug) as server:
        said = refused(server, Origin="http://localhost:8000")
        assert "127.0.0.1 /socket/ refused (403): This origin may not connect." in said
        assert ("or add 'http://localhost:8000' to ALLOWED_ORIGINS." in said) == debug
        server.registry.error = Saturated
        assert "refused (503): This server has no room for another connection." in refused(server)
        server.registry.error = None
        server.registry.answer = Refuse(0, 451, "not\r\nhere")
        assert refused(server).endswith("refused (451): not here")


@pytest.mark.parametrize(
    ("status", "why"),
    [(403, "on_connect refused it"), (500, "on_connect failed; see the log of the workers")],
)
def test_the_log_says_who_refused(caplog: pytest.LogCaptureFixture, status: int, why: str) -> None:
    with gateway() as server, Client(server.port) as client:
        server.registry.answer = Refuse(0, status, "")
        assert client.refused()[0] == status
    assert f"refused ({status}): {why}" in caplog.text


def test_what_is_like_the_last_is_counted_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    with gateway() as server:
        for _ in range(3):
            with Client(server.port) as client:
                assert client.refused(Origin=None)[0] == 403
        server.call(lambda: server.server._journal._quiet.clear())
        with Client(server.port) as client:
            client.refused(Origin=None)
    first, last = (record.getMessage() for record in caplog.records)
    assert first.endswith("refused (403): The Origin header is missing.")
    assert last.endswith("refused (403): The Origin header is missing. (2 more like it)")


def test_the_log_names_the_host(caplog: pytest.LogCaptureFixture) -> None:
    with gateway() as server, Client(server.port) as client:
        status, body = client.refused(Host="evil.example")
        assert (status, body) == (400, "This host is not served here.\n")
    (record,) = caplog.records
    assert record.getMessage() == (
        "127.0.0.1 /socket/ refused (400): This host is not served here. "
        "The Host header is 'evil.example'."
    )


def test_a_stranger_cannot_dress_up_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with gateway(debug=True, websocket_url=".*") as server, Client(server.port) as client:
        path = "/socket/%1B%5B2J%C2%9B%E2%80%AE" + "x" * 5000
        assert client.refused(path, Origin="http://a.example/\x9b2J" + "y" * 1000)[0] == 403
    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 1200


def test_a_bare_refusal_of_the_handler_carries_advice_under_debug() -> None:
    for debug in (True, False):
        with gateway(debug=debug) as server, Client(server.port) as client:
            server.registry.answer = Refuse(0, 403, "")
            assert ("returned False" in client.refused()[1]) is debug


@pytest.mark.parametrize("debug", [True, False])
def test_a_path_that_is_no_websockets(caplog: pytest.LogCaptureFixture, debug: bool) -> None:
    with gateway(debug=debug, routes=[Route("chat", "/ws/chat/")]) as server:
        with Client(server.port) as client:
            status, body = client.refused("/ws/chat")
        assert status == 404
        assert body.startswith("There is no WebSocket at this path.\n")
        assert ("/ws/chat/, /socket" in body) is debug
        assert server.counters["refused_url"] == 1
    assert "127.0.0.1 /ws/chat refused (404): There is no WebSocket at this path." in caplog.text
    assert "/ws/chat/, /socket" in caplog.text


def test_a_namespace_with_its_own_url() -> None:
    routes = [Route("page", r"/ws/(?P<room>[-\w]+)/(?P<number>[0-9]+)/")]
    with gateway(routes=routes) as server:
        with Client(server.port) as client:
            client.upgrade("/ws/a-room/007/?x=1")
            handshake = server.session.handshake
            assert handshake.namespace == "page"
            assert handshake.kwargs == {"room": "a-room", "number": "007"}
        with Client(server.port) as client:
            client.upgrade("/socket/other/")
            assert server.session.handshake.namespace == "other"
        with Client(server.port) as client:
            assert client.refused("/socket/page/")[0] == 404


def test_the_host_comes_before_the_projects_expressions() -> None:
    with gateway(websocket_url=r"(/|a+)+b") as server, Client(server.port) as client:
        began = time.process_time()
        assert client.refused("/" + "a" * 40, Host="evil.example")[0] == 400
        assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "body", [{"Content__Length": "1000000"}, {"Transfer__Encoding": "chunked"}]
)
@pytest.mark.parametrize("path", ["/socket/", "/elsewhere"])
@pytest.mark.parametrize("upgrade", ["websocket", None])
def test_a_body_is_refused_unread(
    server: Gateway, client: Client, path: str, upgrade: str | None, body: dict[str, str]
) -> None:
    before = len(server.registry.sessions)
    assert client.refused(path, Upgrade=upgrade, **body)[0] == 413
    assert client.at_end()
    assert len(server.registry.sessions) == before


def test_who_sends_a_body_anyway_hears_why(client: Client) -> None:
    client.send(b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000\r\n\r\n")
    client.send(b"x" * 500_000)
    assert client.head()[0] == 413


def test_who_sends_a_body_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LINGER", 0.1)
    with gateway() as server, Client(server.port) as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
        assert client.head()[0] == 413
        wait_until(lambda: open_sockets(server) == 0)


def test_a_missing_origin_can_be_allowed() -> None:
    with gateway(allow_missing_origin=True) as server, Client(server.port) as client:
        client.upgrade(Origin=None)


def test_plain_requests(server: Gateway) -> None:
    with Client(server.port) as client:
        client.send(b"GET /socket/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, _, headers = client.head()
        assert (status, headers["upgrade"]) == (426, "websocket")
        client.body(headers)
    with Client(server.port) as client:
        client.send(b"GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, _, headers = client.head()
        assert status == 404
        assert "--wsgi serves the project's pages, too" in client.body(headers)
        assert "server" not in headers


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /socket/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"HEAD /socket/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /socket/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        request(1, Origin=None),
    ],
    ids=["426", "404", "ready", "head", "host", "origin"],
)
def test_what_says_that_it_closes_does_so(server: Gateway, sent: bytes) -> None:
    with Client(server.port) as client:
        client.send(sent * 2)
        _, _, headers = client.head()
        assert headers["connection"] == "close"
        if not sent.startswith(b"HEAD"):
            client.body(headers)
        assert client.at_end()


@pytest.mark.parametrize(
    ("error", "status"), [(UnknownNamespace, 404), (Saturated, 503)], ids=["unknown", "saturated"]
)
def test_nobody_to_ask(
    server: Gateway, client: Client, error: type[Exception], status: int
) -> None:
    server.registry.error = error
    assert client.refused("/socket/chat/")[0] == status


def test_a_handlers_refusal(server: Gateway, client: Client) -> None:
    server.registry.answer = Refuse(0, 451, "not\r\nSet-Cookie: here")
    client.send(request(server.port))
    status, reason, headers = client.head()
    assert (status, reason) == (451, "not Set-Cookie: here")
    assert "set-cookie" not in headers
    assert client.body(headers) == "451 not Set-Cookie: here\n"
    assert server.ended() == (1006, "")


def test_a_reason_beyond_ascii_is_in_the_body(server: Gateway, client: Client) -> None:
    server.registry.answer = Refuse(0, 403, "für Mitglieder")
    assert client.refused() == (403, "403 für Mitglieder\n")


def test_no_verdict_in_time() -> None:
    with gateway({"handshake_timeout": 0.1}) as server, Client(server.port) as client:
        server.registry.answer = None
        status, body = client.refused()
        assert (status, body) == (503, "No worker answered in time.\n")
        assert server.ended() == (1006, "")


def test_a_client_that_leaves_before_the_verdict(server: Gateway) -> None:
    server.registry.answer = None
    before = len(server.registry.sessions)
    with Client(server.port) as client:
        client.send(request(server.port))
        wait_until(lambda: len(server.registry.sessions) > before)
    session = server.session
    assert server.ended() == (1006, "")
    server.call(lambda: session.verdict.set_result(Accept(0, "")))
    assert session.client is None


def test_caps() -> None:
    with gateway({"max_connections": 3, "max_connections_per_ip": 2}) as server:
        with connected(server), connected(server), Client(server.port) as third:
            status, body = third.refused()
            assert (status, body) == (503, "Too many connections from your address.\n")
        wait_until(lambda: open_sockets(server) == 0)
        with connected(server) as client:
            client.frame(1, b"room again")
            assert client.read() == (0x81, b"room again")
    limits = {"max_connections": 1}
    with gateway(limits) as server, connected(server), Client(server.port) as second:
        assert second.refused()[0] == 503


def test_refusals_count_until_their_socket_is_closed() -> None:
    with gateway({"max_connections_per_ip": 1}) as server:
        for answer, headers in [(Accept(0, ""), {"Origin": None}), (Refuse(0, 403, ""), {})] * 2:
            server.registry.answer = answer
            with Client(server.port) as client:
                assert client.refused(**headers)[0] == 403
            wait_until(lambda: open_sockets(server) == 0)
        server.registry.answer = Accept(0, "")
        with connected(server):
            pass


@pytest.mark.parametrize(
    "drip",
    [
        b"",
        b"GET /socket/ HTTP/1.1\r\nHost: local",
    ],
    ids=["silence", "head"],
)
def test_a_slow_drip_is_cut_off(drip: bytes) -> None:
    with gateway({"idle_timeout": 0.2}) as server, Client(server.port) as client:
        client.send(drip)
        assert client.at_end()


def test_long_headers_are_refused_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with gateway({"max_header_size": 1000}) as server, Client(server.port) as client:
        status, body = client.refused(Long="x" * 1000)
        assert (status, body) == (431, "The headers of this request are too long.\n")
        assert client.at_end()
        assert server.registry.sessions == []
        assert server.counters["refused_headers"] == 1
    assert "127.0.0.1 refused (431): the request's headers are over 1000 bytes" in caplog.text


def test_headers_without_end_are_cut_off() -> None:
    with gateway({"max_header_size": 1000}) as server, Client(server.port) as client:
        with suppress(OSError):
            for _ in range(1000):
                client.send(b"X-Long: " + b"x" * 10_000 + b"\r\n")
        wait_until(lambda: server.counters["refused_headers"])
        assert server.counters["refused_headers"] == 1


def test_without_descriptors_new_ones_are_refused_and_old_ones_live() -> None:
    with gateway() as server, connected(server) as old:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        clients = [socket.socket() for _ in range(3)]
        free = os.open(os.devnull, os.O_RDONLY)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
        try:
            began = time.process_time()
            for client in clients:
                client.settimeout(5)
                client.connect(("127.0.0.1", server.port))
                assert client.recv(12) == b"HTTP/1.1 503"
                with suppress(ConnectionResetError):
                    while client.recv(4096):
                        pass
                old.frame(1, b"still there?")
                assert old.read() == (0x81, b"still there?")
            assert server.counters["accept_failures"] >= 2
            assert time.process_time() - began < 0.3, "a busy loop"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for client in clients:
                client.close()
        with connected(server) as again:
            again.frame(1, b"welcome")
            assert again.read() == (0x81, b"welcome")
