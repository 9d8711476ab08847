"""A plain connection between a transport and a session that are fakes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest
from websockets.frames import Frame, Opcode

from django_ws.gateway.clients.context import Context
from django_ws.gateway.clients.plain import Connection
from django_ws.gateway.counters import Counters
from django_ws.gateway.pings import Pings, Stalls
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
