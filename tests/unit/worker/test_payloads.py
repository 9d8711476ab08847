"""Values on the wire: JSON beside bytes."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st

from django_ws.worker.payloads import Payload, pack, unpack

plain = st.none() | st.booleans() | st.integers() | st.text() | st.binary()
values = st.recursive(
    plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner), max_leaves=9
)


@given(values)
def test_what_is_packed_comes_back(value: Any) -> None:
    assert unpack(*pack(value)) == value


def test_bytes_stand_beside_the_json_in_order() -> None:
    assert pack([b"a", {"b": bytearray(b"b")}, memoryview(b"c")]) == Payload(
        b'[{"_placeholder":true,"num":0},{"b":{"_placeholder":true,"num":1}},'
        b'{"_placeholder":true,"num":2}]',
        [b"a", b"b", b"c"],
    )


def test_what_django_encodes_is_encoded() -> None:
    data, attachments = pack({"day": date(2026, 1, 2), "price": Decimal("1.50")})
    assert (data, attachments) == (b'{"day":"2026-01-02","price":"1.50"}', [])


@pytest.mark.parametrize(
    "value",
    ["\ud800", ["a", "\udfff"], ["\u2028\x00é"], mark_safe("<b>"), [mark_safe("é")], [2**70, -0.0]],
)
def test_what_is_encoded_quickly_and_what_is_not_are_alike(value: object) -> None:
    data, attachments = pack(value)
    assert attachments == []
    assert unpack(data, []) == json.loads(data) == value


@pytest.mark.parametrize("data", [b'["\\ud800", 1]', b"[NaN]", b"[1e999]", b" [ 1 ] "])
def test_all_json_that_python_reads_is_read(data: bytes) -> None:
    assert repr(unpack(data, [])) == repr(json.loads(data))


@pytest.mark.parametrize(("value", "error"), [(object(), TypeError), (float("nan"), ValueError)])
def test_what_cannot_be_encoded_raises(value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        pack(value)


def test_a_circle_raises() -> None:
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="Circular"):
        pack(circle)


@pytest.mark.parametrize("number", [1, -1, '"0"', "true", "null", "0.0"])
def test_an_attachment_that_is_not_there(number: object) -> None:
    with pytest.raises(ValueError, match="an attachment is missing"):
        unpack(f'[{{"_placeholder":true,"num":{number}}}]'.encode(), [b"a"])


def test_only_a_true_placeholder_stands_for_bytes() -> None:
    data = b'[{"_placeholder":1,"num":0},{"num":0},{"_placeholder":true,"num":0}]'
    assert unpack(data, [b"a"]) == [{"_placeholder": 1, "num": 0}, {"num": 0}, b"a"]
    # Without attachments it is whatever it says.
    assert unpack(b'{"_placeholder":true,"num":0}', []) == {"_placeholder": True, "num": 0}


def test_no_json_raises() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        unpack(b"{", [])
