"""RFC 6455 on the wire, as a conformance suite looks at it."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator

import pytest

from django_ws.gateway.shared import Shared
from tests.integration.gateway_harness import Client, Gateway, connected, gateway, masked

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
LIMIT = 70_000


@pytest.fixture(scope="module")
def server() -> Iterator[Gateway]:
    with gateway({"max_message_size": LIMIT, "message_rate": 0}) as running:
        yield running


@pytest.fixture
def client(server: Gateway) -> Iterator[Client]:
    with connected(server) as client:
        yield client


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65535, 65536, LIMIT])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_echoes_messages_of_all_sizes(client: Client, opcode: int, size: int) -> None:
    client.frame(opcode, b"*" * size)
    assert client.read() == (0x80 | opcode, b"*" * size)


def test_takes_a_frame_byte_by_byte(client: Client) -> None:
    for byte in masked(TEXT, b"slow") + masked(BINARY, b"x" * 130):
        client.send(bytes((byte,)))
    assert client.read() == (0x81, b"slow")
    assert client.read() == (0x82, b"x" * 130)


def test_keeps_the_order_of_many_messages_at_once(client: Client) -> None:
    client.send(b"".join(masked(TEXT, str(number).encode()) for number in range(500)))
    assert [int(client.read()[1]) for _ in range(500)] == list(range(500))


def test_reassembles_fragments_around_a_ping(client: Client, server: Gateway) -> None:
    client.frame(TEXT, b"one ", fin=False)
    client.frame(PING, b"there?")
    assert client.read() == (0x8A, b"there?")
    client.frame(CONT, b"two ", fin=False)
    client.frame(CONT, b"", fin=False)
    client.frame(CONT, b"three")
    assert client.read() == (0x81, b"one two three")
    client.frame(TEXT, b"and a whole one")
    assert client.read() == (0x81, b"and a whole one")
    assert server.session.received == [(TEXT, b"one two three"), (TEXT, b"and a whole one")]


@pytest.mark.parametrize("data", [b"", b"x" * 125])
def test_answers_pings(client: Client, data: bytes) -> None:
    client.frame(PING, data)
    assert client.read() == (0x8A, data)


def test_ignores_unsolicited_pongs(client: Client) -> None:
    client.frame(PONG, b"unasked")
    client.frame(TEXT, b"still here")
    assert client.read() == (0x81, b"still here")


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        pytest.param(masked(TEXT, b"x", rsv=4), 1002, id="rsv1 without an extension"),
        pytest.param(masked(TEXT, b"x", rsv=2), 1002, id="rsv2"),
        pytest.param(masked(PING, b"x", rsv=1), 1002, id="rsv3 of a ping"),
        pytest.param(masked(PONG, b"x", rsv=1), 1002, id="rsv3 of a pong"),
        *[pytest.param(masked(n, b""), 1002, id=f"opcode {n}") for n in (3, 7, 11, 15)],
        pytest.param(b"\x81\x01x", 1002, id="unmasked"),
        pytest.param(b"\x8a\x00", 1002, id="unmasked pong"),
        pytest.param(masked(PING, b"x" * 126), 1002, id="long ping"),
        pytest.param(masked(PONG, b"x" * 126), 1002, id="long pong"),
        pytest.param(masked(CLOSE, b"\x03\xe8" + b"x" * 124), 1002, id="long close"),
        pytest.param(b"\x81\xfe\x00\x01maskx", 1002, id="length in too many bytes"),
        pytest.param(masked(PING, b"x", fin=False), 1002, id="fragmented ping"),
        pytest.param(masked(CONT, b"x"), 1002, id="continuation of nothing"),
        pytest.param(masked(CONT, b"x", fin=False), 1002, id="unfinished continuation of nothing"),
        pytest.param(
            masked(TEXT, b"x", fin=False) + masked(TEXT, b"y"), 1002, id="message in a message"
        ),
        pytest.param(masked(TEXT, b"\xce\xba\xe1\xbd\xb9\xff"), 1007, id="no UTF-8"),
        pytest.param(masked(TEXT, b"\xed\xa0\x80"), 1007, id="surrogate"),
        pytest.param(masked(TEXT, b"\xf4\x90\x80\x80"), 1007, id="beyond Unicode"),
        pytest.param(masked(TEXT, b"\xce"), 1007, id="cut character"),
        pytest.param(masked(TEXT, b"ok\xff", fin=False), 1007, id="bad fragment, at once"),
        pytest.param(
            masked(TEXT, b"\xf4", fin=False) + masked(CONT, b"\x90", fin=False),
            1007,
            id="bad over fragments, at once",
        ),
        pytest.param(
            masked(TEXT, b"\xce", fin=False) + masked(CONT, b""), 1007, id="cut at the end"
        ),
        pytest.param(b"\x82\xff" + (LIMIT + 1).to_bytes(8), 1009, id="too big, by its header"),
        pytest.param(b"\x82\xff" + b"\xff" * 8, 1009, id="length of 64 bits"),
        pytest.param(
            masked(BINARY, b"x" * LIMIT, fin=False) + masked(CONT, b"x"), 1009, id="too big a sum"
        ),
        pytest.param(masked(CLOSE, b"x"), 1002, id="half a close code"),
        pytest.param(masked(CLOSE, b"\x03\xe8\xff"), 1007, id="reason that is no UTF-8"),
        *[
            pytest.param(masked(CLOSE, code.to_bytes(2)), 1002, id=f"close code {code}")
            for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535)
        ],
    ],
)
def test_fails_the_connection(server: Gateway, client: Client, frames: bytes, code: int) -> None:
    client.frame(TEXT, b"before")
    assert client.read() == (0x81, b"before")
    client.send(frames)
    client.send(masked(TEXT, b"after"))
    assert client.read_close() == code
    assert server.ended()[0] == code
    assert server.session.received == [(TEXT, b"before")]


def test_too_many_fragments(client: Client) -> None:
    fragments = max(1024, LIMIT // 16)
    client.send(masked(BINARY, b"", fin=False) + masked(CONT, b"", fin=False) * fragments)
    assert client.read_close() == 1008


def test_a_client_still_sending_reads_why_it_was_closed(server: Gateway) -> None:
    with connected(server) as client:
        client.frame(BINARY, b"x" * 2_000_000)
        assert client.read_close() == 1009


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 3000, 3999, 4000, 4999])
def test_answers_a_close_frame(server: Gateway, client: Client, code: int) -> None:
    client.frame(TEXT, b"before")
    client.frame(CLOSE, code.to_bytes(2) + "tschüß".encode())
    assert client.read() == (0x81, b"before")
    assert client.read_close() == code
    assert server.ended() == (code, "tschüß")


def test_close_without_a_code(server: Gateway, client: Client) -> None:
    client.frame(CLOSE)
    assert client.read_close() == 1005
    assert server.ended() == (1005, "")


def test_close_between_fragments(server: Gateway, client: Client) -> None:
    client.frame(TEXT, b"never ", fin=False)
    client.frame(CLOSE, b"\x03\xe8")
    client.frame(CONT, b"whole")
    assert client.read_close() == 1000
    assert server.ended() == (1000, "")


def test_nothing_after_a_close_frame_counts(server: Gateway, client: Client) -> None:
    client.send(masked(CLOSE, b"\x03\xe8") + masked(TEXT, b"late") + masked(PING, b"late"))
    assert client.read_close() == 1000
    assert server.session.received == []


def test_vanishing_is_1006(server: Gateway) -> None:
    with connected(server) as client:
        client.frame(TEXT, b"last words")
        client.read()
    assert server.ended() == (1006, "")
    assert server.session.received == [(TEXT, b"last words")]


def test_own_close_waits_for_the_answer(server: Gateway, client: Client) -> None:
    session = server.session
    server.call(lambda: (session.client.send(TEXT, b"x"), session.client.close(4001, "enough")))
    server.call(lambda: session.client.send(TEXT, b"too late"))
    assert client.read() == (0x81, b"x")
    assert client.read() == (0x88, b"\x0f\xa1enough")
    client.frame(TEXT, b"crossing")
    assert session.ended == []
    client.frame(CLOSE, b"\x0f\xa1")
    assert client.at_end()
    assert server.ended(session) == (4001, "enough")
    assert session.received == []


def test_own_close_does_not_wait_for_ever() -> None:
    with gateway({"close_timeout": 0.1}) as running, connected(running) as client:
        session = running.session
        began = time.monotonic()
        running.call(lambda: session.client.close(1011, "internal error"))
        assert running.ended() == (1011, "internal error")
        assert 0.05 < time.monotonic() - began < 3
        assert client.read()[0] == 0x88
        assert client.at_end()


def test_a_long_close_reason_is_cut_between_characters(server: Gateway, client: Client) -> None:
    session = server.session
    server.call(lambda: session.client.close(1008, "ü" * 100))
    first, data = client.read()
    assert (first, len(data)) == (0x88, 124)
    assert data[2:].decode() == "ü" * 61


def test_a_handler_may_close_from_within_a_message() -> None:
    with gateway() as running:
        running.registry.on_receive = lambda session, *_: bool(session.client.close(1000, ""))
        with connected(running) as client:
            client.send(masked(TEXT, b"one") + masked(TEXT, b"two") + masked(CLOSE, b"\x03\xe8"))
            assert client.read_close() == 1000
            assert running.ended() == (1000, "")
            assert running.session.received == [(TEXT, b"one")]


class TestCompression:
    OFFER = "permessage-deflate; client_max_window_bits"

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[Gateway]:
        limits = {"max_message_size": LIMIT, "message_rate": 0, "compression": True}
        with gateway(limits) as running:
            yield running

    @pytest.fixture
    def client(self, server: Gateway) -> Iterator[Client]:
        with connected(server, **{"Sec-WebSocket-Extensions": self.OFFER}) as client:
            yield client

    @staticmethod
    def deflate(data: bytes) -> bytes:
        packer = zlib.compressobj(wbits=-15)
        return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]

    @staticmethod
    def inflate(data: bytes) -> bytes:
        return zlib.decompressobj(wbits=-15).decompress(data + b"\0\0\xff\xff")

    def test_is_off_by_default(self) -> None:
        with gateway() as running, Client(running.port) as client:
            answer = client.upgrade(**{"Sec-WebSocket-Extensions": self.OFFER})
            assert "sec-websocket-extensions" not in answer

    def test_keeps_no_state_between_messages(self, server: Gateway) -> None:
        with Client(server.port) as client:
            answer = client.upgrade(**{"Sec-WebSocket-Extensions": self.OFFER})
            accepted = answer["sec-websocket-extensions"]
            assert "server_no_context_takeover" in accepted
            assert "client_no_context_takeover" in accepted

    @pytest.mark.parametrize("size", [0, 1, 1000, LIMIT])
    def test_echoes(self, client: Client, size: int) -> None:
        for _ in range(2):
            client.frame(TEXT, self.deflate(b"*" * size), rsv=4)
            first, data = client.read()
            assert first == 0xC1
            assert self.inflate(data) == b"*" * size

    def test_fragments_are_one_compressed_message(self, client: Client) -> None:
        data = self.deflate("ein längerer Text ".encode() * 50)
        client.frame(TEXT, data[:7], fin=False, rsv=4)
        client.frame(PING, b"")
        client.frame(CONT, data[7:])
        assert client.read() == (0x8A, b"")
        assert self.inflate(client.read()[1]).decode() == "ein längerer Text " * 50

    def test_plain_messages_may_come_in_between(self, client: Client) -> None:
        client.frame(TEXT, b"plain")
        assert self.inflate(client.read()[1]) == b"plain"

    def test_group_messages_are_compressed_for_those_who_agreed(
        self, server: Gateway, client: Client
    ) -> None:
        session = server.session
        server.call(lambda: session.client.send_shared(Shared("g", TEXT, b"hi")))
        first, data = client.read()
        assert (first, self.inflate(data)) == (0xC1, b"hi")

    @pytest.mark.parametrize(
        ("frames", "code"),
        [
            (masked(TEXT, b"\xff\xff\xff\xff", rsv=4), 1002),
            (masked(BINARY, deflate(b"\0" * (LIMIT + 1)), rsv=4), 1009),
            (masked(TEXT, deflate(b"\xff\xfe"), rsv=4), 1007),
            (masked(TEXT, b"", fin=False) + masked(CONT, b"", rsv=4), 1002),
        ],
        ids=["no deflate", "bomb", "no UTF-8", "rsv1 in a continuation"],
    )
    def test_fails_the_connection(self, client: Client, frames: bytes, code: int) -> None:
        client.send(frames)
        assert client.read_close() == code
