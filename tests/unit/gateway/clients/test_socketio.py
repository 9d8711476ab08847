"""Packets of Socket.IO."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_ws.gateway.clients import socketio
from django_ws.gateway.clients.engineio import Violation
from django_ws.gateway.clients.socketio import Decoder, Kind, Packet
from django_ws.wire.messages import BINARY, TEXT
from django_ws.wire.socketio import MAX_ATTACHMENTS

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=8,
)
paths = st.sampled_from(["/", "/chat", "/a/b"])
#: Of JSON strings, with whole and half surrogate pairs.
PIECES = (
    r"\\",
    r"\"",
    r"\n",
    r"\u0041",
    r"\ud83d\ude00",
    r"\ud800",
    r"\uDBff",
    r"\uDC00",
    r"\udfff",
)


def one(text: bytes) -> Packet:
    packet = Decoder(10**6).feed(TEXT, text)
    assert packet is not None
    return packet


@given(paths, st.text(), st.lists(values), st.lists(st.binary(), max_size=MAX_ATTACHMENTS))
def test_events_come_back_as_they_were(
    path: str, name: str, args: list[object], attachments: list[bytes]
) -> None:
    decoder = Decoder(10**6)
    text = socketio.event(path, name, json.dumps(args).encode(), len(attachments))
    packet = decoder.feed(TEXT, text[1:])
    for attachment in attachments:
        assert packet is None
        packet = decoder.feed(BINARY, attachment)
    assert packet is not None
    assert (packet.kind, packet.path, packet.name) == (Kind.EVENT, path, name)
    assert json.loads(packet.data) == args
    assert list(packet.attachments) == attachments


@given(st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), st.binary(max_size=60)), max_size=5))
def test_anything_is_packets_or_a_violation(frames: list[tuple[int, bytes]]) -> None:
    decoder = Decoder(100)
    try:
        for opcode, data in frames:
            if opcode == TEXT:
                data = data.decode(errors="replace").encode()
            decoder.feed(opcode, data)
    except Violation:
        pass
    assert decoder.missing <= MAX_ATTACHMENTS


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"abc",
        b"7",
        b"2",
        b"2{}",
        b"2[]",
        b"2[1]",
        b'2[["a"]]',
        b'2[{"a":1}]',
        b'2["connect"]',
        b'2["a",]',
        b'2abc["a"]',
        b'2-["a"]',
        b'21-["a"]',
        b'5["a"]',
        b'511-["a"]',
        b'5999999999-["a"]',
        b'212345678901234567["a"]',
        b"3[]",
        b"4{}",
        b'0"token"',
        b"0[1]",
        b"0{",
        b"1[1]",
        b"2" + b"[" * 100_000,
        b"2/" + b"a" * 300 + b',["a"]',
    ],
)
def test_what_is_no_packet(text: bytes) -> None:
    with pytest.raises(Violation):
        Decoder(10**6).feed(TEXT, text)


def test_attachments_are_bounded_together() -> None:
    decoder = Decoder(100)
    assert decoder.feed(TEXT, b'52-["a"]') is None
    assert decoder.feed(BINARY, bytes(60)) is None
    with pytest.raises(Violation, match="too big"):
        decoder.feed(BINARY, bytes(60))


def test_texts_and_attachments_come_where_they_belong() -> None:
    decoder = Decoder(100)
    with pytest.raises(Violation, match="nothing"):
        decoder.feed(BINARY, b"x")
    decoder.feed(TEXT, b'51-["a"]')
    with pytest.raises(Violation, match="among"):
        decoder.feed(TEXT, b'2["a"]')


@given(st.lists(st.sampled_from([*PIECES, "d800", "u", "x", "é"]), max_size=8))
def test_half_a_surrogate_pair_becomes_what_browsers_make_of_it(pieces: list[str]) -> None:
    """``JSON.stringify`` escapes the half of an emoji, where a text was cut within it."""
    text = '"' + "".join(pieces) + '"'
    whole = ["\ufffd" if "\ud800" <= char <= "\udfff" else char for char in json.loads(text)]
    packet = one(f"2[{text},[{text}],{{{text}:1}}]".encode())
    assert packet.name == "".join(whole)
    assert json.loads(packet.data) == [["".join(whole)], {"".join(whole): 1}]
    assert json.loads(one(f'0{{"auth":{text}}}'.encode()).data) == {"auth": "".join(whole)}
    assert json.loads(one(f"37[{text}]".encode()).data) == ["".join(whole)]


def test_what_connects() -> None:
    assert one(b"0") == Packet(Kind.CONNECT, "/", data=b"{}")
    assert one(b"0/chat") == Packet(Kind.CONNECT, "/chat", data=b"{}")
    assert one(b'0/chat?x=1,{"a":1}') == Packet(Kind.CONNECT, "/chat", data=b'{"a":1}')
    assert one(b"1/chat") == Packet(Kind.DISCONNECT, "/chat")
    assert one(b'2/chat,7["a"]').id == b"7"
