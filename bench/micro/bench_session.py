"""The gateway between frame and link: a message to its worker, and what comes back."""

import asyncio

import pytest

from django_ws.gateway.session import Session
from django_ws.gateway.worker_link import WorkerLink
from django_ws.wire.messages import TEXT, Hello, Send

PAYLOAD = b"x" * 64


class Sender:
    def send(self, data):
        return True

    def close(self):
        pass


class Registry:
    window_messages = 64
    window_bytes = 256 * 1024
    confirm_step = 1 << 40


class Client:
    writable = True

    def send(self, opcode, data):
        pass


@pytest.fixture
def session():
    loop = asyncio.new_event_loop()
    hello = Hello("ipc:///nowhere", 0, 1, 0.0, {})
    link = WorkerLink("1" * 16, hello, Sender(), loop, "project", "0" * 16)
    link._scheduled = True
    made = Session(1, "default", b"", Registry(), loop.create_future())
    made.unacked.clear()
    made.worker = link
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
    link = session.worker

    def run():
        for _ in range(50):
            session.receive(TEXT, PAYLOAD)
        link.flush()
        session.handled(session.seq)
        link.credit(link._number)

    benchmark(run)


def bench_back(benchmark, session):
    benchmark(session.send, Send(1, TEXT, PAYLOAD))
