"""A handler's state as bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_ws.worker.state import MAX_STATE, decode_state, encode_state

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=10),
    st.binary(max_size=10),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), values, max_size=4))
@settings(max_examples=50, deadline=None)
def test_json_types_and_bytes_come_back_as_they_were(state: dict[str, Any]) -> None:
    again = decode_state(encode_state(state))
    assert again == state
    assert repr(again) == repr(state)  # == takes 1 for 1.0 and True


def test_an_empty_state_takes_no_bytes() -> None:
    assert encode_state({}) == b""
    assert encode_state({}, b"before") == b""
    assert decode_state(b"") == {}


def test_an_unchanged_state_is_the_same_object() -> None:
    before = encode_state({"a": [1, 2]})
    assert encode_state({"a": [1, 2]}, before) is before
    assert encode_state({"a": [1, 3]}, before) != before


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({1, 2}, "state['x'] is a set"),
        ((1, 2), "state['x'] is a tuple"),
        ([1, [object()]], "state['x'][1][0] is a object"),
        ({"y": {3: 4}}, "state['x']['y'] has a key that is no str: 3"),
        (bytearray(b"1"), "state['x'] is a bytearray"),
    ],
)
def test_what_would_come_back_as_something_else_is_named(value: Any, where: str) -> None:
    with pytest.raises(TypeError) as caught:
        encode_state({"x": value})
    assert str(caught.value).startswith(where)


def test_too_large_a_state_says_so() -> None:
    room = MAX_STATE - len(encode_state({"x": b"\0" * 60_000})) + 60_000
    assert len(encode_state({"x": b"\0" * room})) == MAX_STATE
    with pytest.raises(ValueError, match=f"{MAX_STATE + 1} bytes, over the limit of {MAX_STATE}"):
        encode_state({"x": b"\0" * (room + 1)})


def test_what_messagepack_cannot_hold_is_a_value_error() -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless
    for state in ({"x": 2**70}, endless, {"x": "\ud800"}):
        with pytest.raises(ValueError):  # noqa: PT011  # that it is one is what matters
            encode_state(state)
