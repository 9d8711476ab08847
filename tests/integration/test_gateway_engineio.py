"""What clients of Engine.IO and Socket.IO may do, by polling and over a WebSocket."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest

from django_ws.gateway.clients.engineio import MAX_PACKETS
from django_ws.gateway.clients.namespace import MAX_OWED
from django_ws.gateway.clients.namespaces import MAX_AUTH, MAX_NAMESPACES
from django_ws.gateway.sessions import UnknownNamespace
from django_ws.wire.messages import BINARY, TEXT
from django_ws.wire.socketio import MAX_ATTACHMENTS
from tests.integration.gateway_harness import (
    Client,
    Gateway,
    gateway,
    open_sockets,
    wait_until,
)

SIO, RAW = "/socket.io/", "/engine.io/"
_PACKET = re.compile(rb"[^\x1e]+")


class Talker(Protocol):
    """A client by either transport."""

    def send(self, *packets: str | bytes) -> None: ...
    def receive(self) -> bytes: ...
    def ended(self) -> bool: ...


class Polled:
    """A session by long polling. Polls have a connection of their own, as in browsers."""

    def __init__(self, server: Gateway, path: str = SIO) -> None:
        self.path = path
        self._server = server
        self._polls, self._posts = Client(server.port), Client(server.port)
        self._packets: list[bytes] = []
        status, body = self.get(self._polls, sid="")
        assert status == 200, body
        self.opening = json.loads(body[1:])
        self.sid = self.opening["sid"]

    def close(self) -> None:
        for client in (self._polls, self._posts):
            client.sock.close()

    def request(
        self, client: Client, method: str, body: bytes | None, sid: str | None, **headers: str
    ) -> None:
        sid = self.sid if sid is None else sid
        port = self._server.port
        lines = {"Host": f"127.0.0.1:{port}", "Origin": "http://127.0.0.1", **headers}
        if body is not None:
            lines["Content-Length"] = str(len(body))
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        query = "EIO=4&transport=polling" + (f"&sid={sid}" if sid else "")
        head = f"{method} {self.path}?{query} HTTP/1.1\r\n{text}\r\n"
        client.send(head.encode() + (body or b""))

    @staticmethod
    def response(client: Client) -> tuple[int, bytes]:
        status, _, headers = client.head()
        return status, client._read(int(headers.get("content-length", 0)))

    def get(
        self, client: Client | None = None, sid: str | None = None, **headers: str
    ) -> tuple[int, bytes]:
        client = client or self._polls
        self.request(client, "GET", None, sid, **headers)
        return self.response(client)

    def post(self, body: bytes, **headers: str) -> tuple[int, bytes]:
        self.request(self._posts, "POST", body, None, **headers)
        return self.response(self._posts)

    def begin_poll(self) -> None:
        self.request(self._polls, "GET", None, None)

    def begin_post(self, body: bytes) -> None:
        self.request(self._posts, "POST", body, None)

    def end_poll(self) -> tuple[int, bytes]:
        return self.response(self._polls)

    def send(self, *packets: str | bytes) -> None:
        """Send packets, in one body; bytes are attachments."""
        import base64

        texts = [p.encode() if isinstance(p, str) else b"b" + base64.b64encode(p) for p in packets]
        self.post(b"\x1e".join(texts))

    def receive(self) -> bytes:
        """The next packet that is no ping."""
        while True:
            while not self._packets:
                status, body = self.get()
                assert status == 200, body
                self._packets = _PACKET.findall(body)
            packet = self._packets.pop(0)
            if packet != b"2":
                return packet

    def ended(self) -> bool:
        """Whether the session is over, to a client that asks anew."""
        with Client(self._server.port) as client:
            self.request(client, "POST", b"3", None)
            return self.response(client)[0] == 400


class Socketed:
    """The same over a WebSocket."""

    def __init__(self, server: Gateway, path: str = SIO) -> None:
        self.client = Client(server.port)
        self.client.upgrade(f"{path}?EIO=4&transport=websocket")
        self.opening = json.loads(self.receive()[1:])

    def close(self) -> None:
        self.client.sock.close()

    def send(self, *packets: str | bytes) -> None:
        for packet in packets:
            if isinstance(packet, str):
                self.client.frame(TEXT, packet.encode())
            else:
                self.client.frame(BINARY, packet)

    def receive(self) -> bytes:
        while True:
            first, data = self.client.read()
            if first == 0x88:
                raise EOFError
            if data != b"2":
                return data

    def ended(self) -> bool:
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                self.receive()
        return self.client.at_end()


Kind = Callable[[Gateway, str], Any]


@pytest.fixture(params=[Polled, Socketed], ids=["polling", "websocket"])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    """Makes clients by one of the transports."""
    made = []

    def make(server: Gateway, path: str = SIO) -> Any:
        made.append(request.param(server, path))
        return made[-1]

    yield make
    for client in made:
        client.close()


@contextlib.contextmanager
def serving(**limits: Any) -> Iterator[Gateway]:
    with gateway({"message_rate": 0, "close_timeout": 0.3, **limits}, socketio=True) as server:
        server.registry.on_receive = lambda *_: True
        yield server


@contextlib.contextmanager
def polled(server: Gateway, path: str = SIO) -> Iterator[Polled]:
    client = Polled(server, path)
    try:
        yield client
    finally:
        client.close()


def enter(client: Talker, path: str = "/") -> None:
    """Connect a namespace."""
    client.send(f"40{path},")
    assert client.receive().startswith(b"40")


# -------------------------------------------------------------------- sizes


def test_the_largest_message_is_the_same_by_any_transport(kind: Kind) -> None:
    with serving(max_message_size=1000) as server:
        client = kind(server, RAW)
        assert client.opening["maxPayload"] == 1000
        client.send(bytes(1000))
        client.send("4" + "x" * 999)
        wait_until(lambda: len(server.session.received) == 2)
        assert [len(data) for _, data in server.session.received] == [1000, 999]
        with contextlib.suppress(EOFError):
            client.send(bytes(1001))
        assert server.ended() == (1009, "message too big")
        assert client.ended()
        assert server.counters["closed_too_big"] == 1


def test_a_text_over_the_limit_ends_the_session_though_its_body_may_be_as_large() -> None:
    with serving(max_message_size=1000) as server, polled(server, RAW) as client:
        assert client.post(b"4" + b"x" * 1000)[0] == 400
        assert server.ended() == (1009, "message too big")


def test_a_body_over_the_limit_ends_the_session() -> None:
    with serving(max_message_size=1000) as server, polled(server, RAW) as client:
        client.begin_poll()
        wait_until(lambda: open_sockets(server) == 3)
        # Refused by its length: none of the body need come.
        client.request(client._posts, "POST", None, None, **{"Content-Length": "1400"})
        assert client.response(client._posts)[0] == 413
        assert server.ended() == (1009, "message too big")
        assert client.end_poll() == (200, b"1")
        assert client.ended()


def test_packets_of_a_body_are_bounded() -> None:
    with serving() as server, polled(server) as client:
        enter(client)
        assert client.post(b"\x1e".join([b"3"] * MAX_PACKETS)) == (200, b"ok")
        assert client.post(b"\x1e".join([b"3"] * (MAX_PACKETS + 1)))[0] == 400
        assert server.ended()[0] == 1008
        assert client.ended()
        assert server.counters["closed_protocol"] == 1


def test_packets_of_an_answer_are_as_many_as_clients_take() -> None:
    with serving() as server, polled(server, RAW) as client:
        sent = [b"4%d" % number for number in range(40)]

        def send() -> None:
            for packet in sent:
                server.session.client.send(TEXT, packet[1:])
            server.session.client.close(1000, "")

        server.call(send)
        bodies = [client.get()[1].split(b"\x1e") for _ in range(4)]
        assert [len(body) for body in bodies] == [16, 16, 8, 1]
        assert [packet for body in bodies for packet in body] == [*sent, b"1"]
        assert client.ended()


def test_the_end_has_an_answer_of_its_own() -> None:
    """socket.io-client never hands over events that come in one answer with it."""
    with serving() as server, polled(server) as client:
        client.send("40")
        assert client.receive().startswith(b"40")
        client.begin_poll()

        def say_goodbye() -> None:
            server.session.client.send(TEXT, b'42["bye"]')
            server.session.client.close(4000, "")

        server.call(say_goodbye)
        assert client.end_poll()[1].split(b"\x1e")[-1] == b"41"
        assert client.get() == (200, b"1")
        assert client.ended()


@pytest.mark.parametrize("waits", [True, False])
def test_who_is_to_come_again_hears_of_it_by_an_error(waits: bool) -> None:
    with serving() as server, polled(server, RAW) as client:
        if not waits:
            client.begin_poll()
            wait_until(lambda: server.session.client)

        def close() -> None:
            if waits:
                server.session.client.send(TEXT, b"last")
            server.session.client.close(1012, "")

        server.call(close)
        if waits:
            assert client.get() == (200, b"4last")
            client.begin_poll()
        assert client.end_poll()[0] == 400


# -------------------------------------------------------------------- attachments


def test_attachments_of_a_packet_are_bounded(kind: Kind) -> None:
    with serving() as server:
        client = kind(server)
        enter(client)
        client.send(f'45{MAX_ATTACHMENTS}-["a"]', *[b"x"] * MAX_ATTACHMENTS)
        wait_until(lambda: server.session.called)
        assert server.session.called == [("a", b"[]", [b"x"] * MAX_ATTACHMENTS)]
        client.send(f'45{MAX_ATTACHMENTS + 1}-["a"]')
        assert server.ended()[0] == 1008
        assert client.ended()


def test_attachments_count_for_the_size_of_their_packet(kind: Kind) -> None:
    with serving(max_message_size=1000) as server:
        client = kind(server)
        enter(client)
        client.send('452-["a"]', bytes(600))
        with contextlib.suppress(EOFError):
            client.send(bytes(600))
        assert server.ended()[0] == 1008
        assert client.ended()


def test_attachments_have_to_come_in_time(kind: Kind) -> None:
    with serving(idle_timeout=0.2) as server:
        client = kind(server)
        enter(client)
        client.send('451-["a"]')
        assert server.ended() == (1008, "attachments did not come")
        assert client.ended()
        assert not server.session.called


# -------------------------------------------------------------------- one at a time


def test_a_second_poll_ends_the_session() -> None:
    with serving() as server, polled(server) as client:
        enter(client)
        client.begin_poll()
        with Client(server.port) as other:
            first, second = client.get(other), client.end_poll()
        # Which of them was there first is nobody's promise.
        assert {first[0], second[0]} == {200, 400}
        assert (200, b"1") in (first, second)
        assert server.ended()[0] == 1008
        assert client.ended()


def test_who_cancels_a_poll_sees_the_next_one_fail_whichever_is_read_first() -> None:
    with serving() as server:
        for _ in range(20):
            with polled(server, RAW) as client:
                client.begin_poll()
                client._polls.sock.close()
                with Client(server.port) as other:
                    assert client.get(other)[0] == 400


@contextlib.contextmanager
def standing_still(server: Gateway) -> Iterator[None]:
    """The gateway reads nothing, as under load; then it finds all that came meanwhile."""
    stands, goes_on = threading.Event(), threading.Event()

    def stand() -> None:
        stands.set()
        assert goes_on.wait(10)

    thread = threading.Thread(target=server.call, args=(stand,))
    thread.start()
    try:
        assert stands.wait(10)
        yield
    finally:
        goes_on.set()
        thread.join()


@pytest.mark.parametrize("newcomers", [0, 1, 100])
def test_of_two_polls_the_one_that_was_sent_first_is_read_first(newcomers: int) -> None:
    with serving() as server, contextlib.ExitStack() as stack:
        for _ in range(10):
            client = stack.enter_context(polled(server, RAW))
            with contextlib.ExitStack() as others, standing_still(server):
                for _ in range(newcomers):
                    others.enter_context(Client(server.port))
                client.begin_poll()
                second = stack.enter_context(Client(server.port))
                client.request(second, "GET", None, None)
            assert client.response(second)[0] == 400
            assert client.end_poll() == (200, b"1")


def test_a_poll_that_was_cancelled_before_it_was_read_ends_the_session() -> None:
    with serving() as server, contextlib.ExitStack() as stack:
        for _ in range(10):
            client = stack.enter_context(polled(server, RAW))
            with standing_still(server):
                client.begin_poll()
                client._polls.sock.close()
                second = stack.enter_context(Client(server.port))
                client.request(second, "GET", None, None)
            assert client.response(second)[0] == 400


def test_a_second_body_ends_the_session() -> None:
    with serving() as server, polled(server, RAW) as client:
        server.registry.on_receive = lambda *_: False  # the first one stays in hand
        client.begin_post(b"4a\x1e4b")
        wait_until(lambda: server.session.received)
        with Client(server.port) as other:
            client.request(other, "POST", b"4c", None)
            assert client.response(other)[0] == 400
        assert server.ended()[0] == 1008
        assert client.ended()


# -------------------------------------------------------------------- namespaces


def test_namespaces_of_a_client_are_bounded(kind: Kind) -> None:
    with serving() as server:
        client = kind(server)
        for number in range(MAX_NAMESPACES):
            enter(client, f"/n{number}")
        client.send("40/more,")
        assert client.receive() == b'44/more,{"message":"Too many namespaces"}'
        client.send("41/n3,", "40/more,")
        assert client.receive().startswith(b"40/more,")
        assert len(server.registry.sessions) == MAX_NAMESPACES + 1


def test_what_comes_with_the_wish_for_a_namespace_is_bounded(kind: Kind) -> None:
    with serving() as server:
        client = kind(server)
        for size, answer in (
            (MAX_AUTH + 1, b'44/n,{"message":"The auth is too big"}'),
            (9, b"40/n,"),
        ):
            client.send("40/n," + json.dumps({"": "x" * (size - 7)}))
            assert client.receive().startswith(answer)


@pytest.mark.parametrize("story", ["nothing", "refused", "left"])
def test_a_client_without_a_namespace_is_sent_away(kind: Kind, story: str) -> None:
    with serving(handshake_timeout=0.3) as server:
        client = kind(server)
        if story == "refused":
            server.registry.error = UnknownNamespace
            client.send("40/none,")
            assert client.receive() == b'44/none,{"message":"Invalid namespace"}'
        elif story == "left":
            enter(client, "/n")
            # Nobody is sent away who is at home.
            time.sleep(0.4)
            client.send("41/n,")
            assert server.ended() == (1000, "")
        wait_until(lambda: server.server.connections == 0)
        assert client.ended()


def test_acknowledgements_that_are_owed_are_bounded(kind: Kind) -> None:
    with serving() as server:
        client = kind(server)
        enter(client)
        client.send(*(f'42{number}["a"]' for number in range(MAX_OWED + 1)))
        session = server.session
        wait_until(lambda: len(session.called) == MAX_OWED + 1)
        for seq in (1, 2, MAX_OWED + 1):
            server.call(lambda seq=seq: session.client.reply(seq, 0, b"[%d]" % seq, []))
        # The oldest was forgotten.
        assert [client.receive(), client.receive()] == [b"431[2]", b"431024[1025]"]


# -------------------------------------------------------------------- rates


def test_pongs_cost_as_much_as_messages_and_start_nothing(kind: Kind) -> None:
    with serving(message_rate=40) as server:
        client = kind(server)
        enter(client)
        began = time.monotonic()
        client.send(*["3"] * 60, '42["after"]')
        wait_until(lambda: server.session.called)
        assert time.monotonic() - began > 0.4
        assert server.counters["throttled"] > 0
        assert server.session.called == [("after", b"[]", [])]


def test_polls_cost_as_much_as_messages() -> None:
    with serving(message_rate=40) as server, polled(server, RAW) as client:
        began = time.monotonic()
        for number in range(60):
            server.call(lambda number=number: server.session.client.send(TEXT, b"%d" % number))
            assert client.receive() == b"4%d" % number
        assert time.monotonic() - began > 0.4
        assert server.counters["throttled"] > 0


def test_a_polled_session_counts_as_a_connection() -> None:
    with serving(max_connections_per_ip=4) as server, polled(server) as client:
        # Two sockets and the session, and one more of both.
        with Client(server.port) as other:
            assert client.get(other, sid="")[0] == 503
        client.post(b"1")
        wait_until(lambda: client.ended())
        with Client(server.port) as other:
            assert client.get(other, sid="")[0] == 200


# -------------------------------------------------------------------- signs of life


def test_the_client_is_asked_for_signs_of_life_and_given_up_without(kind: Kind) -> None:
    with serving(ping_interval=0.2, ping_timeout=0.2, handshake_timeout=0) as server:
        client = kind(server)
        enter(client)
        assert server.ended() == (1006, "no pong")
        assert server.counters["closed_no_pong"] == 1
        assert client.ended()


def test_polls_are_signs_of_life() -> None:
    with serving(ping_interval=0.2, ping_timeout=0.2) as server, polled(server) as client:
        enter(client)
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            assert client.get() == (200, b"2")
        assert not server.session.ended


def fill(server: Gateway) -> None:
    """Send more than the kernel takes."""
    session = server.session

    def send() -> None:
        for _ in range(10):
            session.client.send(BINARY, bytes(1_000_000))

    server.call(send)


@pytest.mark.parametrize("max_pending", [2**20, 2**26])
def test_who_takes_a_long_answer_is_alive(max_pending: int) -> None:
    limits = {"ping_interval": 0.5, "ping_timeout": 0.5, "send_timeout": 0.6}
    limits["max_pending"] = max_pending
    with serving(**limits, handshake_timeout=0) as server, polled(server, RAW) as client:
        sock = client._polls.sock
        fill(server)
        client.begin_poll()
        size = 0
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            size += len(sock.recv(65536))
            time.sleep(0.01)
        assert not server.session.ended
        assert size < 13_000_000  # of the 10,000,000 in base64


@pytest.mark.parametrize("transport", [Polled, Socketed])
def test_who_does_not_take_what_waits_is_too_slow(transport: Kind) -> None:
    with serving(send_timeout=0.3) as server:
        client = transport(server, RAW)
        with contextlib.closing(client):
            if isinstance(client, Polled):
                client._polls.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                fill(server)
                client.begin_poll()
                assert client._polls.sock.recv(1)
            else:
                fill(server)
            assert server.ended() == (3008, "too slow")
            assert server.counters["closed_slow"] == 1


def test_a_poll_before_the_last_answer_is_taken_is_a_second_one() -> None:
    with serving() as server, polled(server, RAW) as client:
        client._polls.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        fill(server)
        client.begin_poll()
        assert client._polls.sock.recv(1)
        with Client(server.port) as other:
            assert client.get(other)[0] == 400
        assert server.ended()[0] == 1008


def test_what_an_answer_had_that_never_arrived_is_not_lost_without_a_sign() -> None:
    with serving() as server, polled(server, RAW) as client:
        fill(server)
        client.begin_poll()
        assert client._polls.sock.recv(1)
        client._polls.sock.close()
        assert server.ended() == (1006, "")
        assert client.ended()


def test_a_client_that_goes_away_while_it_polls_is_gone() -> None:
    with serving() as server, polled(server) as client:
        enter(client)
        client.begin_poll()
        wait_until(lambda: open_sockets(server) == 3)
        client._polls.sock.close()
        assert server.ended() == (1006, "")


def test_a_websocket_is_pinged_however_much_waits_for_it() -> None:
    with serving(ping_interval=0.2, ping_timeout=0.2, send_timeout=0) as server:
        client = Socketed(server, RAW)
        with contextlib.closing(client):
            fill(server)
            time.sleep(0.3)
            found = []
            while b"2" not in found:
                found.append(client.client.read()[1])


# -------------------------------------------------------------------- whose page it is


@pytest.mark.parametrize("path", [SIO, RAW])
def test_every_request_needs_an_origin_that_may(path: str) -> None:
    with serving() as server, polled(server, path) as client:
        foreign = {"Origin": "https://evil.example"}
        with Client(server.port) as other:
            assert client.get(other, sid="", **foreign)[0] == 403
        with Client(server.port) as other:
            assert client.get(other, **foreign)[0] == 403
        assert client.post(b"3", **foreign)[0] == 403
        assert server.counters["refused_origin"] == 3
        with Client(server.port) as other:
            status, _ = other.refused(
                f"{path}?EIO=4&transport=websocket&sid={client.sid}", Origin="https://evil.example"
            )
            assert status == 403
        assert not client.ended()
