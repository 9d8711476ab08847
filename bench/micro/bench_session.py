"""The gateway between frame and link: a message to its worker, and what comes back."""

import asyncio

import pytest

from django_ws.gateway.clients.engine import WEBSOCKET, Engine
from django_ws.gateway.clients.namespace import Socket
from django_ws.gateway.clients.namespaces import Namespaces
from django_ws.gateway.counters import Counters
from django_ws.gateway.session import Session, Windows
from django_ws.gateway.worker import Worker
from django_ws.wire.messages import TEXT, Accept, Emit, Hello, Send

PAYLOAD = b"x" * 64
EVENT = b'42["echo","%s"]' % PAYLOAD


class Sender:
    def send(self, data):
        return True

    def close(self):
        pass


class Owner:
    def changed(self, session):
        pass


class Client:
    writable = True

    def send(self, opcode, data):
        pass


class Context:
    """What namespaces need of their context without a client that comes or leaves."""

    loop = None
    max_size = 1 << 20


@pytest.fixture
def session():
    loop = asyncio.new_event_loop()
    hello = Hello("ipc:///nowhere", 0, 1, 0.0, {})
    worker = Worker("1" * 16, hello, Sender(), loop, "project", "0" * 16)
    worker._scheduled = True
    windows = Windows(64, 256 * 1024, 1 << 40, 1 << 40)
    made = Session(1, "default", b"", "", loop.create_future(), windows, Owner())
    made.place(worker, 0.0)
    made.accept(Accept(1, ""))
    worker.pending.clear()
    made.attach(Client())
    yield made
    loop.close()


def bench_there_and_acknowledged(benchmark, session):
    pending = session.worker.pending

    def run():
        session.receive(TEXT, PAYLOAD)
        session.handled(session.seq)
        pending.clear()

    benchmark(run)


def bench_flush_of_50(benchmark, session):
    worker = session.worker

    def run():
        for _ in range(50):
            session.receive(TEXT, PAYLOAD)
        worker.flush()
        session.handled(session.seq)
        worker.credit(worker._number)

    benchmark(run)


def bench_back(benchmark, session):
    benchmark(session.send, Send(1, TEXT, PAYLOAD))


@pytest.fixture
def engine(session):
    """A client of Socket.IO in its namespace."""
    engine = Engine("sid", 1, WEBSOCKET, Counters())
    engine.attach(Client())
    namespaces = Namespaces(Context(), engine, None, deadline=0, patience=0)
    socket = namespaces.sockets["/"] = Socket(namespaces, "/", session)
    session.attach(socket)
    return engine


def bench_event_there_and_acknowledged(benchmark, session, engine):
    pending = session.worker.pending

    def run():
        engine.receive(TEXT, EVENT)
        session.handled(session.seq)
        pending.clear()

    benchmark(run)


def bench_event_back(benchmark, session, engine):
    benchmark(session.emit, Emit(1, "echo", b'["%s"]' % PAYLOAD))
