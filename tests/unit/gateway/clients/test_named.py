"""Named events as plain clients get them."""

from __future__ import annotations

import json

import pytest

from django_ws.gateway.clients.named import as_message, plain_data
from django_ws.gateway.shared import Shared
from django_ws.wire.messages import BINARY, TEXT


def test_a_plain_publication_stays_as_it_is() -> None:
    assert plain_data(Shared("g", TEXT, b"hi")) == b"hi"
    assert plain_data(Shared("g", TEXT, b'{"a":1}', json=True)) == b'{"a":1}'


@pytest.mark.parametrize(
    ("data", "is_json", "value"),
    [(b'{"id":"g-1"}', True, {"id": "g-1"}), (b'"Gr\xc3\xbc\xc3\x9fe"', False, '"Grüße"')],
)
def test_an_event_looks_as_if_it_were_emitted(data: bytes, is_json: bool, value: object) -> None:
    message = Shared("g", TEXT, data, 'jo"in', is_json)
    assert json.loads(plain_data(message)) == {"event": 'jo"in', "args": [value]}
    assert json.loads(as_message("a", b"[1,2]")) == {"event": "a", "args": [1, 2]}


def test_bytes_come_without_the_name() -> None:
    assert plain_data(Shared("g", BINARY, b"\x00\xff", "image")) == b"\x00\xff"
