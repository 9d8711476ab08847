"""Messages put together from their fragments."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_ws.gateway.clients.assembly import BYTES_PER_FRAGMENT, MIN_FRAGMENTS, Assembly
from django_ws.gateway.clients.framing import Violation


@given(st.text(min_size=1), st.data())
def test_text_is_put_together_wherever_it_was_cut(text: str, draw: st.DataObject) -> None:
    data = text.encode()
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=5)))
    edges = [0, *cuts, len(data)]
    message = Assembly(1, 2**20)
    for number, (start, stop) in enumerate(itertools.pairwise(edges)):
        message.add(data[start:stop], number == len(edges) - 2)
    assert message.data == data


def test_bad_text_fails_at_its_first_bad_fragment() -> None:
    message = Assembly(1, 2**20)
    message.add(b"\xf4", False)
    with pytest.raises(Violation, match="1007"):
        message.add(b"\x90", False)
    message = Assembly(1, 2**20)
    message.add(b"\xce", False)
    with pytest.raises(Violation, match="1007"):
        message.add(b"", True)


def test_binary_messages_are_not_looked_at() -> None:
    message = Assembly(2, 2**20)
    message.add(b"\xff", False)
    message.add(b"\xfe", True)
    assert message.data == b"\xff\xfe"


@pytest.mark.parametrize("limit", [0, 64 * 1024, 1024 * 1024])
def test_fragments_are_capped(limit: int) -> None:
    allowed = max(MIN_FRAGMENTS, limit // BYTES_PER_FRAGMENT)
    message = Assembly(2, limit)
    for _ in range(allowed):
        message.add(b"", False)
    with pytest.raises(Violation, match="1008"):
        message.add(b"", False)


def test_a_message_may_not_grow_beyond_its_limit() -> None:
    message = Assembly(2, 3)
    message.add(b"ab", False)
    assert message.room == 1
    message.add(b"c", False)
    with pytest.raises(Violation, match="1009"):
        message.add(b"d", True)
