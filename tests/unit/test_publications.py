"""Positions that a page sends back."""

from __future__ import annotations

import pytest

from django_ws import Position
from django_ws.base import WebSocketHandler
from django_ws.publications import position_of
from django_ws.testing import WebSocketClient

STRANGE = [
    (-1, "e"),
    (2**63, "e"),
    ("9" * 30, "e"),
    ("9" * 5000, "e"),
    ("x", "e"),
    (1.5, "e"),
    (None, "e"),
    (1, "\ud800"),
    (1, b"e"),
    (1,),
    (1, "e", 2),
    "ab",
    7,
]


@pytest.mark.parametrize("since", [(12, "e"), ["12", "e"], Position(12, "e")])
def test_a_position_may_come_from_a_query(since: list[object]) -> None:
    assert position_of(since) == Position(12, "e")


@pytest.mark.parametrize("since", STRANGE, ids=lambda since: repr(since)[:20])
def test_what_no_gateway_could_read_goes_no_further(since: list[object]) -> None:
    with pytest.raises(ValueError, match="a pair of offset and epoch"):
        position_of(since)


def test_a_hook_hears_it_at_once() -> None:
    class Careless(WebSocketHandler):
        def on_connect(self) -> None:
            query = self.request.GET
            self.join("g", (query["offset"], query["epoch"]))

    client = WebSocketClient(Careless)
    with pytest.raises(ValueError, match="a pair of offset"):
        client.connect("/socket?offset=99999999999999999999&epoch=e")
    assert WebSocketClient(Careless).connect("/socket?offset=9&epoch=e")
