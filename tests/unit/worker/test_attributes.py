"""Which attributes of a handler move, and what is said of those that do not."""

from __future__ import annotations

import datetime
import functools
import threading
from typing import Any

import msgspec
import pytest
from django.utils.functional import cached_property
from hypothesis import given, settings

from django_ws.base import WebSocketHandler
from django_ws.worker.attributes import MAX_ATTRIBUTES, Packed, attributes_of, why_not
from tests.unit.worker.test_state import values


def decoded(packed: Packed) -> Any:
    return msgspec.msgpack.decode(packed.data) if packed.data else {}


def packed(**attributes: Any) -> Packed:
    found = Packed()
    found.pack(attributes)
    return found


def endless() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@given(values)
@settings(max_examples=50, deadline=None)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    found = packed(value=value, _private=1)
    assert found.movable
    assert repr(decoded(found)) == repr({"value": value, "_private": 1})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (threading.Lock(), "self.x is a _thread.lock"),
        ((1, 2), "self.x is a tuple"),
        ([1, {"a": {2}}], "self.x[1]['a'] is a set"),
        (datetime.date(2030, 1, 1), "self.x is a datetime.date"),
        ({1: 2}, "self.x has a key that is no str: 1"),
        (2**70, "self.x holds an int of over 64 bits"),
        (endless(), "self.x is nested too deeply"),
        ("\ud800", "self.x cannot be encoded"),
        (b"x" * MAX_ATTRIBUTES, f"self.x has {MAX_ATTRIBUTES + 5} bytes, over the limit"),
    ],
)
def test_what_cannot_move_is_named_and_leaves_the_others(value: Any, said: str) -> None:
    found = packed(room="a", x=value, n=1)
    assert not found.movable
    assert decoded(found) == {"room": "a", "n": 1}
    assert why_not({"room": "a", "x": value}).startswith(said)


def test_the_limit_is_for_all_together() -> None:
    halves = {"a": "x" * (MAX_ATTRIBUTES // 2 + 1), "b": "y" * (MAX_ATTRIBUTES // 2), "c": 3}
    found = packed(**halves)
    assert not found.movable
    assert set(decoded(found)) == {"b", "c"}
    assert why_not(halves) == f"its attributes have over {MAX_ATTRIBUTES} bytes in all"


def test_every_change_is_seen_also_inside_and_of_the_type() -> None:
    found = Packed()
    attributes: dict[str, Any] = {"rows": [1], "flag": True}
    for change in (
        lambda: attributes["rows"].append(2),
        lambda: attributes.update(flag=1),
        lambda: attributes.update(flag=1.0),
        lambda: attributes.pop("flag"),
        lambda: attributes.update(lock=threading.Lock()),
        lambda: attributes["rows"].append(3),
        lambda: attributes.pop("lock"),
        lambda: attributes.clear(),
    ):
        change()
        found.pack(attributes)
        plain = {name: value for name, value in attributes.items() if name != "lock"}
        assert repr(decoded(found)) == repr(plain)
        assert found.movable is ("lock" not in attributes)


def test_what_is_unchanged_stays_the_same_object() -> None:
    found = packed(a=[1, 2])
    before = found.data
    found.pack({"a": [1, 2]})
    assert found.data is before


def test_what_is_too_large_is_not_encoded_after_every_hook() -> None:
    found = Packed()
    large = {"n": 1, "rows": ["x" * 100] * 50_000}
    found.pack(large)
    assert not found.movable
    until = found._again
    for n in range(100):
        large["n"] = n
        found.pack(large)
        assert decoded(found) == {"n": n}  # the others are
    assert found._left_out
    del large["rows"][1:]  # type: ignore[attr-defined]
    found._again = until
    found.pack(large, at_once=True)
    assert found.movable
    assert decoded(found) == {"n": 99, "rows": ["x" * 100]}


class Kept(WebSocketHandler):
    __slots__ = ("__mangled", "slot", "unset")

    room = "of the class"

    def __init__(self) -> None:
        self.made = 1

    @functools.cached_property
    def standard(self) -> object:
        return object()

    @cached_property
    def djangos(self) -> object:
        return object()

    @property
    def guarded(self) -> str:
        return self.__dict__["guarded"]

    def fill(self) -> None:
        self.slot = [1]
        self.__mangled = 2
        self.room = "of the instance"
        self.__dict__["guarded"] = "x"  # there is no setter
        assert self.standard is not self.djangos

    def look(self) -> tuple[Any, ...]:
        return (self.slot, self.__mangled, self.room, self.guarded, self.made)


def test_slots_properties_and_shadowed_class_attributes_move_and_caches_do_not() -> None:
    known = attributes_of(Kept)
    before, after = Kept(), Kept()
    before.fill()
    before.made = 3
    found = Packed()
    found.pack(known.of(before))
    assert found.movable
    known.give(after, decoded(found))
    assert after.look() == ([1], 2, "of the instance", "x", 3)
    assert not hasattr(after, "unset")
    assert "standard" not in vars(after)
    assert after.standard is not before.standard


def test_a_handler_without_attributes_has_none() -> None:
    assert attributes_of(WebSocketHandler).of(WebSocketHandler()) == {}
