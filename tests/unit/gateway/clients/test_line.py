"""One connection of a client of django-ws.v1: its hello, and what ends it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from django_ws.gateway.clients import v1
from django_ws.gateway.clients.context import Context
from django_ws.gateway.clients.line import Line, State
from django_ws.gateway.pings import Pings, Stalls
from django_ws.options import Limits
from django_ws.wire.messages import TEXT
from tests.unit.gateway.fakes import FakeLoop


class FakeConnection:
    def __init__(self, line: Line) -> None:
        self.line = line
        self.writable, self.backlog = True, 0
        self.closed: tuple[int, str] | None = None
        self.sent: list[Any] = []

    def send(self, opcode: int, data: bytes) -> None:
        self.sent.append(json.loads(data))

    def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)

    def resume(self) -> None:
        pass


class FakeConversation:
    def __init__(self) -> None:
        self.log: list[Any] = []

    def attach(self, line: Line, had: int) -> None:
        self.log.append(("attach", had))

    def receive(self, opcode: int, data: bytes) -> bool:
        self.log.append(data)
        if data == b"bad":
            raise v1.Malformed("bad " * 100)
        return False

    def lost(self, line: Line, code: int, reason: str, *, ours: bool) -> None:
        self.log.append(("lost", code, ours))

    def drained(self) -> None:
        self.log.append("drained")

    def beat(self) -> None:
        self.log.append("beat")


class Greeter:
    def __init__(self) -> None:
        self.openings: list[v1.Opening] = []

    def __call__(self, line: Line, opening: v1.Opening) -> None:
        self.openings.append(opening)


class World:
    def __init__(self) -> None:
        self.loop = FakeLoop()
        limits = Limits()
        self.counters: Counter[str] = Counter()
        context = Context(
            self.loop,  # type: ignore[arg-type]
            limits,
            self.counters,
            Pings(25, 8, 1),
            Stalls(10, 1),
            lambda _: None,
        )
        self.greeter = Greeter()
        self.line = Line(context, 1, self.greeter, 10.0)
        self.connection = FakeConnection(self.line)
        self.line.attach(self.connection)  # type: ignore[arg-type]

    def welcome(self) -> FakeConversation:
        conversation = FakeConversation()
        self.line.receive(TEXT, b'["hello",{"token":"t"}]')
        welcome = v1.Welcome("t", "c", False, 0, 33000, 60000)
        self.line.welcome(conversation, welcome, 3)  # type: ignore[arg-type]
        return conversation


@pytest.fixture
def world() -> World:
    return World()


def test_a_hello_and_a_welcome(world: World) -> None:
    conversation = world.welcome()
    assert [opening.token for opening in world.greeter.openings] == ["t"]
    assert [envelope[0] for envelope in world.connection.sent] == ["welcome"]
    assert not world.line.receive(TEXT, b"next")
    world.line.writable()
    world.line.beat()
    assert conversation.log == [("attach", 3), b"next", "drained", "beat"]
    world.loop.advance(20)
    assert world.connection.closed is None


def test_without_a_hello_it_ends(world: World) -> None:
    world.loop.advance(9)
    assert world.connection.closed is None
    world.loop.advance(2)
    assert world.connection.closed == (4408, "no hello came")


def test_nothing_else_comes_first_or_before_the_welcome(world: World) -> None:
    world.line.receive(TEXT, b'["a",0]')
    assert world.connection.closed is not None
    assert world.connection.closed[0] == 3501
    assert world.greeter.openings == []
    assert world.counters["closed_protocol"] == 1
    other = World()
    other.line.receive(TEXT, b'["hello",{}]')
    assert other.connection.closed is None
    other.line.receive(TEXT, b'["hello",{}]')
    assert other.connection.closed is not None
    assert other.connection.closed[0] == 3501
    assert len(other.greeter.openings) == 1


def test_who_breaks_the_protocol_is_told_in_a_frame_that_can_be(world: World) -> None:
    conversation = world.welcome()
    assert world.line.receive(TEXT, b"bad")
    assert world.connection.closed is not None
    code, reason = world.connection.closed
    assert code == 3501
    assert len(reason) <= 123
    world.line.disconnected(3501, reason)
    assert conversation.log[-1] == ("lost", 3501, True)


def test_a_client_that_leaves_before_its_welcome_is_not_waited_for(world: World) -> None:
    world.line.receive(TEXT, b'["hello",{}]')
    world.line.disconnected(1006, "")
    assert world.line.ended.result() is True
    assert world.line.state is State.OVER
    world.line.end(4403, "nobody hears it")
    assert world.connection.closed is None


def test_an_end_is_told_once_and_by_whom(world: World) -> None:
    conversation = world.welcome()
    world.line.disconnected(1006, "")
    world.line.disconnected(1006, "")
    assert conversation.log[1:] == [("lost", 1006, False)]
