"""A connection's own process as its worker sees it; the test has the other end."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from django_ws.base import WebSocketHandler
from django_ws.wire.codec import Batch, decode_events, encode
from django_ws.wire.messages import (
    TEXT,
    WIRE_VERSION,
    Accept,
    Disconnect,
    Message,
    Refuse,
    Released,
    Role,
    SaveSnapshot,
    Send,
    Snapshot,
)
from django_ws.worker.executors.frames import Frames
from django_ws.worker.executors.process import ConnectionProcess, in_words
from tests.unit.worker.executors.test_pool import Source
from tests.unit.worker.test_connection import Runner

LAST = Disconnect(1, 9, 1001, "")


class Pair:
    """The process, and its end of the stream."""

    def __init__(self, last: Disconnect | None = None) -> None:
        source = Source()
        source.executor = Runner()
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.theirs.settimeout(5)
        self.process = ConnectionProcess(1, source.connection(1, WebSocketHandler), ours, last)
        self._frames = Frames()

    def heard(self) -> list[Any]:
        return [
            decode_events(piece).messages for piece in self._frames.feed(self.theirs.recv(1 << 20))
        ]

    def says(self, *messages: Any, acks: dict[int, int] | None = None) -> list[Any]:
        batch = Batch(WIRE_VERSION, "", "", "gw", 1, 0, list(messages), acks or {}, Role.WORKER)
        return list(self.process.understand(Frames.wrap(encode(batch))))

    def close(self) -> None:
        self.process.socket.close()
        self.theirs.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


def test_events_arrive_and_nothing_asks_loops_to_end(pair: Pair) -> None:
    event = Message(1, 2, TEXT, b"x")
    pair.process.post(event)
    pair.process.post(None)
    assert pair.heard() == [[event], []]
    assert not pair.process.blocked


def test_what_does_not_fit_waits(pair: Pair) -> None:
    event = Message(1, 2, TEXT, b"x" * 60_000)
    posted = 0
    while not pair.process.blocked:
        pair.process.post(event)
        posted += 1
    pair.process.post(event)  # behind what waits
    found: list[Any] = []
    while len(found) < posted + 1:
        found += pair.heard()
        pair.process.write()
    assert found == [[event]] * (posted + 1)


def test_writing_to_one_that_has_ended_is_nothing(pair: Pair) -> None:
    pair.theirs.close()
    pair.process.post(Message(1, 2, TEXT, b"x"))
    assert not pair.process.blocked
    assert pair.process.read() == b""


def test_reading_tells_nothing_now_from_the_end(pair: Pair) -> None:
    assert pair.process.read() is None
    pair.theirs.send(b"abc")
    assert pair.process.read() == b"abc"
    pair.process.hang_up()
    assert pair.theirs.recv(10) == b""
    pair.theirs.send(b"last words")
    assert pair.process.read() == b"last words"
    pair.process.socket.close()
    assert pair.process.read() == b""
    pair.process.hang_up()


def test_another_one_runs_on_close_from_the_last_snapshot(pair: Pair) -> None:
    process = pair.process
    snapshot = Snapshot(b"\x80", "user")
    assert pair.says(Accept(1, "", "", ""), Send(1, TEXT, b"x")) == [
        ([Accept(1, "", "", ""), Send(1, TEXT, b"x")], {})
    ]
    pair.says(SaveSnapshot(1, snapshot), acks={1: 3})
    assert process.continuation() is None  # nothing is left to be done
    process.disconnect = LAST
    assert process.continuation() is None  # it lives
    process.dead = True
    found = process.continuation()
    assert found is not None
    restore, event = found
    assert (restore.seq, restore.snapshot, restore.ended) == (8, snapshot, True)
    assert event is LAST
    assert process.continuation() is None  # once only


@pytest.mark.parametrize("message", [Refuse(1, 403, ""), Released(1, Snapshot())])
def test_who_has_said_the_last_word_needs_no_other(pair: Pair, message: Any) -> None:
    pair.says(Accept(1, "", "", ""), message)
    pair.process.disconnect, pair.process.dead = LAST, True
    assert pair.process.finished
    assert pair.process.continuation() is None


def test_who_has_run_on_close_needs_no_other(pair: Pair) -> None:
    pair.process.disconnect = LAST
    pair.says(Accept(1, "", "", ""), acks={1: 8})
    assert not pair.process.finished
    pair.says(acks={1: 9})
    assert pair.process.finished


def test_who_was_never_accepted_needs_none(pair: Pair) -> None:
    pair.process.disconnect, pair.process.dead = LAST, True
    assert pair.process.continuation() is None


def test_the_second_one_is_the_last() -> None:
    pair = Pair(LAST)
    pair.says(Accept(1, "", "", ""))
    pair.process.dead = True
    assert pair.process.continuation() is None
    pair.close()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exit status 0"),
        (7 << 8, "exit status 7"),
        (signal.SIGKILL, "killed by SIGKILL"),
        (60, "killed by signal 60"),
    ],
)
def test_ends_in_words(status: int, words: str) -> None:
    assert in_words(status) == words
