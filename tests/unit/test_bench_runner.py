"""The benchmarks' own tools: what they send is right, and what they count is what came."""

from __future__ import annotations

import json
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
from bench.runner.servers import SERVERS
from bench.runner.v1 import NumberedPeer


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


@pytest.fixture
def numbered_peer(sock: FakeSocket) -> NumberedPeer:
    return NumberedPeer(sock)  # type: ignore[arg-type]


def envelope(text: str) -> bytes:
    """A server's frame."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


def said(sock: FakeSocket) -> list[object]:
    """What a client has sent since, as a server reads it."""
    core = ServerProtocol(state=State.OPEN)
    core.receive_data(sock.written)
    sock.written = b""
    frames = core.events_received()
    assert all(isinstance(each, Frame) for each in frames)
    return [json.loads(each.data) for each in frames if isinstance(each, Frame)]


def test_clients_of_v1_number_what_they_say(sock: FakeSocket, numbered_peer: NumberedPeer) -> None:
    text = MESSAGE.decode()
    expected = answer(MESSAGE)
    numbered_peer.say()
    assert numbered_peer.count(envelope(f'["m",1,0,"{text}"]'), expected) == 1
    numbered_peer.say()
    assert said(sock) == [["m", 1, 0, text], ["m", 2, 1, text]]
    several = envelope('["a",2]') + envelope(f'["g",2,2,"fan",7,"5d2c","","{text}"]')
    assert numbered_peer.count(several + envelope('["a",2]')[:3], expected) == 1
    assert numbered_peer.count(envelope('["a",2]')[3:], expected) == 0
    assert numbered_peer.count(envelope('["j",3,2,"fan",7,"5d2c",true]'), expected) == 0
    numbered_peer.say()
    assert said(sock) == [["m", 3, 3, text]]


def test_clients_of_v1_acknowledge_what_they_only_hear(
    sock: FakeSocket, numbered_peer: NumberedPeer
) -> None:
    for number in range(1, 131):
        data = envelope(f'["g",{number},0,"fan",0,"","","{MESSAGE.decode()}"]')
        assert numbered_peer.count(data, answer(MESSAGE)) == 1
    assert said(sock) == [["a", 64], ["a", 128]]


def test_a_gap_in_the_numbers_is_an_error(numbered_peer: NumberedPeer) -> None:
    with pytest.raises(LoadError, match="number 2 instead of 1"):
        numbered_peer.count(envelope('["m",2,0,"hello"]'), answer(MESSAGE))


def test_who_publishes_takes_part_where_others_can() -> None:
    taking_part = [name for name in SERVERS if SCENARIOS["publish"].applies(name)]
    assert "django-ws-pool" in taking_part
    assert "channels-async-pubsub" in taking_part
    assert not {"socketio", "send-loop", "channels-sync-uvicorn"} & set(taking_part)
    two = [name for name in SERVERS if SCENARIOS["fan-two"].applies(name)]
    assert two == ["django-ws-two", "channels-two-redis", "channels-two-pubsub"]
    assert not SCENARIOS["chatty"].applies("django-ws-pool-v1")
    assert SCENARIOS["fan-kept-1000"].applies("django-ws-pool-v1")


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
