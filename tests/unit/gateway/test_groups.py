"""Who is in a group, with an engine that answers when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_ws.gateway.deliveries import Turn
from django_ws.gateway.engine.base import Failure
from django_ws.gateway.groups import Groups
from django_ws.gateway.shared import Shared
from django_ws.options import GroupConfig
from django_ws.wire.messages import TEXT, Position, Present, Publication, Recent


class Member:
    def __init__(self, conn: int) -> None:
        self.conn = conn
        self.groups: set[str] | None = None
        self.user = "7"
        self.info = b""
        self.accepted = True
        self.got: list[str] = []

    def send_shared(self, message: Shared) -> None:
        self.got.append(("past " if message.past else "") + message.data.decode())

    def missed(self, group: str, position: Position) -> None:
        self.got.append(f"missing before {position.offset}")


class FakeEngine:
    """Keeps the questions until the test answers them."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.asked: list[tuple[Position | None, int, Callable[[Any], None]]] = []
        self.positions: list[Callable[[Any], None]] = []

    def subscribe(self, group: str) -> None:
        self.said.append(("subscribe", group))

    def unsubscribe(self, group: str) -> None:
        self.said.append(("unsubscribe", group))

    def enter(self, group: str, member: Present) -> None:
        self.said.append(("enter", group, member.id))

    def leave(self, group: str, id: str) -> None:
        self.said.append(("leave", group, id))

    def position(self, group: str, done: Callable[[Any], None]) -> None:
        self.positions.append(done)

    def history(
        self, group: str, since: Position | None, limit: int, done: Callable[[Any], None]
    ) -> None:
        self.asked.append((since, limit, done))

    def answer(self, found: Any) -> Position | None:
        """Answer the oldest question; since when it was asked."""
        since, _, done = self.asked.pop(0)
        done(found)
        return since


class World:
    def __init__(self) -> None:
        self.engine = FakeEngine()
        options = {
            "kept": GroupConfig(history_size=10),
            "shown": GroupConfig(presence=True),
            "told": GroupConfig(join_leave=True),
        }
        self.groups = Groups("gw", options.get, lambda: 1000.0)
        self.groups.engine = self.engine  # type: ignore[assignment]
        self.joined: list[tuple[Position, bool]] = []
        self.began: list[tuple[Position, bool]] = []

    def join(self, member: Member, since: Position | None = None, **more: Any) -> None:
        self.groups.join("kept", member, since, self._done, self._began, **more)

    def place(self, offset: int) -> None:
        """Say how far the group is, to all who have asked."""
        waiting, self.engine.positions = self.engine.positions, []
        for answer in waiting:
            answer(Position(offset, "e"))

    def _done(self, position: Position, complete: bool) -> None:
        self.joined.append((position, complete))

    def _began(self, position: Position, complete: bool) -> None:
        self.began.append((position, complete))

    def publish(self, offset: int, *, exclude: str = "", group: str = "kept") -> None:
        self.groups.publish(group, publication(offset), "e", exclude)
        assert self.groups.deliveries.deliver(Turn(1000, 10**6))


def publication(offset: int) -> Publication:
    return Publication(offset, TEXT, str(offset).encode(), "", False, 0.0)


def recent(*offsets: int, upto: int, complete: bool = True, epoch: str = "e") -> Recent:
    return Recent([publication(each) for each in offsets], Position(upto, epoch), complete)


@pytest.fixture
def world() -> World:
    return World()


# ---------------------------------------------------------------- who is there


def test_a_group_is_subscribed_to_as_long_as_it_has_members(world: World) -> None:
    one, two = Member(1), Member(2)
    world.groups.join("room", one)
    world.groups.join("room", two)
    world.groups.join("room", two)
    assert set(one.groups or ()) == {"room"}
    assert dict(world.groups.members("room")) == {1: one, 2: two}
    world.groups.leave("room", one)
    world.groups.leave("room", one)  # which it is no more
    world.groups.leave("other", one)
    assert world.engine.said == [("subscribe", "room")]
    world.groups.leave_all(two)
    assert world.engine.said[1:] == [("unsubscribe", "room")]
    assert dict(world.groups.members("room")) == {}
    world.publish(1, group="room")
    assert one.got == two.got == []


@pytest.mark.parametrize("group", ["shown", "told"])
def test_who_is_there_is_told_only_of_whom_was_accepted(world: World, group: str) -> None:
    one = Member(1)
    one.accepted = False
    world.groups.join(group, one)
    world.groups.changed(one)
    assert world.engine.said == [("subscribe", group)]
    one.accepted = True
    world.groups.changed(one)
    world.groups.leave(group, one)
    assert world.engine.said[1:] == [
        ("enter", group, "gw-1"),
        ("leave", group, "gw-1"),
        ("unsubscribe", group),
    ]


def test_of_other_groups_nobody_is_told(world: World) -> None:
    one = Member(1)
    world.groups.join("room", one)
    world.groups.changed(one)
    world.groups.leave("room", one)
    assert world.engine.said == [("subscribe", "room"), ("unsubscribe", "room")]


def test_an_id_is_a_number_of_this_gateway(world: World) -> None:
    assert world.groups.conn_of(world.groups.id_of(17)) == 17
    for other in ("other-17", "17", "gw-x", "gw--1", ""):
        assert world.groups.conn_of(other) == 0


def test_whoever_published_may_be_left_out(world: World) -> None:
    one, two = Member(1), Member(2)
    world.join(one)
    world.join(two)
    world.place(0)
    world.publish(1, exclude="gw-1")
    world.publish(2, exclude="other-1")
    assert (one.got, two.got) == (["2"], ["1", "2"])


def test_what_is_published_before_it_is_told_the_position_is_not_repeated(world: World) -> None:
    one = Member(1)
    world.join(one)
    for offset in (4, 5, 6):
        world.publish(offset)
    assert one.got == []
    world.place(5)
    assert world.began == [(Position(5, "e"), True)]
    assert one.got == ["6"]
    world.publish(7)
    assert one.got == ["6", "7"]


def test_who_leaves_before_the_answer_is_no_member(world: World) -> None:
    one = Member(1)
    world.join(one)
    world.groups.leave("kept", one)  # type: ignore[arg-type]
    world.place(5)
    world.publish(6)
    assert (one.got, world.began, world.joined) == ([], [], [])
    assert world.engine.said == [("subscribe", "kept"), ("unsubscribe", "kept")]


def test_what_is_missing_is_told_in_order(world: World) -> None:
    """A member of a kind that can be told hears of it behind what was published before."""
    one = Member(1)
    world.join(one)
    world.place(0)
    world.groups.publish("kept", publication(1), "e", "")
    world.groups.missed("kept", Position(5, "e"))
    assert one.got == []
    world.publish(6)
    assert one.got == ["1", "missing before 5", "6"]


def test_who_joins_without_a_position_hears_how_far_the_group_is(world: World) -> None:
    world.join(Member(1))
    for answer in world.engine.positions:
        answer(Position(5, "e"))
    assert world.began == world.joined == [(Position(5, "e"), True)]
    world.join(Member(2))
    world.engine.positions[-1](Failure("away", "the engine is away"))
    assert world.joined[-1] == (Position(0, ""), False)


def test_only_groups_with_a_history_have_one(world: World) -> None:
    found = [world.groups.has_history(group) for group in ("kept", "shown", "room")]
    assert found == [True, False, False]
