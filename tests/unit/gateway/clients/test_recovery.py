"""A namespace that can be had back, between its session and what carries it, all of them fake."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from django_ws.gateway.clients.lasting import REPLACED, State
from django_ws.gateway.clients.recovery import OVERHEAD, LastingSocket
from django_ws.gateway.shared import Shared
from django_ws.wire.messages import BINARY, TEXT

from .test_conversation import FakeSession, Keeper


class FakeTransport:
    """Namespaces over an engine that sends into a list."""

    def __init__(self) -> None:
        self.engine = self
        self.carrier = SimpleNamespace(writable=True, backlog=7)
        self.pings = self.pongs = 0
        self.said: list[object] = []
        self.resumed = 0

    def send_packet(self, opcode: int, data: bytes) -> None:
        self.said.append(data.decode() if opcode == TEXT else data)

    def ping(self) -> None:
        self.pings += 1

    def welcome(self, socket: LastingSocket, sid: str, pid: str = "") -> None:
        self.said.append(("welcome", sid, pid))

    def release(self, socket: LastingSocket, code: int, reason: str) -> None:
        self.said.append(("release", code))

    def close(self, socket: LastingSocket, code: int, reason: str) -> None:
        socket.over(code, reason, left=True)

    def resume(self, socket: LastingSocket) -> None:
        self.resumed += 1


class World:
    def __init__(self, max_pending: int = 10_000) -> None:
        self.session, self.keeper = FakeSession(), Keeper()
        self.session.address = "1.2.3.4"  # type: ignore[attr-defined]
        self.socket = LastingSocket(
            "/a",
            self.session,  # type: ignore[arg-type]
            "sid",
            "pid",
            "ma-rk",
            self.keeper,
            max_pending,
        )
        self.transport = self.carry(0)

    def carry(self, had: int) -> FakeTransport:
        transport = self.transport = FakeTransport()
        self.socket.attach(transport, had)  # type: ignore[arg-type]
        assert transport.said.pop(0) == ("welcome", "sid", "pid")
        return transport

    def cut(self, code: int = 1006) -> None:
        self.socket.over(code, "", left=False)

    def back(self, offset: str) -> list[object] | None:
        """What a client with this offset is sent; None if it gets another session."""
        had = self.socket.had(offset)
        return None if had is None else self.carry(had).said

    def arrived(self) -> None:
        """The client answers a ping."""
        self.transport.pings += 1
        self.pong()

    def pong(self) -> None:
        self.transport.pongs += 1
        self.socket.settled()


@pytest.fixture
def world() -> World:
    return World()


def said(number: int) -> str:
    return f'42/a,["message","{number}","ma-rk-{number}"]'


def test_each_event_has_an_offset_behind_its_arguments(world: World) -> None:
    socket = world.socket
    socket.send(TEXT, b"1")
    socket.send(BINARY, b"\xff")
    socket.emit("none", b"[]", [])
    socket.emit("some", b'[1, {"a": 2}]', [])
    socket.send_shared(Shared("g", TEXT, b"text"))
    socket.send_shared(Shared("g", TEXT, b"[1]", "named", json=True))
    socket.send_shared(Shared("g", BINARY, b"\x00"))
    attached = '451-/a,["message",{"_placeholder":true,"num":0},"ma-rk-%d"]'
    assert world.transport.said == [
        said(1),
        attached % 2,
        b"\xff",
        '42/a,["none","ma-rk-3"]',
        '42/a,["some",1, {"a": 2},"ma-rk-4"]',
        '42/a,["message","text","ma-rk-5"]',
        '42/a,["named",[1],"ma-rk-6"]',
        attached % 7,
        b"\x00",
    ]
    world.cut()
    assert (
        world.back("ma-rk-1")
        == world.transport.said
        == [
            *(
                attached % 2,
                b"\xff",
                '42/a,["none","ma-rk-3"]',
                '42/a,["some",1, {"a": 2},"ma-rk-4"]',
            ),
            *('42/a,["message","text","ma-rk-5"]', '42/a,["named",[1],"ma-rk-6"]', attached % 7),
            b"\x00",
        ]
    )


def test_one_publication_has_an_offset_for_each_client() -> None:
    one, other = World(), World()
    message = Shared("g", TEXT, b"text")
    other.socket.send(TEXT, b"1")
    for world in (one, other):
        world.socket.send_shared(message)
        (*_, last) = world.transport.said
        assert isinstance(last, str)
        number = 1 if world is one else 2
        assert json.loads(last[5:]) == ["message", "text", f"ma-rk-{number}"]


def test_a_publication_that_clients_break_off_over_is_not_for_them(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    message = Shared("g", TEXT, b"x", "disconnect")
    for _ in range(2):
        world.socket.send_shared(message)
    assert world.transport.said == []
    assert caplog.text.count("'disconnect'") == 1


def test_a_client_goes_on_where_it_was(world: World) -> None:
    for number in (1, 2):
        world.socket.send(TEXT, b"%d" % number)
    world.cut()
    assert (world.socket.state, world.session.ended) == (State.PARKED, [])
    world.socket.send(TEXT, b"3")
    assert world.back("ma-rk-1") == [said(2), said(3)]
    world.socket.send(TEXT, b"4")
    assert world.transport.said[-1] == said(4)
    assert world.keeper.log == ["park", "unpark"]
    assert world.session.drained == 3
    world.cut()
    assert world.back("ma-rk-4") == []


@pytest.mark.parametrize("offset", ["", "another-1", "ma-rk", "x"])
def test_a_client_without_an_offset_of_this_session_has_nothing_of_it(
    world: World, offset: str
) -> None:
    world.socket.send(TEXT, b"1")
    world.cut()
    assert world.back(offset) == [said(1)]
    world.arrived()
    world.cut()
    assert world.back(offset) is None


@pytest.mark.parametrize("offset", ["ma-rk-2", "ma-rk--1", "ma-rk-", "ma-rk-x", "ma-rk-²"])
def test_what_was_never_sent_cannot_have_come(world: World, offset: str) -> None:
    world.socket.send(TEXT, b"1")
    world.cut()
    assert world.back(offset) in (None, [said(1)])
    assert world.socket.had("ma-rk-2") is None


def test_what_was_sent_before_an_answered_ping_is_forgotten(world: World) -> None:
    world.socket.send(TEXT, b"1")
    world.transport.pings += 1
    world.socket.send(TEXT, b"2")
    world.transport.pings += 1
    world.socket.send(TEXT, b"3")
    world.pong()  # the first one's
    world.cut()
    assert world.socket.had("") is None
    assert world.socket.had("ma-rk-1") == 1
    assert world.back("ma-rk-1") == [said(2), said(3)]
    world.pong()  # over the new transport nothing was asked before
    world.transport.pings = 1
    world.socket.settled()
    assert world.socket.had("ma-rk-1") is None


def test_pongs_of_a_former_transport_count_no_more(world: World) -> None:
    for _ in range(5):
        world.arrived()
    world.socket.send(TEXT, b"1")
    world.cut()
    world.back("")
    world.arrived()
    assert world.socket.had("") is None


def test_to_a_client_that_is_there_the_oldest_is_lost(world: World) -> None:
    for number in range(1, 6):
        world.socket.send(TEXT, b"x" * 3000)
        assert world.transport.pings == (1 if number >= 2 else 0)  # above a half
    world.cut()
    assert world.socket.had("ma-rk-1") is None
    assert world.socket.had("ma-rk-2") == 2
    assert world.keeper.log == ["park"]


def test_too_much_for_a_client_that_is_away() -> None:
    world = World(2 * (len(said(1)) + OVERHEAD))
    world.cut()
    for number in range(1, 3):
        world.socket.send(TEXT, b"%d" % number)
    assert world.keeper.log == ["park"]
    assert world.socket.backlog == 2 * (len(said(1)) + OVERHEAD)
    for number in range(3, 6):
        world.socket.send(TEXT, b"%d" % number)
    assert world.keeper.log == ["park", "too much waits for the client"]
    world.socket.give_up("too much")
    assert world.session.ended == [(1006, "too much")]
    world.socket.send(TEXT, b"6")


@pytest.mark.parametrize("code", [1000, 1005, 1006, 1011, 1012, 1013, 3000])
def test_the_end_of_a_transport_is_not_the_clients_wish(world: World, code: int) -> None:
    world.cut(code)
    assert world.socket.state is State.PARKED
    world.socket.give_up("too late")
    assert world.session.ended == [(code, "too late")]
    assert world.keeper.log == ["park", "forget"]


@pytest.mark.parametrize("code", [1001, 1002, 1007, 1008, 1009, 3008, 4000])
def test_other_ends_are_final(world: World, code: int) -> None:
    world.cut(code)
    assert world.session.ended == [(code, "")]
    assert world.keeper.log == ["forget"]


def test_who_leaves_the_namespace_is_gone(world: World) -> None:
    world.socket.over(1000, "", left=True)
    assert world.session.ended == [(1000, "")]
    assert world.keeper.log == ["forget"]


def test_a_session_that_was_closed_does_not_wait(world: World) -> None:
    world.session.live = False
    world.cut(1012)
    assert world.session.ended == [(1012, "")]


def test_where_there_is_no_room_it_ends(world: World) -> None:
    world.keeper.room = False
    world.cut()
    assert world.session.ended == [(1006, "")]


def test_it_may_be_closed_here_and_away(world: World) -> None:
    world.cut()
    world.socket.close(4401, "logged out")
    assert world.session.ended == [(4401, "logged out")]
    world = World()
    world.socket.close(4000, "")
    assert world.session.ended == [(4000, "")]


def test_a_client_comes_back_before_it_was_missed(world: World) -> None:
    world.socket.send(TEXT, b"1")
    before = world.transport
    assert world.back("") == [said(1)]
    assert before.said == [said(1), ("release", REPLACED)]
    assert world.keeper.log == []
    world.socket.give_up("no worker")
    assert world.transport.said[-1] == ("release", REPLACED)
    assert world.session.ended == [(1006, "no worker")]


def test_the_session_finds_it_ready_while_it_is_away(world: World) -> None:
    world.transport.carrier.writable = False
    assert not world.socket.writable
    assert world.socket.backlog == 7
    world.cut()
    assert world.socket.writable
    world.socket.resume()
    world.socket.reply(1, 0, b"[]", [])
    world.back("")
    world.socket.resume()
    assert world.transport.resumed == 1
