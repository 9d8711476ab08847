"""Envelopes and numbers of django-ws.v1, played from docs/client-protocol.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from django_ws.gateway.clients import v1
from django_ws.gateway.clients.numbering import Gap, Numbering
from django_ws.wire.messages import BINARY, TEXT

PAGE = (Path(__file__).parents[4] / "docs" / "client-protocol.md").read_text()
BLOCKS = re.findall(r"^```v1\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def tail(head: list[object], body: bytes | None) -> bytes:
    """Of what the gateway says in an example."""
    kind, rest = head[0], [*head[3:], *([body] if body is not None else [])]
    match kind, rest:
        case "m", [data]:
            return v1.bytes_tail(data) if isinstance(data, bytes) else v1.text_tail(data.encode())
        case "e", [name, bytes() as data]:
            return v1.event_bytes(name, data)
        case "e", [name, args]:
            return v1.event(name, compact(args))
        case "ok", [call, bytes() as data]:
            return v1.answer_bytes(call, data)
        case "ok", [call, value]:
            return v1.answer(call, compact(value))
        case "err", [call, code, words]:
            return v1.failure(call, code, words)
        case "j", [group, offset, epoch, recovered]:
            return v1.joined(group, offset, epoch, recovered)
        case "l", [group]:
            return v1.left(group)
        case "g" | "h", [group, offset, epoch, name, data]:
            opcode = BINARY if isinstance(data, bytes) else TEXT
            if name:
                return v1.publication(group, offset, epoch, opcode, compact(data[0]), name, True)
            data = data if isinstance(data, bytes) else data.encode()
            return v1.publication(group, offset, epoch, opcode, data, "", False)
    raise AssertionError(head)


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


@pytest.mark.parametrize("block", BLOCKS)
def test_examples_are_what_the_gateway_takes_and_says(block: str) -> None:
    numbering = Numbering()
    for line in block.splitlines():
        if line[:2] not in ("> ", "< "):
            continue
        text, _, after = line[2:].partition(" | ")
        body = bytes.fromhex(after) if after else None
        frame = text.encode() if body is None else text.encode() + b"\n" + body
        opcode = TEXT if body is None else BINARY
        head = json.loads(text)
        if line[0] == ">":
            envelope = v1.decode(opcode, frame)
            if isinstance(envelope, v1.Hello):
                numbering.acknowledged(envelope.opening.had)
            elif isinstance(envelope, v1.Acknowledge | v1.Probe):
                numbering.acknowledged(envelope.had)
            else:
                numbering.take(envelope.number, envelope.had)
        elif head[0] == "welcome":
            if not head[1]["resumed"]:
                numbering = Numbering()
            assert v1.welcome(v1.Welcome(**head[1])) == frame
        elif head[0] == "a":
            numbering.handled = head[1]
            assert numbering.acknowledgement() == frame
        else:
            numbering.handled = head[2]
            assert numbering.envelope(opcode, head[0].encode(), tail(head, body)) == frame


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{}", b"[]", b'["z",1]', b'["m",1]', b'["m",-1,0,"a"]', b'["m",1,0,5]'),
        *(b"[" * 100000, b'["e",1,0,"name",5]', b'["m",1,0,"\xff"]'),
        b'["m",9007199254740992,0,"a"]',
    ],
)
def test_what_is_no_envelope_is_malformed(data: bytes) -> None:
    for opcode in (TEXT, BINARY):
        with pytest.raises(v1.Malformed):
            v1.decode(opcode, data)


def test_what_is_not_acknowledged_is_said_again() -> None:
    numbering = Numbering()
    for text in (b"a", b"b", b"c"):
        numbering.envelope(TEXT, b"m", v1.text_tail(text))
    numbering.acknowledged(1)
    assert numbering.take(1, 1)
    numbering.handled_up_to(2)
    assert numbering.owes
    assert numbering.again() == [(TEXT, b'["m",2,1,"b"]'), (TEXT, b'["m",3,1,"c"]')]
    assert not numbering.owes
    numbering.acknowledged(3)
    assert numbering.size == 0


def test_each_number_is_taken_once_and_in_order() -> None:
    numbering = Numbering()
    assert numbering.take(1, 0)
    assert not numbering.take(1, 0)
    for number, had in ((3, 0), (0, 0), (2, 1)):
        with pytest.raises(Gap):
            numbering.take(number, had)


def test_envelopes_stand_for_the_events_after_the_connect() -> None:
    numbering = Numbering()
    for seq, handled in ((0, 0), (1, 0), (2, 1), (4, 3), (3, 3)):
        numbering.handled_up_to(seq)
        assert numbering.handled == handled
    assert Numbering.number(4) == 3


def test_a_client_goes_on_where_something_is_kept() -> None:
    numbering = Numbering()
    assert numbering.follows(0)
    for text in (b"a", b"b", b"c"):
        numbering.envelope(TEXT, b"m", v1.text_tail(text))
    numbering.acknowledged(1)
    assert [had for had in range(6) if numbering.follows(had)] == [1, 2, 3]


def test_what_was_not_said_is_still_owed() -> None:
    numbering = Numbering()
    numbering.take(1, 0)
    numbering.handled_up_to(2)
    assert numbering.again() == []
    assert numbering.owes
