"""What is fuzzed without a socket: each takes bytes that a stranger may send, and nothing but the
exception that its documentation names may leave it.

Where there is something to compare, a check compares: the same bytes in one piece or in many mean
the same.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate

from django_ws.gateway.clients import engineio, socketio, v1
from django_ws.gateway.clients.compression import Compression
from django_ws.gateway.clients.framing import Violation, is_utf8, parse_close
from django_ws.gateway.clients.numbering import Gap, Numbering
from django_ws.gateway.clients.reading import Reader
from django_ws.wire import codec
from django_ws.wire.codec import WireError, encode
from django_ws.wire.messages import BINARY, TEXT, Message, Role, Unknown
from django_ws.worker.payloads import unpack

__all__ = ["TARGETS", "Target", "frames"]

#: Bytes of the largest message in these tests.
LIMIT = 300


class Target(NamedTuple):
    """Something that strangers' bytes reach.

    Attributes:
        check: raises if something is wrong.
        likely: bytes that get further than any.
    """

    check: Callable[[bytes], object]
    likely: st.SearchStrategy[bytes]


def _joined(parts: st.SearchStrategy[bytes], most: int = 6) -> st.SearchStrategy[bytes]:
    return st.lists(parts, max_size=most).map(b"".join)


# ---------------------------------------------------------------- frames


@st.composite
def _frame(draw: Any) -> bytes:
    first = draw(
        st.sampled_from([0x81, 0x82, 0x01, 0x00, 0x80, 0x89, 0x8A, 0x88, 0xC1, 0x41, 0xC2])
    )
    first = draw(st.integers(0, 255)) if draw(st.integers(0, 9)) == 0 else first
    payload = draw(st.one_of(st.binary(max_size=140), st.text(max_size=40).map(str.encode)))
    size = draw(st.sampled_from([len(payload)] * 8 + [0, 126, LIMIT + 1, 2**16, 2**63]))
    if size < 126 and draw(st.integers(0, 9)):
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0xFE)) + size.to_bytes(2)
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8)
    if not draw(st.integers(0, 20)):
        head = head[:1] + bytes((head[1] & 0x7F,)) + head[2:]
    return head + draw(st.sampled_from([b"\0\0\0\0", b"\1\2\3\4"])) + payload


frames = _joined(_frame())


def _read(data: bytes, step: int, compressed: bool) -> list[object]:
    """The events of a reader that is given so many bytes at a time, and how it ended."""
    compression = None
    if compressed:
        compression = Compression([PerMessageDeflate(False, False, 15, 15)])
    reader = Reader(LIMIT, compression)
    events: list[object] = []
    try:
        for start in range(0, len(data), step):
            reader.feed(data[start : start + step])
            while (event := reader.read()) is not None:
                opcode, payload = event
                assert len(payload) <= LIMIT
                assert opcode != TEXT or is_utf8(payload)
                events.append(event)
            assert reader.pending <= len(data)
    except Violation as error:
        return [*events, (error.code, error.reason)]
    return [*events, reader.pending]


def _frames(data: bytes) -> None:
    whole = _read(data, max(1, len(data)), False)
    for step in (1, 7):
        assert _read(data, step, False) == whole


def _compressed(data: bytes) -> None:
    whole = _read(data, max(1, len(data)), True)
    for step in (1, 7):
        assert _read(data, step, True) == whole


def _close(data: bytes) -> None:
    with contextlib.suppress(Violation):
        code, reason = parse_close(data[:125])
        assert 1000 <= code < 5000
        assert isinstance(reason, str)


# ---------------------------------------------------------------- Engine.IO and Socket.IO


def _engineio(data: bytes) -> None:
    payload, packets = engineio.Payload(data), []
    with contextlib.suppress(engineio.Violation):
        while (packet := payload.read()) is not None:
            packets.append(packet)
        again = engineio.Payload(engineio.encode_payload(packets))
        assert [again.read() for _ in packets] == packets
        assert again.read() is None


def _socketio(data: bytes) -> None:
    """Messages, between them NUL; a binary one begins with a byte 2."""
    decoder = socketio.Decoder(LIMIT)
    with contextlib.suppress(engineio.Violation):
        for part in data.split(b"\0"):
            binary = part.startswith(b"\2")
            if not binary and not is_utf8(part):
                continue  # does not get so far
            packet = decoder.feed(BINARY if binary else TEXT, part[1:] if binary else part)
            assert 0 <= decoder.missing <= socketio.MAX_ATTACHMENTS
            if packet is None:
                continue
            assert sum(map(len, packet.attachments)) <= LIMIT
            assert packet.path.startswith("/")
            if packet.data:
                expected = dict if packet.kind is socketio.Kind.CONNECT else list
                with contextlib.suppress(RecursionError):
                    assert type(json.loads(packet.data)) is expected
                _unpacked(packet.data, list(packet.attachments))


_JSON_TEXTS = [
    b'["event",1]', b'["e",{"_placeholder":true,"num":0}]', b"[]", b"{}", b'{"a":1}', b"null",
    b'"a"',
    b'["\\ud800"]', b"[1e999]", b"[" * 1200, b'["e",' * 400, b'[" ', b'["connect"]', b"[-0]",
]  # fmt: skip
_json = st.one_of(
    st.sampled_from(_JSON_TEXTS),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode()),
)
_packet = st.tuples(
    st.sampled_from([b"0", b"1", b"2", b"3", b"4", b"5", b"51-", b"52-", b"61-", b"511-", b"7"]),
    st.sampled_from([b"", b"/chat,", b"/", b"/\xc3\xa4?x=1,", b"/" + b"n" * 300 + b","]),
    st.sampled_from([b"", b"0", b"17", b"9" * 17]),
    _json,
).map(b"".join)


# ---------------------------------------------------------------- django-ws.v1


def _unpacked(data: bytes, attachments: list[bytes]) -> None:
    """As the worker makes objects of it."""
    with contextlib.suppress(ValueError, RecursionError):
        unpack(data, attachments)


def _v1(data: bytes) -> None:
    """The first byte tells whether it is a text."""
    opcode, body = (TEXT, data[1:]) if data[:1] != b"\2" else (BINARY, data[1:])
    if opcode == TEXT and not is_utf8(body):
        return
    try:
        envelope = v1.decode(opcode, body)
    except v1.Malformed:
        return
    number, had = getattr(envelope, "number", 1), getattr(envelope, "had", 0)
    assert 0 <= number <= v1.MAX_NUMBER
    assert 0 <= had <= v1.MAX_NUMBER
    with contextlib.suppress(Gap):
        Numbering().take(number, had)
    if isinstance(envelope, v1.Event):
        assert bytes(envelope.args)[:1] == b"["
        envelope.name.encode()
        _unpacked(bytes(envelope.args), [])
    elif isinstance(envelope, v1.Text):
        envelope.data.encode()
    elif isinstance(envelope, v1.Request):
        _unpacked(bytes(envelope.data), [])
    elif isinstance(envelope, v1.Hello):
        for each in (envelope.opening.token, *(since.group for since in envelope.opening.since)):
            each.encode()


_envelope = st.tuples(
    st.sampled_from([b"\1", b"\2"]),
    st.sampled_from(
        [
            b'["hello",%b]', b'["hello",{"auth":%b,"token":"t","had":1}]', b'["m",1,0,%b]',
            b'["m",9007199254740992,0,%b]', b'["r",1,0,%b]', b'["e",1,0,"name",%b]', b'["a",%b]',
            b'["x",1,0,"\\ud800",%b]', b'["m",1,0]\n%b', b'["e",1,0,"n"]\n%b', b'["p",1%b]', b"%b",
            b'["hello",{"since":[{"offset":1,"epoch":"e","group":"\\udfff"}],"x":%b}]',
        ]
    ),
    _json | st.binary(max_size=20),
).map(lambda parts: parts[0] + parts[1] % parts[2])  # fmt: skip


# ---------------------------------------------------------------- both links


def _link(decode: Callable[[bytes], Any]) -> Callable[[bytes], None]:
    def check(data: bytes) -> None:
        try:
            found = decode(data)
        except WireError:
            return
        if not any(isinstance(each, Unknown) for each in getattr(found, "messages", ())):
            assert encode(decode(encode(found))) == encode(found)

    return check


def _mutated(whole: bytes) -> st.SearchStrategy[bytes]:
    """Something valid with some bytes replaced, dropped or added."""

    def change(changes: list[tuple[int, int, bytes]]) -> bytes:
        data = bytearray(whole)
        for at, length, new in changes:
            position = at % (len(data) + 1)
            data[position : position + length] = new
        return bytes(data)

    return st.lists(
        st.tuples(st.integers(0, 500), st.integers(0, 3), st.binary(max_size=4)), max_size=4
    ).map(change)


_batch = encode(
    codec.Batch(
        2, "project", "s" * 16, "r" * 16, 1, 0, [Message(1, 2, TEXT, b"x")], {1: 2}, Role.WORKER
    )
)
_BATCHES = st.one_of(
    _mutated(_batch),
    st.sampled_from(
        [b"\x91" * 3000, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", _batch[:-1]]
    ),
)

TARGETS: dict[str, Target] = {
    "frames": Target(_frames, frames),
    "compressed": Target(_compressed, frames),
    "close": Target(_close, st.integers(0, 65535).map(lambda n: n.to_bytes(2) + b"why")),
    "engineio": Target(
        _engineio,
        _joined(st.sampled_from([b"\x1e", b"4a", b"bAAEC", b"b=", b"b", b"2probe", b"4\xc3\xa4"])),
    ),
    "socketio": Target(
        _socketio, st.lists(_packet | st.just(b"\2bytes"), max_size=4).map(b"\0".join)
    ),
    "v1": Target(_v1, _envelope),
    "events": Target(_link(codec.decode_events), _BATCHES),
    "replies": Target(_link(codec.decode_replies), _BATCHES),
    "answers": Target(_link(codec.decode_answer), _BATCHES),
}
