"""The gateway's frame path, per message; sockets are fakes that do nothing."""

import asyncio
from typing import cast

import pytest
from runner.frames import MESSAGE
from runner.frames import frame as client_frame

from django_ws.gateway.clients.context import Context
from django_ws.gateway.clients.framing import frame
from django_ws.gateway.clients.plain import Connection
from django_ws.gateway.counters import Counters
from django_ws.gateway.pings import Pings, Stalls
from django_ws.options import Limits
from django_ws.wire.messages import TEXT


class Transport:
    def set_write_buffer_limits(self, high):
        pass

    def write(self, data):
        pass


class Session:
    def attach(self, client):
        pass

    def receive(self, opcode, data):
        return True


@pytest.fixture
def connection():
    loop = asyncio.new_event_loop()
    # Raised, so that the check runs and never strikes.
    limits = Limits(message_rate=1e9)
    context = Context(
        loop,
        limits,
        Counters(),
        cast(Pings, set()),
        cast(Stalls, set()),
        lambda connection: None,
    )
    made = Connection(context, Session(), "127.0.0.1", b"", b"", [])
    made.connection_made(Transport())
    yield made
    loop.close()


def bench_receive(benchmark, connection):
    benchmark(connection.data_received, client_frame(MESSAGE))


def bench_receive_ten_in_one_read(benchmark, connection):
    benchmark(connection.data_received, client_frame(MESSAGE) * 10)


def bench_send(benchmark, connection):
    benchmark(connection.send, TEXT, MESSAGE)


def bench_frame(benchmark):
    benchmark(frame, TEXT, MESSAGE)
