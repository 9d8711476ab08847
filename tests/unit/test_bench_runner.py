"""The benchmarks' own tools: what they send is right, and what they count is what came."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from bench.runner.client import LoadError, Peer
from bench.runner.frames import MESSAGE, answer, frame
from bench.runner.report import ranked, ratio
from bench.runner.results import Results


class FakeSocket:
    def __init__(self) -> None:
        self.written = b""

    def fileno(self) -> int:
        return 7

    def recv(self, size: int) -> bytes:
        return b""

    def send(self, data: bytes) -> int:
        self.written += data
        return len(data)


@pytest.fixture
def sock() -> FakeSocket:
    return FakeSocket()


@pytest.fixture
def peer(sock: FakeSocket) -> Peer:
    return Peer(sock)  # type: ignore[arg-type]


def test_client_frames_are_what_a_server_understands() -> None:
    core = ServerProtocol(state=State.OPEN)
    core.receive_data(frame(MESSAGE))
    [event] = core.events_received()
    assert isinstance(event, Frame)
    assert bytes(event.data) == MESSAGE


def test_expected_answers_are_what_a_server_sends() -> None:
    assert answer(MESSAGE) == Frame(Opcode.TEXT, MESSAGE).serialize(mask=False)


def test_answers_in_one_read_and_in_pieces_are_counted(peer: Peer) -> None:
    expected = answer(MESSAGE)
    assert peer.count(expected, expected) == 1
    assert peer.count(expected * 2 + expected[:10], expected) == 2
    assert peer.count(expected[10:], expected) == 1


def test_another_message_is_no_answer(peer: Peer) -> None:
    assert peer.count(answer(b"something else"), answer(MESSAGE)) == 0


def test_pings_are_answered(peer: Peer, sock: FakeSocket) -> None:
    expected = answer(MESSAGE)
    assert peer.count(b"\x89\x00" + expected, expected) == 1
    assert sock.written == frame(b"", 0x8A)


def test_a_closed_connection_is_an_error(peer: Peer) -> None:
    with pytest.raises(LoadError):
        peer.read()
    with pytest.raises(LoadError):
        peer.messages(b"\x88\x02\x03\xf3")


def test_medians_and_ratios() -> None:
    results = Results({}, "", 1.0)
    for cpu in (150.0, 90.0, 100.0):
        results.add("echo-100", "channels-sync-uvicorn", {"cpu": cpu})
    results.add("echo-100", "django-ws-pool", {"cpu": 10.0})
    spread = results.spread("echo-100", "channels-sync-uvicorn", "cpu")
    assert spread is not None
    assert (spread.median, spread.low, spread.high) == (100.0, 90.0, 150.0)
    assert ratio(results, "echo-100", "django-ws-pool", "cpu") == 10.0
    assert ranked(results, "echo-100") == ["django-ws-pool", "channels-sync-uvicorn"]
