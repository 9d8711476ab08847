"""A client's bytes in pieces."""

from __future__ import annotations

import pytest

from django_ws.gateway.clients.framing import CLOSE, PING
from django_ws.gateway.clients.reading import Reader
from django_ws.wire.messages import TEXT
from tests.integration.gateway_harness import masked


@pytest.mark.parametrize("opcode", [PING, CLOSE])
def test_a_short_frame_behind_a_message_in_pieces_does_not_wait_for_more(opcode: int) -> None:
    reader = Reader(1000)
    message = masked(TEXT, b"a message of some length")
    reader.feed(message[:10])
    assert reader.read() is None
    reader.feed(message[10:])
    assert reader.read() == (TEXT, b"a message of some length")
    reader.feed(masked(opcode, b""))
    assert reader.read() == (opcode, b"")
