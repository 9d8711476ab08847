"""The outbox of a worker towards one gateway."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from django_ws.options import MAX_BATCH
from django_ws.wire.codec import ReplyBatch, decode_replies
from django_ws.wire.messages import (
    WIRE_VERSION,
    Accept,
    Close,
    Heartbeat,
    Hello,
    Join,
    Released,
    SaveSnapshot,
    Send,
    Snapshot,
)
from django_ws.worker import link as link_module
from django_ws.worker.link import CREDIT_BATCHES, CREDIT_BYTES, GatewayLink

DEADLINE = 5.0


class FakeSocket:
    """Keeps what is sent; may refuse, or call back in the middle of a send."""

    def __init__(self) -> None:
        self.batches: list[ReplyBatch] = []
        self.sizes: list[int] = []
        self.refuse = False
        self.tried = 0
        self.during_send: Any = None
        self.closed = False

    def send(self, data: bytes, timeout: float = 0.0) -> bool:
        self.tried += 1
        if self.during_send is not None:
            callback, self.during_send = self.during_send, None
            callback()
        if self.refuse:
            return False
        self.sizes.append(len(data))
        self.batches.append(decode_replies(data))
        return True

    def receive(self) -> bytes | None:
        if self.during_send is not None:
            callback, self.during_send = self.during_send, None
            callback()
        return None

    def close(self) -> None:
        self.closed = True


class FakeConnection:
    unconfirmed = 0


@pytest.fixture
def socket() -> FakeSocket:
    return FakeSocket()


@pytest.fixture
def link(socket: FakeSocket) -> GatewayLink:
    link = GatewayLink(0, socket, "p", "w1")
    link.welcome("gw", 1000, WIRE_VERSION)
    return link


def in_thread(function: Any) -> None:
    """Run it in another thread, to the end."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive()


def test_nothing_to_say_is_not_said(link: GatewayLink, socket: FakeSocket) -> None:
    link.flush()
    link.flush_all()
    assert not socket.batches


def test_what_was_put_leaves_as_one_numbered_batch(link: GatewayLink, socket: FakeSocket) -> None:
    link.put(Send(1, 1, b"a"))
    link.put(Close(1, 1000, ""), Send(2, 2, b"b"))
    assert link.hurry
    link.flush()
    assert not link.hurry
    link.put(Send(1, 1, b"c"))
    link.flush()
    first, second = socket.batches
    assert first.messages == [Send(1, 1, b"a"), Close(1, 1000, ""), Send(2, 2, b"b")]
    assert (first.sender, first.receiver, first.project) == ("w1", "gw", "p")
    assert [first.number, second.number] == [1, 2]


def test_acknowledgements_stand_for_the_last_event(link: GatewayLink, socket: FakeSocket) -> None:
    saved = SaveSnapshot(1, Snapshot(b"\x80"))
    link.done(1, 1, None)
    link.done(1, 2, saved)
    link.done(2, 7, None)
    link.done(3, 0, None)  # an event without a number
    link.flush()
    (batch,) = socket.batches
    assert batch.acks == {1: 2, 2: 7}
    assert batch.messages == [saved]
    assert link.handled == 4


def test_acknowledgements_alone_are_in_no_hurry(link: GatewayLink) -> None:
    link.done(1, 1, None)
    assert not link.hurry


def test_each_batch_says_what_arrived(link: GatewayLink, socket: FakeSocket) -> None:
    link.arrived(5, 10)
    link.put(Send(1, 1, b""))
    link.flush()
    assert socket.batches[0].received == 5


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize("make", [
    lambda size: Send(1, 2, bytes(size)),
    lambda size: SaveSnapshot(1, Snapshot(bytes(size))),
    lambda size: Released(1, Snapshot(bytes(size))),
])  # fmt: skip
def test_a_large_outbox_is_cut(link: GatewayLink, socket: FakeSocket, make: Any) -> None:
    messages = [make(MAX_BATCH // 8) for _ in range(20)]
    link.put(*messages)
    link.done(1, 9, None)
    link.flush()
    assert [message for batch in socket.batches for message in batch.messages] == messages
    assert len(socket.batches) == 3
    assert max(socket.sizes) < MAX_BATCH + 1000
    assert [batch.number for batch in socket.batches] == [1, 2, 3]
    # What a batch acknowledges is in it or before it.
    assert [batch.acks for batch in socket.batches] == [{}, {}, {1: 9}]


def test_a_larger_message_travels_alone(link: GatewayLink, socket: FakeSocket) -> None:
    link.put(Send(1, 2, b"1"), Send(1, 2, bytes(MAX_BATCH + 1)), Send(1, 2, b"3"))
    link.flush()
    assert [[len(m.data) for m in b.messages] for b in socket.batches] == [
        [1], [MAX_BATCH + 1], [1],
    ]  # fmt: skip


def test_the_size_starts_anew_with_each_batch(link: GatewayLink, socket: FakeSocket) -> None:
    for _ in range(3):
        link.put(Send(1, 2, bytes(MAX_BATCH // 2)))
        link.flush()
    assert len(socket.batches) == 3


# ---------------------------------------------------------------- the send window


def test_the_window_closes_once_it_is_used_up(link: GatewayLink, socket: FakeSocket) -> None:
    connection: Any = FakeConnection()
    assert link.put_send(connection, Send(1, 2, bytes(999)), 999)
    assert link.put_send(
        connection, Send(1, 2, bytes(5000)), 5000
    )  # any size passes while it is open
    assert connection.unconfirmed == 5999
    assert not link.put_send(connection, Send(1, 2, b"x"), 1)
    assert not link.put_send(connection, Send(1, 2, b""), 0)
    connection.unconfirmed -= 5000
    assert link.put_send(connection, Send(1, 2, b"y"), 1)
    link.flush()
    assert [m.data[:1] for m in socket.batches[0].messages] == [b"\0", b"\0", b"y"]


# ---------------------------------------------------------------- several threads


@pytest.mark.parametrize("holder", ["flush", "flush_all", "beat", "hello", "answer"])
def test_what_another_thread_puts_meanwhile_is_taken_along(
    link: GatewayLink, socket: FakeSocket, holder: str
) -> None:
    late = Send(2, 1, b"late")

    def other() -> None:
        link.put(late)
        link.flush()  # returns at once: somebody else is at it

    socket.during_send = lambda: in_thread(other)
    link.put(Send(1, 1, b"early"))
    if holder == "beat":
        link.beat(True)
    elif holder == "hello":
        link.hello(Hello("ipc:///x", 0, 1, 0.0, {}))
    else:
        getattr(link, holder)()
    sent = [m for batch in socket.batches for m in batch.messages if type(m) is Send]
    assert sent == [Send(1, 1, b"early"), late]


def test_many_threads_lose_and_reorder_nothing(link: GatewayLink, socket: FakeSocket) -> None:
    def work(conn: int) -> None:
        for number in range(100):
            link.put(Send(conn, 1, str(number).encode()))
            link.done(conn, number + 1, None)
            link.flush()

    threads = [threading.Thread(target=work, args=(conn,)) for conn in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert [batch.number for batch in socket.batches] == [*range(1, len(socket.batches) + 1)]
    last: dict[int, int] = {}
    acked: dict[int, int] = {}
    for batch in socket.batches:
        for message in batch.messages:
            assert isinstance(message, Send)
            assert int(message.data) == last.get(message.conn, -1) + 1
            last[message.conn] = int(message.data)
        for conn, seq in batch.acks.items():
            assert acked.get(conn, 0) < seq <= last[conn] + 1  # never ahead of what was sent
            acked[conn] = seq
    assert last == dict.fromkeys(range(8), 99)
    assert acked == dict.fromkeys(range(8), 100)


# ---------------------------------------------------------------- credit and heartbeats


def test_a_heartbeat_stands_outside_the_count(link: GatewayLink, socket: FakeSocket) -> None:
    link.beat(False)
    link.put(Send(1, 1, b""))
    link.flush()
    assert [batch.number for batch in socket.batches] == [0, 1]
    assert socket.batches[0].messages == [Heartbeat(False)]


def test_there_is_no_heartbeat_before_the_welcome(socket: FakeSocket) -> None:
    GatewayLink(0, socket, "p", "w1").beat(True)
    assert not socket.batches


def test_credit_returns_by_itself_after_many_batches(link: GatewayLink, socket: FakeSocket) -> None:
    link.beat(False)
    for number in range(1, CREDIT_BATCHES * 2 + 1):
        link.arrived(number, 1)
    received = [batch.received for batch in socket.batches]
    assert received == [0, CREDIT_BATCHES, CREDIT_BATCHES * 2]
    # What the worker said last of its room still holds.
    assert all(batch.messages == [Heartbeat(False)] for batch in socket.batches)


def test_credit_returns_by_itself_after_many_bytes(link: GatewayLink, socket: FakeSocket) -> None:
    link.arrived(1, CREDIT_BYTES - 1)
    assert not socket.batches
    link.arrived(2, 1)
    assert [batch.received for batch in socket.batches] == [2]


def test_replies_return_credit_themselves(link: GatewayLink, socket: FakeSocket) -> None:
    for number in range(1, CREDIT_BATCHES * 3):
        link.arrived(number, 1)
        link.put(Send(1, 1, b""))
        link.flush()
    assert all(batch.number for batch in socket.batches)


# ---------------------------------------------------------------- a gateway that goes


def test_nothing_is_sent_before_the_welcome(socket: FakeSocket) -> None:
    link = GatewayLink(0, socket, "p", "w1")
    link.put(Send(1, 1, b""))
    link.flush()
    assert not socket.tried
    assert not link.hurry


def test_a_lost_link_swallows_and_its_successor_starts_anew(
    link: GatewayLink, socket: FakeSocket
) -> None:
    link.put(Send(1, 1, b"before"))
    link.flush()
    successor = link.successor()
    assert link.lost
    link.put(Send(1, 1, b"after"))
    link.done(1, 2, None)
    link.flush()
    assert not link.hurry
    successor.welcome("gw2", 1000, WIRE_VERSION)
    successor.put(Accept(1, ""))
    successor.flush()
    assert [(batch.receiver, batch.number) for batch in socket.batches] == [("gw", 1), ("gw2", 1)]


def test_a_gateway_that_takes_nothing_and_is_gone_is_not_waited_for(
    link: GatewayLink, socket: FakeSocket
) -> None:
    socket.refuse = True

    def gone() -> None:
        link.gone = True

    socket.during_send = gone
    link.put(Send(1, 1, b""))
    link.flush_all()
    assert socket.tried == 1


@pytest.mark.parametrize("waits", [True, False])
def test_a_gateway_that_takes_nothing_for_long_is_given_up(
    link: GatewayLink, socket: FakeSocket, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, waits: bool,
) -> None:  # fmt: skip
    clock = iter(range(10, 1000, 10))
    monkeypatch.setattr(link_module.time, "monotonic", lambda: next(clock))
    socket.refuse = True
    link.put(Send(1, 1, b""))
    if waits:
        link.flush_all()
    else:
        for _ in range(5):
            link.flush()
    assert link.gone
    assert caplog.text.count("takes no replies for 30 s") == 1


def test_a_full_queue_is_retried_with_the_same_number(
    link: GatewayLink, socket: FakeSocket
) -> None:
    socket.refuse = True

    def relent() -> None:
        socket.during_send = lambda: setattr(socket, "refuse", False)

    socket.during_send = relent
    link.put(Send(1, 1, b"x"))
    link.flush_all()
    assert [batch.number for batch in socket.batches] == [1]


def test_what_is_sent_while_the_queue_is_full_leaves_in_one_batch(
    link: GatewayLink, socket: FakeSocket
) -> None:
    socket.refuse = True
    for number in range(3):
        link.put(Send(1, 1, b"%d" % number))
        link.flush()
    assert link.full
    assert socket.tried == 3  # once each, without a wait
    socket.refuse = False
    link.wait_for_room(1.0)
    assert not link.full
    assert [[m.data for m in batch.messages] for batch in socket.batches] == [[b"0"], [b"1", b"2"]]


def test_the_last_words_leave_although_the_queue_was_full(
    link: GatewayLink, socket: FakeSocket
) -> None:
    socket.refuse = True
    link.put(Send(1, 1, b"1"))
    link.flush()
    link.put(Released(1, Snapshot()))
    link.done(1, 7, None)

    def relent() -> None:
        socket.during_send = lambda: setattr(socket, "refuse", False)

    socket.during_send = relent
    link.flush_by(time.monotonic() + DEADLINE)
    assert [batch.number for batch in socket.batches] == [1, 2]
    assert socket.batches[1].messages == [Released(1, Snapshot())]
    assert socket.batches[1].acks == {1: 7}


@pytest.mark.parametrize("how", ["flush_by", "wait_for_room"])
def test_nobody_waits_for_long_for_a_thread_that_waits_for_room(
    link: GatewayLink, how: str
) -> None:
    with link._send_lock:
        began = time.monotonic()
        in_thread(
            lambda: (
                link.wait_for_room(0.05) if how == "wait_for_room" else link.flush_by(began + 0.05)
            )
        )
        assert 0.04 < time.monotonic() - began < 1  # but neither is it a busy loop


def test_a_reply_that_cannot_be_encoded_costs_nobody_else_anything(
    link: GatewayLink, socket: FakeSocket, caplog: pytest.LogCaptureFixture
) -> None:
    link.put(Send(1, 1, b"1"), Join(2, "\ud800"), Send(3, 1, b"3"))
    link.flush()
    link.put(Send(1, 1, b"4"))
    link.flush()
    assert [(b.number, [m.data for m in b.messages]) for b in socket.batches] == [
        (1, [b"1", b"3"]), (2, [b"4"]),
    ]  # fmt: skip
    assert "cannot be encoded" in caplog.text


def test_empty_messages_are_bounded_too(link: GatewayLink) -> None:
    connection: Any = FakeConnection()
    count = 0
    while not link.congested:
        assert link.put_send(connection, Send(1, 1, b""), 0)
        count += 1
    assert count < 100_000


def test_the_links_thread_never_waits_for_a_full_queue(
    link: GatewayLink, socket: FakeSocket
) -> None:
    socket.refuse = True
    link.put(Send(1, 1, b"1"))
    link.beat(True)
    assert link.answer() is None
    assert socket.tried == 3  # once each, without a wait
    socket.refuse = False
    link.put(Send(1, 1, b"2"))
    link.beat(True)
    assert [(batch.number, batch.messages) for batch in socket.batches] == [
        (0, [Heartbeat(True)]), (1, [Send(1, 1, b"1")]), (2, [Send(1, 1, b"2")]),
    ]  # fmt: skip
