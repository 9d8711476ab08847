"""What is put into an outbox, and how much of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from django_ws.options import MAX_BATCH
from django_ws.wire.messages import (
    BINARY,
    Emit,
    Join,
    SaveSnapshot,
    Send,
    Snapshot,
    WorkerMessage,
)
from django_ws.worker.outbox import OVERHEAD, PLENTY, Outbox, cut


def send(size: int, conn: int = 1) -> Send:
    return Send(conn, BINARY, b"x" * size)


def test_an_acknowledgement_goes_behind_what_was_put_before() -> None:
    outbox = Outbox()
    assert not outbox.hurry
    outbox.put(send(1), send(2))
    saved = SaveSnapshot(1, Snapshot(b"state"))
    outbox.done(1, 5, saved)
    outbox.done(2, 0, None)  # an event that has no number
    assert outbox.hurry
    messages, acks, size = outbox._take()
    assert messages == [send(1), send(2), saved]
    assert acks == {1: 5}
    assert size == 3 * OVERHEAD + 1 + 2 + len(b"state")
    assert outbox.handled == 2
    assert outbox._take() == ([], {}, 0)


def test_a_batch_that_is_passed_on_stays_whole() -> None:
    outbox = Outbox()
    outbox.pass_on([send(1)], {1: 3, 2: 4})
    assert outbox._take() == ([send(1)], {1: 3, 2: 4}, 1 + OVERHEAD)


def test_the_window_lets_one_message_of_any_size_pass_and_then_none() -> None:
    outbox, connection = Outbox(), SimpleNamespace(unconfirmed=0)
    outbox.max_pending = 10
    assert outbox.put_send(connection, send(9), 9)
    assert outbox.put_send(connection, send(100), 100)
    assert not outbox.put_send(connection, send(0), 0)
    assert connection.unconfirmed == 109
    messages, _, size = outbox._take()
    assert (len(messages), size) == (2, 109 + 2 * OVERHEAD)


def test_it_says_when_it_is_plenty_and_when_too_much() -> None:
    outbox = Outbox()
    outbox.put(*[send(0)] * (PLENTY - 1))
    assert not outbox.plenty
    outbox.put(send(0))
    assert outbox.plenty
    assert not outbox.congested
    outbox.put(*[send(MAX_BATCH)] * 4)
    assert outbox.congested


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (send(10), 10),
        (Join(1, "group"), 0),
        (Emit(1, "news", b"[1]", [b"1234"]), 3 + 4),
    ],
)
def test_attachments_count(message: WorkerMessage, size: int) -> None:
    outbox = Outbox()
    outbox.put(message)
    assert outbox._take()[2] == size + OVERHEAD


def test_a_cut_keeps_the_order_and_leaves_what_is_larger_alone() -> None:
    half, whole = send(MAX_BATCH // 2), send(2 * MAX_BATCH)
    assert cut([]) == [[]]
    assert cut([half, send(1), half, whole, send(1)]) == [
        [half, send(1)],
        [half],
        [whole],
        [send(1)],
    ]
