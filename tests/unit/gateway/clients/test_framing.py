"""The pure functions of ``gateway.clients.framing``, against the websockets package."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode, apply_mask

from django_ws.gateway.clients.framing import (
    PONG,
    Violation,
    close_frame,
    extent,
    frame,
    is_utf8,
    parse_close,
    pong_frame,
)

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 70000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("opcode", [1, 2])
def test_frames_are_those_of_the_core(opcode: int, size: int) -> None:
    data = b"x" * size
    assert frame(opcode, data) == Frame(Opcode(opcode), data).serialize(mask=False)


@pytest.mark.parametrize("size", SIZES)
def test_finds_what_a_client_sends(size: int) -> None:
    data = b"xyz" * size
    sent = b"before" + Frame(Opcode.BINARY, data).serialize(mask=True) + b"after"
    start, stop = extent(sent, 6)
    assert apply_mask(sent[start:stop], sent[start - 4 : start]) == data
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


@pytest.mark.parametrize("size", [0, 125])
def test_pongs_are_those_of_the_core(size: int) -> None:
    assert pong_frame(b"x" * size) == Frame(Opcode(PONG), b"x" * size).serialize(mask=False)


@pytest.mark.parametrize(
    "header",
    [
        b"\x81\xfe\x00\x7d",
        b"\x81\xfe\x00\x00",
        b"\x81\xff" + (65535).to_bytes(8),
        b"\x81\xff" + bytes(8),
        b"\x81\x01",
    ],
    ids=["125 in two bytes", "0 in two bytes", "65535 in eight", "0 in eight", "unmasked"],
)
def test_headers_that_nobody_may_send(header: bytes) -> None:
    with pytest.raises(Violation) as caught:
        extent(header, 0)
    assert caught.value.code == 1002


@given(st.sampled_from([1000, 1001, 1011, 3008, 4999]), st.text(max_size=30))
def test_close_frames_are_understood(code: int, reason: str) -> None:
    assert parse_close(close_frame(code, reason)[2:]) == (code, reason)


def test_a_close_frame_may_be_empty() -> None:
    assert parse_close(b"") == (1005, "")


@pytest.mark.parametrize(
    ("data", "code"), [(b"x", 1002), (b"\x03\xee", 1002), (b"\x03\xe8\xff", 1007)]
)
def test_close_frames_that_nobody_may_send(data: bytes, code: int) -> None:
    with pytest.raises(Violation) as caught:
        parse_close(data)
    assert caught.value.code == code
