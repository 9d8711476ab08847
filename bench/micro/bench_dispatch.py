"""The worker's way to a hook and back, per message: no link, no other thread."""

import pytest

from django_ws import WebSocketHandler
from django_ws.wire.codec import encode
from django_ws.wire.messages import TEXT, WIRE_VERSION, Call, Connect, Handshake, Kind, Message
from django_ws.worker.connection import WorkerConnection
from django_ws.worker.executors import averages
from django_ws.worker.executors.base import Executor, ExecutorConfig
from django_ws.worker.executors.pool import PoolExecutor, PoolThread
from django_ws.worker.link import GatewayLink
from django_ws.worker.turn import handle

MESSAGE = Message(1, 2, TEXT, b"x" * 64)
EVENT = Call(1, 2, Kind.EVENT, "echo", b'["%s"]' % (b"x" * 64))


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


class Events(WebSocketHandler):
    def on_event(self, event, message):
        self.emit(event, message)


class Silent(WebSocketHandler):
    def on_message(self, message):
        pass


class Keeping(WebSocketHandler):
    """Has attributes that stay as they are."""

    def on_connect(self):
        self.room, self.rows = "room", [1, 2]

    def on_message(self, message):
        pass


class Counting(Keeping):
    """Has one that changes with each message."""

    def on_message(self, message):
        self.rows[0] += 1


class Socket:
    def send(self, data, timeout=0.0):
        return True


class Source:
    def flush(self):
        pass

    def connections(self):
        return []


class Quiet(Executor):
    name = "none"

    def start(self):
        pass

    def stop(self, timeout):
        return True

    def sent(self, link):
        pass


def connected(handler, executor):
    link = GatewayLink(0, Socket(), "project", "1" * 16)
    link.welcome("0" * 16, 1 << 40, WIRE_VERSION)
    handshake = Handshake(
        "default", {}, "http", "/socket/", "", [], ("127.0.0.1", 1), ("127.0.0.1", 2), [], 0.0
    )
    connection = WorkerConnection(1, "default", encode(handshake), handler, link, executor)
    assert handle(connection, Connect(1, 1, "default", encode(handshake)))
    link.flush()
    return connection


def emptied(connection):
    """An outbox that grows without end would be measured, too."""
    link = connection.link
    link._messages.clear()
    connection.unconfirmed = 0


@pytest.mark.parametrize("handler", [Silent, Echo, Keeping, Counting])
def bench_handle(benchmark, handler):
    connection = connected(handler, Quiet(Source(), ExecutorConfig()))

    def run():
        handle(connection, MESSAGE)
        emptied(connection)

    benchmark(run)


def bench_handle_event(benchmark):
    connection = connected(Events, Quiet(Source(), ExecutorConfig()))

    def run():
        handle(connection, EVENT)
        emptied(connection)

    benchmark(run)


@pytest.mark.parametrize("handler", [Silent, Echo])
def bench_pool_turn(benchmark, handler, monkeypatch):
    # Else a pause of the machine would have the lead passed on.
    monkeypatch.setattr(averages, "SLOW", 1.0)
    pool = PoolExecutor(Source(), ExecutorConfig())
    connection = connected(handler, pool)
    pool._leader = me = PoolThread(pool, 1, pool._shares.messages)
    # As right after a poll: no replies have waited yet.
    pool._flushed = float("inf")
    # send() asks which thread it is in.
    pool.sent = lambda link: None

    def run():
        connection.queue.append(MESSAGE)
        connection.busy = True
        pool._shares.add(connection)
        with pool._lock:
            pool._run(me, pool._shares.claim())
        emptied(connection)

    benchmark(run)


def bench_flush(benchmark):
    connection = connected(Silent, Quiet(Source(), ExecutorConfig()))
    link = connection.link

    def run():
        link.done(1, 2, None)
        link.flush()

    benchmark(run)
