"""The pure functions of ``gateway.clients.framing``, against the websockets package."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode

from django_ws.gateway.clients.framing import (
    BYTES_PER_FRAGMENT,
    MIN_FRAGMENTS,
    Assembly,
    TooManyFragments,
    close_frame,
    extent,
    frame,
    is_utf8,
    unmask,
)

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 70000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opcode", [1, 2])
def test_frames_are_those_of_the_core(opcode: int, size: int) -> None:
    data = b"x" * size
    assert frame(opcode, data) == Frame(Opcode(opcode), data).serialize(mask=False)


@pytest.mark.parametrize("size", SIZES)
def test_finds_and_unmasks_what_a_client_sends(size: int) -> None:
    data = b"xyz" * size
    sent = b"before" + Frame(Opcode.BINARY, data).serialize(mask=True) + b"after"
    start, stop = extent(sent, 6)
    assert unmask(sent, start, stop) == data
    assert sent[stop:] == b"after"


@pytest.mark.parametrize("size", SIZES)
def test_a_header_may_come_in_pieces(size: int) -> None:
    sent = Frame(Opcode.BINARY, b"x" * size).serialize(mask=True)
    header = 2 if size < 126 else 4 if size < 65536 else 10
    for length in range(header):
        assert extent(sent[:length], 0) == (0, 0)
    assert extent(sent[:header], 0) == extent(sent, 0)
    assert extent(sent, 0)[1] == len(sent)


@given(st.binary())
def test_utf8(data: bytes) -> None:
    try:
        data.decode()
        valid = True
    except UnicodeDecodeError:
        valid = False
    assert is_utf8(data) is valid


@given(st.sampled_from([1000, 1001, 1011, 3008, 4999]), st.text(max_size=200))
def test_close_frames_are_valid_and_keep_what_fits(code: int, reason: str) -> None:
    sent = close_frame(code, reason)
    assert sent[0] == 0x88
    assert sent[1] == len(sent) - 2 <= 125
    close = Close.parse(sent[2:])
    assert close.code == code
    assert reason.startswith(close.reason)
    if len(reason.encode()) <= 123:
        assert close.reason == reason


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 5000, 70000])
def test_codes_that_cannot_be_sent_are_left_out(code: int) -> None:
    assert close_frame(code, "reason") == b"\x88\x00"


@given(st.text(min_size=1), st.data())
def test_text_is_put_together_wherever_it_was_cut(text: str, draw: st.DataObject) -> None:
    data = text.encode()
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=5)))
    edges = [0, *cuts, len(data)]
    message = Assembly(1, 0)
    for number, (start, stop) in enumerate(itertools.pairwise(edges)):
        message.add(data[start:stop], number == len(edges) - 2)
    assert message.data == data


def test_bad_text_fails_at_its_first_bad_fragment() -> None:
    message = Assembly(1, 0)
    message.add(b"\xf4", False)
    with pytest.raises(UnicodeDecodeError):
        message.add(b"\x90", False)
    message = Assembly(1, 0)
    message.add(b"\xce", False)
    with pytest.raises(UnicodeDecodeError):
        message.add(b"", True)


def test_binary_messages_are_not_looked_at() -> None:
    message = Assembly(2, 0)
    message.add(b"\xff", False)
    message.add(b"\xfe", True)
    assert message.data == b"\xff\xfe"


@pytest.mark.parametrize("limit", [0, 64 * 1024, 1024 * 1024])
def test_fragments_are_capped(limit: int) -> None:
    allowed = max(MIN_FRAGMENTS, limit // BYTES_PER_FRAGMENT)
    message = Assembly(2, limit)
    for _ in range(allowed):
        message.add(b"", False)
    with pytest.raises(TooManyFragments):
        message.add(b"", False)
