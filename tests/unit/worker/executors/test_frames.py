"""Pieces of a byte stream, however it is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from django_ws.worker.executors.frames import Frames


@given(st.lists(st.binary(max_size=300)), st.integers(1, 50))
def test_pieces_come_out_whole_and_in_order(pieces: list[bytes], step: int) -> None:
    frames = Frames()
    stream = b"".join(map(Frames.wrap, pieces))
    found: list[bytes] = []
    for start in range(0, len(stream), step):
        found += frames.feed(stream[start : start + step])
    assert found == pieces
    assert frames.feed(b"") == []
