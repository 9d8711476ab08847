"""A session of django-ws.v1 between its session and its connections, all of them fake."""

from __future__ import annotations

import json
from typing import Any

import pytest

from django_ws.gateway.clients import v1
from django_ws.gateway.clients.conversation import Conversation
from django_ws.gateway.clients.lasting import State
from django_ws.gateway.clients.numbering import Gap
from django_ws.gateway.clients.receipts import SWEEP, Receipts
from django_ws.gateway.outgoing import Membership
from django_ws.gateway.shared import Shared
from django_ws.wire.messages import BINARY, TEXT, Kind, Position
from tests.unit.gateway.fakes import FakeLoop

PLACEHOLDER = b'{"_placeholder":true,"num":0}'


class FakeSession:
    """Handles nothing unless told to."""

    conn = 1

    def __init__(self) -> None:
        self.live = True
        self.seq = 1
        self.handled_seq = 1
        self.more = True
        self.came: list[Any] = []
        self.ended: list[tuple[int, str]] = []
        self.drained = self.resumed = 0

    def attach(self, client: object) -> None:
        raise AssertionError

    def receive(self, opcode: int, data: bytes) -> bool:
        self.seq += 1
        self.came.append((opcode, data))
        return self.more

    def call(
        self, kind: int, name: str, data: bytes, attachments: list[bytes], answer: bool
    ) -> tuple[int, bool]:
        self.seq += 1
        self.came.append((Kind(kind), name, data, attachments, answer))
        return self.seq, self.more

    def writable(self) -> None:
        self.drained += 1

    def resume(self) -> None:
        self.resumed += 1

    def disconnected(self, code: int, reason: str) -> None:
        self.live = False
        self.ended.append((code, reason))


class FakeLine:
    def __init__(self) -> None:
        self.writable = True
        self.carrier = self
        self.backlog = 0
        self.said: list[Any] = []
        self.ended: list[int] = []
        self.resumed = 0

    def send(self, opcode: int, envelope: bytes) -> None:
        if opcode == TEXT:
            self.said.append(json.loads(envelope))
        else:
            head, _, body = envelope.partition(b"\n")
            self.said.append([*json.loads(head), body])

    def end(self, code: int, reason: str) -> None:
        self.ended.append(code)

    def resume(self) -> None:
        self.resumed += 1


class Keeper:
    def __init__(self) -> None:
        self.room = True
        self.log: list[str] = []

    def park(self, token: str) -> bool:
        self.log.append("park")
        return self.room

    def unpark(self, token: str) -> None:
        self.log.append("unpark")

    def forget(self, token: str) -> None:
        self.log.append("forget")

    def give_up_soon(self, token: str, reason: str) -> None:
        self.log.append(reason)


class World:
    def __init__(self, max_pending: int = 1000) -> None:
        self.loop = FakeLoop()
        self.session, self.keeper, self.line = FakeSession(), Keeper(), FakeLine()
        self.conversation = Conversation(
            self.session,
            "token",
            None,
            self.keeper,
            Receipts(self.loop),  # type: ignore[arg-type]
            max_pending,
        )
        self.conversation.attach(self.line, 0)

    def receive(self, *envelope: object, body: bytes | None = None) -> bool:
        text = json.dumps(envelope).encode()
        if body is None:
            return self.conversation.receive(TEXT, text)
        return self.conversation.receive(BINARY, text + b"\n" + body)

    def cut(self) -> None:
        self.conversation.lost(self.line, 1006, "", ours=False)

    def back(self, had: int) -> FakeLine:
        self.line = FakeLine()
        self.conversation.attach(self.line, had)
        return self.line


@pytest.fixture
def world() -> World:
    return World()


def test_what_comes_is_the_sessions(world: World) -> None:
    assert world.receive("m", 1, 0, "höre")
    world.receive("m", 2, 0, body=b"\n\xff")
    world.receive("r", 3, 0, {"a": 1})
    world.receive("r", 4, 0, body=b"\x01")
    world.receive("e", 5, 0, "typing", [1, 2])
    world.receive("e", 6, 0, "typing", body=b"\x02")
    world.receive("x", 7, 0, "rename", [])
    world.session.more = False
    assert not world.receive("x", 8, 0, "rename", body=b"\x03")
    assert world.session.came == [
        (TEXT, "höre".encode()),
        (BINARY, b"\n\xff"),
        (Kind.REQUEST, "", b'{"a": 1}', [], True),
        (Kind.REQUEST, "", PLACEHOLDER, [b"\x01"], True),
        (Kind.EVENT, "typing", b"[1, 2]", [], False),
        (Kind.EVENT, "typing", b"[%b]" % PLACEHOLDER, [b"\x02"], False),
        (Kind.EVENT, "rename", b"[]", [], True),
        (Kind.EVENT, "rename", b"[%b]" % PLACEHOLDER, [b"\x03"], True),
    ]


def test_what_the_session_says_is_an_envelope() -> None:
    world = World(10_000)
    conversation, session = world.conversation, world.session
    world.receive("r", 1, 0, 5)
    session.handled_seq = 2
    conversation.send(TEXT, b"text")
    conversation.send(BINARY, b"\x00")
    conversation.reply(2, 0, b"[1]", [])
    conversation.reply(2, 0, PLACEHOLDER, [b"\x01"])
    conversation.reply(2, 4400, b"no on_request", [])
    conversation.emit("tick", b"[1]", [])
    conversation.emit("image", b"[%b]" % PLACEHOLDER, [b"\xff"])
    conversation.send_shared(Shared("g", TEXT, b"a", offset=5, epoch="e"))
    conversation.send_shared(Shared("g", TEXT, b"a", offset=5, epoch="e", past=True))
    conversation.send_shared(Shared("g", TEXT, b'{"a":1}', "named", True))
    conversation.send_shared(Shared("", TEXT, b"to a user"))
    conversation.send_shared(Shared("", TEXT, b"to a user", "named"))
    conversation.send_shared(Shared("", BINARY, b"\x02", "named"))
    conversation.send_shared(Shared("", BINARY, b"\x02"))
    conversation.tell(Membership("g", Position(5, "e"), recovered=False))
    conversation.tell(Membership("g", None))
    kinds = [
        ["m", "text"],
        ["m", b"\x00"],
        ["ok", 1, [1]],
        ["ok", 1, b"\x01"],
        ["err", 1, 4400, "no on_request"],
        ["e", "tick", [1]],
        ["e", "image", b"\xff"],
        ["g", "g", 5, "e", "", "a"],
        ["h", "g", 5, "e", "", "a"],
        ["g", "g", 0, "", "named", [{"a": 1}]],
        ["m", "to a user"],
        ["e", "named", ["to a user"]],
        ["e", "named", b"\x02"],
        ["m", b"\x02"],
        ["j", "g", 5, "e", False],
        ["l", "g"],
    ]
    assert world.line.said == [
        [kind, number, 1, *rest] for number, (kind, *rest) in enumerate(kinds, 1)
    ]


def test_a_publication_is_made_once_for_all(world: World) -> None:
    other = World()
    message = Shared("g", TEXT, b"a" * 100, offset=1, epoch="e")
    for each in (world, other):
        each.conversation.send_shared(message)
    assert len(message._encodings) == 1


@pytest.mark.parametrize(
    "envelope", [["hello", {}], ["m", 2, 0, "gap"], ["m", 1, 1, "never sent"], ["z"]]
)
def test_who_breaks_the_protocol_is_found_out(world: World, envelope: list[object]) -> None:
    with pytest.raises((v1.Malformed, Gap)):
        world.receive(*envelope)


def test_what_is_handled_is_told_within_a_second(world: World) -> None:
    world.receive("m", 1, 0, "a")
    world.receive("m", 2, 0, "b")
    world.loop.advance(SWEEP + 0.1)
    assert world.line.said == []
    world.session.handled_seq = 2
    world.loop.advance(SWEEP)
    assert world.line.said == [["a", 1]]
    world.session.handled_seq = 3
    world.loop.advance(SWEEP)
    assert world.line.said == [["a", 1], ["a", 2]]
    assert not world.loop.timers


def test_what_something_else_has_told_is_not_told_again(world: World) -> None:
    world.receive("m", 1, 0, "a")
    world.session.handled_seq = 2
    world.conversation.send(TEXT, b"a")
    world.loop.advance(5)
    assert world.line.said == [["m", 1, 1, "a"]]


def test_a_probe_is_answered_at_once(world: World) -> None:
    world.receive("p", 0)
    assert world.line.said == [["a", 0]]


def test_after_a_cut_all_that_is_missing_is_said_again(world: World) -> None:
    for text in (b"a", b"b", b"c"):
        world.conversation.send(TEXT, text)
    world.receive("a", 1)
    world.cut()
    assert world.conversation.state is State.PARKED
    assert world.conversation.writable
    world.conversation.send(TEXT, b"d")
    line = world.back(2)
    assert line.said == [["m", 3, 0, "c"], ["m", 4, 0, "d"]]
    assert world.keeper.log == ["park", "unpark"]
    assert world.session.ended == []
    assert world.session.resumed


def test_what_was_handled_meanwhile_is_told_after_a_cut(world: World) -> None:
    world.receive("m", 1, 0, "a")
    world.cut()
    world.session.handled_seq = 2
    world.loop.advance(5)
    line = world.back(0)
    world.loop.advance(SWEEP + 0.1)
    assert line.said == [["a", 1]]


def test_a_number_that_came_is_not_handled_again(world: World) -> None:
    world.receive("m", 1, 0, "a")
    world.cut()
    world.back(0)
    assert world.receive("m", 1, 0, "a")
    world.receive("m", 2, 0, "b")
    assert [data for _, data in world.session.came] == [b"a", b"b"]


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1002, 1007, 1008, 1009, 3000, 3008, 4999])
def test_these_ends_are_the_sessions(world: World, code: int) -> None:
    world.conversation.lost(world.line, code, "why", ours=False)
    assert world.session.ended == [(code, "why")]
    assert world.keeper.log == ["forget"]


@pytest.mark.parametrize("code", [1006, 1012, 1011, 4000])
def test_these_are_not(world: World, code: int) -> None:
    world.conversation.lost(world.line, code, "", ours=False)
    assert world.session.ended == []
    world.conversation.give_up("it did not come back")
    assert world.session.ended == [(code, "it did not come back")]


def test_what_we_close_is_over(world: World) -> None:
    world.conversation.close(1012, "service restart")
    assert world.line.ended == [1012]
    world.conversation.lost(world.line, 1012, "service restart", ours=True)
    assert world.session.ended == [(1012, "service restart")]


def test_where_there_is_no_room_nobody_waits(world: World) -> None:
    world.keeper.room = False
    world.cut()
    assert world.session.ended == [(1006, "")]


def test_one_that_is_closed_while_parked_is_over_at_once(world: World) -> None:
    world.cut()
    world.conversation.close(4401, "logged out")
    assert world.session.ended == [(4401, "logged out")]
    world.conversation.send(TEXT, b"nobody hears it")
    assert world.conversation.numbering.sent == 0


def test_the_newest_connection_has_it(world: World) -> None:
    old = world.line
    world.back(0)
    assert old.ended == [3505]
    world.conversation.lost(old, 3505, "", ours=True)
    assert world.conversation.state is State.CONNECTED
    assert world.session.ended == []


def test_too_much_for_a_client_that_is_away(world: World) -> None:
    world.cut()
    for _ in range(12):
        world.conversation.send(TEXT, b"x" * 100)
    assert world.keeper.log == ["park", "too much waits for the client"]
    assert world.conversation.numbering.sent < 12
    assert world.session.ended == []  # it is in the middle of something


def test_one_that_acknowledges_nothing_is_waited_for(world: World) -> None:
    conversation = world.conversation
    sent = 0
    while conversation.writable:
        conversation.send(TEXT, b"x" * 100)
        sent += 1
    assert conversation.backlog >= 1000
    assert world.line.said[-1] == ["a", 0]  # asks for what the client owes
    drained = world.session.drained
    world.receive("a", 1)
    assert conversation.writable == (conversation.numbering.size < 1000)
    world.receive("a", sent)
    assert world.session.drained == drained + 1
    assert conversation.backlog == 0
    world.line.writable = False
    assert not conversation.writable


def test_one_that_is_given_up_has_no_connection_any_more(world: World) -> None:
    world.conversation.give_up("its client does not know what it has")
    assert world.line.ended == [3505]
    world.conversation.lost(world.line, 3505, "", ours=True)
    assert world.session.ended == [(1006, "its client does not know what it has")]


def test_one_that_is_about_to_end_cannot_be_had_back() -> None:
    """A client may come between the last that could be kept and the end, and would hear nothing."""
    world = World(max_pending=200)
    conversation = world.conversation
    assert conversation.can_go_on(0)
    assert not conversation.can_go_on(1)
    conversation.lost(world.line, 1006, "", ours=False)
    conversation.send(TEXT, b"x" * 100)
    assert conversation.can_go_on(0)
    conversation.send(TEXT, b"x" * 100)
    assert world.keeper.log[-1] == "too much waits for the client"
    assert not conversation.can_go_on(0)


def test_one_that_its_handler_has_closed_cannot_be_had_back() -> None:
    """Its old connection may take a while to end; a new one would never hear of the close."""
    world = World()
    world.session.live = False
    assert not world.conversation.can_go_on(0)
