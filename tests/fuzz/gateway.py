"""What is fuzzed through a socket: a gateway that runs, by each of the ways in.

Whatever comes, it goes on serving everybody else, and logs no traceback.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from hypothesis import strategies as st

from tests.integration.gateway_harness import Client, Gateway, connected, gateway, request

from .targets import TARGETS, Target, frames

__all__ = ["served"]

_LINES = [
    b"GET /socket/ HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n", b"POST /socket.io/?EIO=4 HTTP/1.1\r\n",
    b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n", b"GET /-/ready HTTP/1.0\r\n",
    b"GET http://localhost/socket/ HTTP/1.1\r\n", b"GET //%00%ff/..?a=%zz HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET\r\n",
    b"Host: localhost\r\n", b"Host: [::1\r\n", b"Host: a b\r\n", b"Host:\r\n",
    b"Origin: http://localhost\r\n", b"Origin: http://[\r\n", b"Origin: null\r\n",
    b"Connection: Upgrade\r\n", b"Upgrade: websocket\r\n", b"Sec-WebSocket-Version: 13\r\n",
    b"Sec-WebSocket-Version: 99\r\n", b"Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n",
    b"Sec-WebSocket-Key: x\r\n", b"Sec-WebSocket-Protocol: django-ws.v1, \xff\r\n",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=0\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 5, 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"X: " + b"y" * 9000 + b"\r\n", b" folded\r\n",
    b"No colon\r\n",
    b"Cookie: a=\x00\r\n", b"\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n",
]  # fmt: skip

_http = st.lists(st.sampled_from(_LINES) | st.binary(max_size=30), max_size=14).map(b"".join)


class _Tracebacks(logging.Handler):
    """Keeps what is logged with a traceback, or as an error."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.ERROR:
            self.found.append(self.format(record))


@contextlib.contextmanager
def served() -> Iterator[dict[str, Target]]:
    """A gateway, and the targets that reach it, by name."""
    tracebacks = _Tracebacks()
    logging.getLogger().addHandler(tracebacks)
    try:
        with gateway(
            {
                "max_message_size": 300,
                "message_rate": 1e6,
                "max_connections_per_ip": 0,
                "compression": True,
            },
            socketio=True,
            socketio_recovery=True,
            debug=True,
        ) as running:
            running.registry.on_receive = lambda session, opcode, data: True

            def target(
                check: Callable[[Gateway, bytes], None], likely: st.SearchStrategy[bytes]
            ) -> Target:
                def run(data: bytes) -> None:
                    with contextlib.suppress(OSError):  # it may hang up whenever it likes
                        check(running, data)
                    _serves(running)
                    running.registry.sessions.clear()
                    logged = tracebacks.found[:1]
                    tracebacks.found.clear()
                    assert not logged, logged[0]

                return Target(run, likely)

            yield {
                "gateway-http": target(_raw, _http),
                "gateway-frames": target(_plain, frames),
                "gateway-deflate": target(_deflate, frames),
                "gateway-v1": target(_v1, TARGETS["v1"].likely),
                "gateway-socketio": target(_socketio, TARGETS["socketio"].likely),
                "gateway-polling": target(_polling, TARGETS["engineio"].likely),
            }
    finally:
        logging.getLogger().removeHandler(tracebacks)


def _serves(running: Gateway) -> None:
    """Others are served as ever."""
    with Client(running.port) as client:
        client.send(b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, _, _ = client.head()
        assert status == 200


def _finish(client: Client) -> None:
    """Wait until the gateway has read everything: it answers a close frame, or hangs up."""
    client.sock.settimeout(2)
    with contextlib.suppress(EOFError, TimeoutError):
        client.frame(8, (1000).to_bytes(2))
        client.sock.shutdown(1)
        while client.read()[0] != 0x88:
            pass


def _raw(running: Gateway, data: bytes) -> None:
    with Client(running.port) as client:
        client.send(data)
        client.sock.shutdown(1)
        client.sock.settimeout(2)
        with contextlib.suppress(TimeoutError):
            while client.sock.recv(65536):
                pass


def _plain(running: Gateway, data: bytes) -> None:
    with connected(running) as client:
        client.send(data)
        _finish(client)


def _deflate(running: Gateway, data: bytes) -> None:
    with connected(running, Sec__WebSocket__Extensions="permessage-deflate") as client:
        client.send(data)
        _finish(client)


def _v1(running: Gateway, data: bytes) -> None:
    with connected(running, Sec__WebSocket__Protocol="django-ws.v1") as client:
        client.frame(1, b'["hello",{}]')
        client.frame(2 if data[:1] == b"\2" else 1, data[1:])
        _finish(client)


def _socketio(running: Gateway, data: bytes) -> None:
    with Client(running.port) as client:
        client.upgrade("/socket.io/?EIO=4&transport=websocket")
        for part in data.split(b"\0"):
            binary = part.startswith(b"\2")
            client.frame(2 if binary else 1, part[1:] if binary else b"4" + part)
        _finish(client)


def _polling(running: Gateway, data: bytes) -> None:
    with Client(running.port) as client:
        client.send(_request(running, "GET", ""))
        _, _, headers = client.head()
        opening = client.body(headers)
    sid = opening.partition('"sid":"')[2].partition('"')[0]
    with Client(running.port) as client:
        client.send(_request(running, "POST", f"&sid={sid}", data))
        client.sock.settimeout(2)
        with contextlib.suppress(EOFError, TimeoutError):
            client.head()


def _request(running: Gateway, method: str, query: str, body: bytes = b"") -> bytes:
    plain = dict.fromkeys(
        ("Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key"), None
    )
    length = str(len(body)) if method == "POST" else None
    head = request(
        running.port, f"/socket.io/?EIO=4&transport=polling{query}", **plain, Content__Length=length
    )
    return head.replace(b"GET", method.encode(), 1) + body
