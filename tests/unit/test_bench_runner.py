"""The benchmarks' own tools: what they send is right, and what they count is what came."""

from __future__ import annotations

import socket

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from bench.runner import postgres
from bench.runner.__main__ import jobs, measurable
from bench.runner.budget import check
from bench.runner.client import LoadError, Peer, Swarm
from bench.runner.frames import MESSAGE, answer, frame, plain
from bench.runner.report import ranked, ratio
from bench.runner.results import Results
from bench.runner.scenarios import SCENARIOS


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


def test_clients_take_the_ports_in_turn_and_name_them() -> None:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [server.getsockname()[1] for server in servers]
    swarm = Swarm(ports, plain("echo"))
    try:
        peers = [swarm.start() for _ in range(4)]
        for peer, port in zip(peers, ports * 2, strict=True):
            assert f"Host: 127.0.0.1:{port}\r\n".encode() in peer.request
        for server in servers:
            server.settimeout(5)
            for _ in range(2):
                server.accept()[0].close()
            server.setblocking(False)
            with pytest.raises(BlockingIOError):
                server.accept()
    finally:
        swarm.close()
        for server in servers:
            server.close()


def test_two_gateways_take_part_where_there_is_load_and_no_group() -> None:
    applies = [key for key in SCENARIOS if SCENARIOS[key].applies("django-ws-pool-2-gateways")]
    assert applies == ["echo-100", "echo-1000", "echo-8000", "latency"]


def test_promises_are_checked_against_their_bounds() -> None:
    results = Results({}, "", 1.0)
    results.add("echo-100", "django-ws-pool", {"cpu": 20.0})
    results.add("echo-8000", "django-ws-pool", {"cpu": 26.0})
    results.add("start", "django-ws-pool", {"accepts": 0.9, "serves": 1.2, "gateway": 0.3})
    many, start = check(results)
    assert (many.text, many.value, many.bound, many.kept) == (
        "Echo: CPU with 8,000 connections / with 100, pool",
        1.3,
        1.2,
        False,
    )
    assert (start.text, start.value, start.bound, start.kept, start.unit) == (
        "Start of the gateway (s)",
        0.3,
        0.5,
        True,
        "",
    )


def test_servers_take_turns_and_start_as_often_as_a_scenario_wants() -> None:
    servers = ["tornado", "django-ws-pool"]
    assert list(jobs(["echo-1", "start"], servers, turn=1, quick=False)) == [
        ("django-ws-pool", ["echo-1"]),
        ("tornado", ["echo-1"]),
        *[("django-ws-pool", ["start"]), ("tornado", ["start"])] * 3,
    ]
    # One start is enough for all that want the same settings.
    assert list(jobs(["memory", "start"], servers, turn=0, quick=True)) == [
        ("tornado", ["memory", "start"]),
        ("django-ws-pool", ["memory", "start"]),
    ]


def test_without_postgresql_its_scenario_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(postgres, "_binaries", lambda: None)
    assert measurable(["orm", "orm-postgres"], SCENARIOS) == ["orm"]
    assert "orm-postgres is skipped: no PostgreSQL here" in capsys.readouterr().out
