"""The control channel."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from django_ws.supervisor import control
from django_ws.supervisor.control import CONTROL_FD, Channel


@pytest.fixture
def ends():
    """Both ends of one channel."""
    ours, theirs = Channel.pair()
    other = Channel(theirs)
    yield ours, other
    ours.close()
    other.close()


def test_messages_arrive_whole_and_in_order(ends):
    ours, other = ends
    assert other.receive() == []
    for number in range(3):
        assert ours.send({"op": "log", "number": number, "text": "ä\n"})
    assert [message["number"] for message in other.receive()] == [0, 1, 2]
    assert other.receive() == []


def test_both_directions(ends):
    ours, other = ends
    ours.send({"op": "drain"})
    other.send({"op": "ready"})
    assert other.receive() == [{"op": "drain"}]
    assert ours.receive() == [{"op": "ready"}]


def test_a_message_in_pieces_is_put_together():
    ours, theirs = Channel.pair()
    with theirs:
        theirs.send(b'{"op":')
        assert ours.receive() == []
        theirs.send(b'"x"}\n{')
        assert ours.receive() == [{"op": "x"}]
    ours.close()


def test_the_end_comes_after_what_was_sent(ends):
    ours, other = ends
    ours.send({"op": "failed"})
    ours.close()
    assert other.receive() == [{"op": "failed"}]
    with pytest.raises(EOFError):
        other.receive()


def test_sending_to_nobody_is_told_by_the_result(ends):
    ours, other = ends
    other.close()
    assert not ours.send({"op": "log"})
    ours.close()
    assert not ours.send({"op": "log"})


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n", b"\xff\n", b"\n"])
def test_what_is_no_object_is_ignored(line):
    ours, theirs = Channel.pair()
    with theirs:
        theirs.send(line + b'{"op":"x"}\n')
        assert ours.receive() == [{"op": "x"}]
    ours.close()


def test_a_peer_that_does_not_read_costs_messages_but_neither_time_nor_memory(ends, monkeypatch):
    monkeypatch.setattr(control, "MAX_UNSENT", 200_000)
    ours, other = ends
    text = "x" * 50_000
    sent = [ours.send({"number": number, "text": text}) for number in range(50)]
    assert not sent[-1]
    assert ours.unsent <= control.MAX_UNSENT
    assert ours.dropped == sent.count(False)
    received = []
    while ours.unsent or len(received) < sent.count(True):
        received += [message["number"] for message in other.receive()]
        ours.flush()
    assert received == [number for number, went in enumerate(sent) if went]


def test_an_endless_line_ends_the_channel(ends, monkeypatch):
    monkeypatch.setattr(control, "MAX_LINE", 1000)
    ours, other = ends
    ours.send({"text": "x" * 2000})
    assert len(other.receive()) == 1  # a whole line may be as long as one turn reads
    raw, theirs = socket.socketpair()
    channel = Channel(theirs)
    raw.send(b"x" * 2000)
    with pytest.raises(EOFError):
        channel.receive()
    raw.close()
    channel.close()


def test_many_threads_may_send(ends):
    ours, other = ends
    threads = [
        threading.Thread(target=lambda: [ours.send({"text": "y" * 100}) for _ in range(100)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    received = []
    while len(received) < 400:
        received += other.receive()
        ours.flush()
    assert all(message == {"text": "y" * 100} for message in received)


def test_from_env_is_found_once_and_not_inherited(monkeypatch):
    ours, theirs = Channel.pair()
    theirs.set_inheritable(True)
    monkeypatch.setenv(CONTROL_FD, str(theirs.detach()))
    channel = Channel.from_env()
    assert channel is not None
    assert not os.get_inheritable(channel.fileno())
    assert CONTROL_FD not in os.environ
    assert Channel.from_env() is None
    channel.send({"op": "ready"})
    assert ours.receive() == [{"op": "ready"}]
    channel.close()
    ours.close()


@pytest.mark.parametrize("value", ["", "no", "-1", "999999"])
def test_from_env_without_a_supervisor(monkeypatch, value):
    monkeypatch.setenv(CONTROL_FD, value)
    assert Channel.from_env() is None


def fill(channel: Channel) -> None:
    """Send log records until the kernel takes no more."""
    while not channel.unsent:
        assert channel.send({"op": "log", "message": "x" * 5000})
    for _ in range(20):
        assert channel.send({"op": "log", "message": "x" * 5000})


def test_an_order_overtakes_the_records_that_wait(ends):
    ours, other = ends
    fill(ours)
    assert ours.send({"op": "kill"})
    received = []
    while ours.unsent:
        received += [message["op"] for message in other.receive()]
        ours.flush()
    received += [message["op"] for message in other.receive()]
    assert "log" in received[received.index("kill") + 1 :]
    assert received[-20:] == ["log"] * 20


def test_records_never_take_the_place_of_an_order(ends, monkeypatch):
    monkeypatch.setattr(control, "MAX_UNSENT", 50_000)
    ours, _ = ends
    while ours.send({"op": "log", "message": "x" * 5000}):
        pass
    assert ours.send({"op": "kill"})


def test_what_waits_is_told_and_leaves_while_waiting_for_words(ends):
    ours, other = ends
    told: list[int] = []
    ours.on_unsent = lambda: told.append(ours.unsent)
    assert ours.send({"op": "ready"})
    assert not told
    fill(ours)
    assert told[0] > 0
    while ours.unsent:
        other.receive()
        assert not ours.wait(1)
    other.send({"op": "stop"})
    assert ours.wait(1)


def test_last_words_wait_for_a_reader_but_not_for_ever(ends):
    ours, other = ends
    fill(ours)
    ours.finish(0.01)
    assert ours.unsent
    reader = threading.Thread(
        target=lambda: [other.receive() for _ in iter(lambda: ours.unsent, 0)]
    )
    reader.start()
    ours.finish(5)
    assert not ours.unsent
    reader.join()
