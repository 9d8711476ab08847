"""Packets of Engine.IO in bodies."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_ws.gateway.clients.engineio import (
    MAX_PACKETS,
    Packet,
    Payload,
    Violation,
    encode_payload,
    opening,
)
from django_ws.options import Limits
from django_ws.wire.messages import BINARY, TEXT

texts = st.text(st.characters(exclude_characters="\x1e", exclude_categories=["Cs"]))
packets = st.one_of(
    texts.map(lambda text: (TEXT, b"4" + text.encode())),
    st.binary().map(lambda data: (BINARY, data)),
)


def read(body: bytes) -> list[Packet]:
    payload, found = Payload(body), []
    while (packet := payload.read()) is not None:
        found.append(packet)
    return found


@given(st.lists(packets, min_size=1))
def test_bodies_come_back_as_they_were(sent: list[Packet]) -> None:
    assert read(encode_payload(sent)) == sent


@given(st.binary(max_size=200))
def test_any_body_is_packets_or_a_violation(body: bytes) -> None:
    with contextlib.suppress(Violation):
        read(body)


@pytest.mark.parametrize("body", [b"", b"4a\x1e", b"\x1e4a", b"bA", b"b!!!!", b"4\xff"])
def test_what_is_no_packet(body: bytes) -> None:
    with pytest.raises(Violation):
        read(body)


def test_packets_of_a_body_are_bounded() -> None:
    assert len(read(b"\x1e".join([b"3"] * MAX_PACKETS))) == MAX_PACKETS
    with pytest.raises(Violation, match="too many"):
        read(b"\x1e".join([b"3"] * (MAX_PACKETS + 1)))


def test_a_session_without_pings_never_waits_for_one() -> None:
    said = json.loads(opening("x", Limits(ping_interval=0), upgrades=True)[1:])
    assert said["pingInterval"] + said["pingTimeout"] < 2**31
    assert said["pingInterval"] > 10**8
