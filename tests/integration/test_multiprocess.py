"""The worker's side of multiprocess mode; the test plays the template and the processes."""

from __future__ import annotations

import errno
import signal
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from django_ws.base import WebSocketHandler
from django_ws.wire.codec import Batch, encode
from django_ws.wire.messages import (
    TEXT,
    WIRE_VERSION,
    Accept,
    Close,
    Connect,
    Disconnect,
    Message,
    Refuse,
    Restore,
    Role,
    Snapshot,
    WorkerMessage,
)
from django_ws.worker.connection import WorkerConnection
from django_ws.worker.executors import ExecutorConfig
from django_ws.worker.executors import multiprocess as multiprocess_module
from django_ws.worker.executors.frames import Frames
from django_ws.worker.executors.multiprocess import MultiprocessExecutor
from django_ws.worker.executors.template import Template
from tests.system.server import until
from tests.unit.worker.executors.test_pool import HANDSHAKE, Source


class Handler(WebSocketHandler):
    pass


class FakeTemplate(Template):
    """Makes no processes: the test takes the requests."""

    def __init__(self) -> None:
        ours, self.socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(5)
        self.processes: list[Process] = []
        super().__init__(ours, 0)

    def process(self) -> Process:
        """The next one that is asked for."""
        data, descriptors, _, _ = socket.recv_fds(self.socket, 8, 1)
        key = struct.unpack("!Q", data)[0]
        self.processes.append(Process(key, socket.socket(fileno=descriptors[0])))
        return self.processes[-1]

    def tell(self, key: int, pid: int, status: int) -> None:
        self.socket.send(struct.pack("!Qqi", key, pid, status))

    def close(self) -> None:
        for process in self.processes:
            process.socket.close()
        self._socket.close()
        self.socket.close()


class Process:
    """A connection's process, as far as its worker notices."""

    def __init__(self, key: int, sock: socket.socket) -> None:
        self.key = key
        self.socket = sock
        sock.settimeout(5)

    def say(self, messages: list[WorkerMessage], acks: dict[int, int]) -> None:
        batch = Batch(WIRE_VERSION, "", "", "gw", 1, 0, messages, acks, Role.WORKER)
        self.socket.sendall(Frames.wrap(encode(batch)))

    def until_hung_up(self) -> None:
        while self.socket.recv(65536):
            pass


@pytest.fixture
def template() -> FakeTemplate:
    return FakeTemplate()


@pytest.fixture
def source(template: FakeTemplate) -> Iterator[Source]:
    source = Source()
    executor = source.executor = MultiprocessExecutor(source, ExecutorConfig(), template)
    executor.start()
    yield source
    if not executor._ended:
        executor.stop(5.0)
    assert not [t for t in threading.enumerate() if t.name in ("ws-receive", "ws-children")]


def connect(source: Source, conn: int) -> WorkerConnection:
    connection = source.connection(conn, Handler, accepted=False)
    source.put((connection, Connect(conn, 1, "default", HANDSHAKE)))
    return connection


def said(source: Source) -> list[object]:
    return [message for batch in source.socket.batches for message in batch.messages]


def test_without_descriptors_one_connection_is_refused_and_the_others_go_on(
    source: Source, template: FakeTemplate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(multiprocess_module.socket, "socketpair", fail)
        connection = source.connection(1, Handler, accepted=False)
        # In the same batch: the gateway has not heard of the refusal yet.
        source.put(
            (connection, Connect(1, 1, "default", HANDSHAKE)),
            (connection, Message(1, 2, TEXT, b"x")),
        )
        until(lambda: said(source) == [Refuse(1, 503, "out of processes")])
    connect(source, 2)
    template.process().say([Accept(2, "")], {2: 1})
    until(lambda: source.acks() == {2: 1})
    assert source.failed == []


def test_what_makes_no_sense_ends_only_the_process_that_says_it(
    source: Source, template: FakeTemplate
) -> None:
    connect(source, 1)
    connect(source, 2)
    first, second = template.process(), template.process()
    first.say([Accept(1, "")], {1: 1})
    first.socket.sendall(Frames.wrap(b"nonsense"))
    first.until_hung_up()
    second.say([Accept(2, "")], {2: 1})
    until(lambda: source.acks() == {1: 1, 2: 1})
    assert source.failed == []


@pytest.mark.parametrize("status", [signal.SIGKILL, 40, 7 << 8])
def test_a_process_that_dies_is_closed_1011_however_it_died(
    source: Source, template: FakeTemplate, status: int
) -> None:
    connect(source, 1)
    process = template.process()
    process.say([Accept(1, "")], {1: 1})
    process.socket.close()
    template.tell(process.key, 4711, status)
    until(lambda: Close(1, 1011, "internal error") in said(source))
    assert source.failed == []


def test_what_was_handled_by_the_end_of_the_worker_still_counts(
    source: Source, template: FakeTemplate
) -> None:
    connection = connect(source, 1)
    process = template.process()
    process.say([Accept(1, "")], {1: 1})
    source.put((connection, Disconnect(1, 2, 1000, "")))

    def end() -> None:
        process.until_hung_up()
        process.say([], {1: 2})  # its on_close was done just then
        process.socket.close()

    thread = threading.Thread(target=end)
    thread.start()
    source.executor.stop(5.0)
    thread.join(5)
    source.flush()
    assert source.acks() == {1: 2}
    assert not any(isinstance(message, Close) for message in said(source))


def test_without_its_template_a_worker_answers_nothing_but_ends(
    source: Source, template: FakeTemplate
) -> None:
    """Others then do what it has left; a refusal would have closed these connections."""
    template.socket.close()
    until(lambda: source.failed)
    connection = source.connection(1, Handler)
    restore = Restore(1, 1, "default", HANDSHAKE, "", [], Snapshot(), 0, True)
    source.put((connection, restore), (connection, Disconnect(1, 2, 1000, "")))
    connect(source, 2)
    polls = source.polls
    until(lambda: source.polls > polls + 2)
    assert said(source) == []
    assert source.acks() == {}
