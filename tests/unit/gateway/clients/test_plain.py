"""A plain connection between a transport and a session that are fakes."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from typing import Any, cast

import pytest
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from django_ws.gateway.clients.context import Context
from django_ws.gateway.clients.plain import Connection
from django_ws.gateway.counters import Counters
from django_ws.gateway.pings import Pings, Stalls
from django_ws.gateway.shared import Shared
from django_ws.options import Limits


class Transport:
    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def write(self, data: bytes) -> None:
        pass

    def pause_reading(self) -> None:
        pass


class Session:
    """Takes one message at a time."""

    conn = 1

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.told_writable = 0
        self.ended: tuple[int, str] | None = None

    def attach(self, client: object) -> None:
        pass

    def receive(self, opcode: int, data: bytes) -> bool:
        self.got.append(data)
        return False

    def writable(self) -> None:
        self.told_writable += 1

    def disconnected(self, code: int, reason: str) -> None:
        self.ended = code, reason


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def frame(text: bytes) -> bytes:
    return Frame(Opcode.TEXT, text).serialize(mask=True)


def test_nobody_waits_for_a_browser_that_has_gone_with_messages_unread(
    loop: asyncio.AbstractEventLoop,
) -> None:
    session: Any = Session()
    pings, stalls = cast(Pings, set()), cast(Stalls, set())
    context = Context(loop, Limits(), Counters(), pings, stalls, lambda connection: None)
    connection = Connection(context, session, "::1", b"", b"", [])
    connection.connection_made(cast(asyncio.Transport, Transport()))
    connection.data_received(frame(b"1") + frame(b"2"))
    connection.pause_writing()
    connection.connection_lost(None)
    assert session.got == [b"1"]
    assert session.ended is None  # the other message is still to be delivered
    assert connection.writable
    assert session.told_writable == 1  # so it confirms what hooks wait for
    assert not stalls


class Wire(Transport):
    """Remembers what was written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def resume_reading(self) -> None:
        pass


class Taker(Session):
    def receive(self, opcode: int, data: bytes) -> bool:
        self.got.append(data)
        return True


def opened(
    loop: asyncio.AbstractEventLoop, limits: Limits, extensions: list[Extension]
) -> tuple[Connection, Wire, Taker]:
    session, wire = Taker(), Wire()
    pings, stalls = cast(Pings, set()), cast(Stalls, set())
    context = Context(loop, limits, Counters(), pings, stalls, lambda connection: None)
    connection = Connection(context, cast(Any, session), "::1", b"", b"", extensions)
    connection.connection_made(cast(asyncio.Transport, wire))
    return connection, wire, session


@pytest.mark.parametrize(
    ("opcode", "first"),
    [(Opcode.PING, b""), (Opcode.PONG, b""), (Opcode.CONT, b"\x02\x80mask")],
    ids=["pings", "pongs", "empty fragments"],
)
def test_what_is_no_message_counts_a_part_of_one(
    loop: asyncio.AbstractEventLoop, opcode: Opcode, first: bytes
) -> None:
    connection, wire, _ = opened(loop, Limits(message_rate=10), [])
    frames = Frame(opcode, b"", fin=opcode is not Opcode.CONT).serialize(mask=True) * 1000
    connection.data_received(first + frames)
    assert connection.held  # 10 messages of burst are 40 such frames
    assert connection._reader.pending > 6 * 950
    assert len(wire.written) <= 2 * 40


def test_a_client_that_does_not_read_is_not_dead(loop: asyncio.AbstractEventLoop) -> None:
    connection, wire, _ = opened(loop, Limits(), [])
    connection.pause_writing()
    connection.heard = False
    connection.ping()
    assert not wire.written
    assert connection.held
    connection.resume_writing()
    assert connection.heard  # it took what was queued


def deflate(bits: int) -> list[Extension]:
    return [PerMessageDeflate(True, True, 15, bits)]


def test_a_group_message_is_compressed_once_for_all_with_the_same_window(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    compressed = []
    encode = PerMessageDeflate.encode

    def counting(self: PerMessageDeflate, frame: Frame) -> Frame:
        compressed.append(self.local_max_window_bits)
        return encode(self, frame)

    monkeypatch.setattr(PerMessageDeflate, "encode", counting)
    message = Shared("g", 1, b"to all " * 100)
    written = []
    for bits in (12, 12, 10, 12):
        connection, wire, _ = opened(loop, Limits(), deflate(bits))
        connection.send_shared(message)
        written.append(wire.written)
    assert compressed == [12, 10]
    assert written[0] == written[1] == written[3]


def test_who_keeps_a_context_is_compressed_for_alone(loop: asyncio.AbstractEventLoop) -> None:
    message = Shared("g", 1, b"to all " * 100)
    extensions: list[Extension] = [PerMessageDeflate(True, False, 15, 12)]
    first, wire, _ = opened(loop, Limits(), extensions)
    first.send_shared(message)
    alone = len(wire.written)
    second, other, _ = opened(loop, Limits(), [PerMessageDeflate(True, False, 15, 12)])
    second.send(1, message.data)
    before = len(other.written)
    second.send_shared(message)
    assert len(other.written) - before < alone  # it refers to what came before


def test_a_published_event_comes_as_json_also_compressed(loop: asyncio.AbstractEventLoop) -> None:
    message = Shared("g", 1, b'{"id":"a"}', "join", True)
    connection, wire, _ = opened(loop, Limits(), [])
    connection.send_shared(message)
    payload = b'{"event":"join","args":[{"id":"a"}]}'
    assert wire.written == bytes((0x81, len(payload))) + payload
    squeezed, wire, _ = opened(loop, Limits(), deflate(12))
    squeezed.send_shared(message)
    inflated = zlib.decompressobj(-12).decompress(wire.written[2:] + b"\x00\x00\xff\xff")
    assert inflated == payload


def test_other_clients_bring_their_own_codec(loop: asyncio.AbstractEventLoop) -> None:
    class Loud:
        calls = 0

        def encode(self, message: Shared) -> tuple[int, bytes]:
            self.calls += 1
            return 1, message.data.upper()

    codec, message = Loud(), Shared("g", 1, b"hi")
    written = []
    for _ in range(2):
        connection, wire, _ = opened(loop, Limits(), [])
        connection.send_shared(message, codec)
        written.append(wire.written)
    plain, wire, _ = opened(loop, Limits(), [])
    plain.send_shared(message)
    assert written == [b"\x81\x02HI"] * 2
    assert wire.written == b"\x81\x02hi"
    assert codec.calls == 1
