"""From where on a client wants its groups."""

from __future__ import annotations

from django_ws.gateway.wanted import Wanted
from django_ws.wire.messages import Position

HERE, THERE = Position(5, "e"), Position(9, "e")


def test_each_position_serves_once() -> None:
    wanted = Wanted([("a", HERE), ("b", THERE)])
    assert wanted.take("a") == (HERE, False)
    assert wanted.take("a") == (None, False)
    assert wanted.take("b") == (THERE, False)
    assert wanted.take("c") == (None, False)
    wanted.again()
    assert wanted.take("a") == (HERE, False)


def test_one_without_a_group_may_be_any_groups() -> None:
    wanted = Wanted([("a", HERE), ("", THERE)])
    assert wanted.take("a") == (HERE, False)
    assert wanted.take("c") == (THERE, True)
    assert wanted.take("d") == (THERE, True)
    assert wanted.take("c") == (None, False)
