"""What connections hear before they become members; the engine answers when the test says so."""

from __future__ import annotations

import pytest

from django_ws.gateway import catching_up as module
from django_ws.gateway.engine.base import Failure
from django_ws.wire.messages import Position
from tests.unit.gateway.test_groups import Member, World, recent


@pytest.fixture
def world() -> World:
    return World()


def test_what_came_before_comes_first_and_what_came_meanwhile_once(world: World) -> None:
    one = Member(1)
    world.join(one, Position(2, "e"))
    world.publish(4)  # is in the history by the time that this is asked
    world.publish(5)
    assert one.got == []
    assert world.engine.answer(recent(3, 4, upto=4)) == Position(2, "e")
    assert one.got == ["past 3", "past 4", "5"]
    assert world.began == [(Position(2, "e"), True)]
    assert world.joined == [(Position(5, "e"), True)]
    world.publish(6)
    assert one.got[-1] == "6"


def test_a_long_past_is_asked_for_in_parts(world: World) -> None:
    one = Member(1)
    world.join(one, Position(0, "e"))
    world.engine.answer(recent(1, 2, upto=3))
    assert world.joined == []
    assert world.engine.answer(recent(3, upto=3)) == Position(2, "e")
    assert one.got == ["past 1", "past 2", "past 3"]
    assert world.began == [(Position(0, "e"), True)]
    assert world.joined == [(Position(3, "e"), True)]


def test_what_is_missing_is_said_before_the_rest_comes(world: World) -> None:
    one = Member(1)
    world.join(one, Position(2, "old"))
    world.engine.answer(recent(7, 8, upto=8, complete=False))
    assert world.began == [(Position(6, "e"), False)]
    assert world.joined == [(Position(8, "e"), False)]
    assert one.got == ["past 7", "past 8"]


def test_more_than_is_held_is_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 2)
    one = Member(1)
    world.join(one, Position(0, "e"))
    for offset in (2, 3, 4):
        world.publish(offset)
    world.engine.answer(recent(1, upto=1))
    assert one.got == ["past 1"]
    world.publish(5)
    assert world.engine.answer(recent(2, 3, 4, 5, upto=5)) == Position(1, "e")
    assert one.got == ["past 1", "past 2", "past 3", "past 4", "past 5"]
    assert world.joined == [(Position(5, "e"), True)]


def test_who_was_excluded_does_not_get_it_later_either(world: World) -> None:
    one = Member(1)
    world.join(one, Position(1, "e"))
    world.publish(2, exclude="gw-1")
    world.engine.answer(recent(upto=1))
    assert one.got == []


def test_an_engine_that_fails_lets_it_in_with_a_gap(world: World) -> None:
    one = Member(1)
    world.join(one, Position(1, "e"))
    world.publish(3)
    world.engine.answer(Failure("away", "the engine is away"))
    assert world.began == [(Position(0, ""), False)]
    assert world.joined == [(Position(3, "e"), False)]
    assert one.got == ["3"]


def test_who_leaves_meanwhile_gets_nothing(world: World) -> None:
    one = Member(1)
    world.join(one, Position(1, "e"))
    world.groups.leave("kept", one)
    assert world.engine.said == [("subscribe", "kept"), ("unsubscribe", "kept")]
    world.engine.answer(recent(2, upto=2))
    assert (one.got, world.joined) == ([], [])
    world.publish(3)
    assert one.got == []


def test_who_has_caught_up_may_be_the_last_to_leave(world: World) -> None:
    one, two = Member(1), Member(2)
    world.join(one)
    world.join(two, Position(1, "e"))
    world.groups.leave("kept", one)
    assert ("unsubscribe", "kept") not in world.engine.said
    world.engine.answer(recent(upto=1))
    world.publish(2)
    assert two.got == ["2"]


def test_a_guessed_position_beyond_the_group_is_its_end(world: World) -> None:
    one = Member(1)
    world.join(one, Position(9, "e"), guess=True)
    world.engine.answer(recent(1, 2, upto=2, complete=False))
    assert one.got == []
    assert world.began == world.joined == [(Position(2, "e"), True)]
