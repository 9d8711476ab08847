"""Batches and their bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_ws.wire import codec, messages
from django_ws.wire.codec import (
    ReplyBatch,
    WireError,
    decode_answer,
    decode_events,
    decode_handshake,
    decode_replies,
    encode,
)
from django_ws.wire.messages import (
    WIRE_VERSION,
    Fenced,
    Handshake,
    Heartbeat,
    Message,
    Role,
    Send,
)

SECRET = b"the payload that no log may show"

numbers = st.integers(0, 2**62)
texts = st.text(max_size=20)
blobs = st.binary(max_size=40)
names = st.dictionaries(texts, texts, max_size=3)
snapshots = st.builds(messages.Snapshot, blobs, texts, st.booleans())
infos = st.builds(messages.NamespaceInfo, texts, st.integers(0, 9), st.floats(0, 9))
positions = st.builds(messages.Position, numbers, texts)
addresses = st.tuples(texts, st.integers(0, 65535))

events = st.one_of(
    st.builds(messages.Welcome, texts, numbers, numbers, numbers),
    st.builds(messages.Connect, numbers, numbers, texts, blobs),
    st.builds(messages.Message, numbers, numbers, st.integers(1, 2), blobs),
    st.builds(messages.Disconnect, numbers, numbers, st.integers(1000, 4999), texts),
    st.builds(messages.Confirm, numbers, numbers),
    st.builds(messages.Joined, numbers, numbers, numbers, texts),
    st.builds(
        messages.Call,
        numbers,
        numbers,
        st.integers(1, 2),
        texts,
        blobs,
        st.lists(blobs, max_size=2),
        st.booleans(),
    ),
    st.builds(messages.Release, numbers),
    st.builds(messages.Resume, numbers, numbers, blobs, texts),
    st.builds(
        messages.Restore,
        numbers,
        numbers,
        texts,
        blobs,
        texts,
        st.lists(texts, max_size=3),
        snapshots,
        numbers,
        st.booleans(),
    ),
)
replies = st.one_of(
    st.builds(
        messages.Hello,
        texts,
        numbers,
        numbers,
        st.floats(0, 1e10),
        st.dictionaries(texts, infos, max_size=3),
        st.dictionaries(texts, texts, max_size=3),
    ),
    st.builds(messages.Heartbeat, st.booleans()),
    st.builds(messages.Accept, numbers, texts, texts),
    st.builds(messages.Refuse, numbers, st.integers(400, 599), texts),
    st.builds(messages.Send, numbers, st.integers(1, 2), blobs),
    st.builds(messages.Close, numbers, st.integers(1000, 4999), texts),
    st.builds(messages.Join, numbers, texts, numbers, st.none() | positions),
    st.builds(messages.Leave, numbers, texts),
    st.builds(messages.GroupSend, texts, st.integers(1, 2), blobs, numbers),
    st.builds(messages.SaveSnapshot, numbers, snapshots),
    st.builds(messages.Retiring),
    st.builds(messages.Released, numbers, snapshots),
    st.builds(messages.Identity, numbers, texts, texts),
    st.builds(messages.Info, numbers, blobs),
    st.builds(messages.Emit, numbers, texts, blobs, st.lists(blobs, max_size=2)),
    st.builds(messages.Reply, numbers, numbers, numbers, blobs, st.lists(blobs, max_size=2)),
    st.builds(messages.Resumed, numbers, numbers, numbers, texts, st.booleans()),
    st.builds(messages.Publish, numbers, texts, st.integers(1, 2), blobs, texts, texts),
    st.builds(messages.Expel, numbers, texts, texts, texts, texts, st.just(4401), texts),
    st.builds(messages.GetHistory, numbers, texts, st.none() | positions, numbers),
    st.builds(messages.GetPosition, numbers, texts),
    st.builds(messages.GetPresence, numbers, texts),
)
handshakes = st.builds(
    Handshake,
    texts,
    names,
    st.sampled_from(["http", "https"]),
    texts,
    texts,
    st.lists(st.tuples(texts, texts), max_size=3),
    addresses,
    addresses,
    st.lists(texts, max_size=3),
    st.floats(0, 1e10),
)


def batch(contents: list[Any], **changes: Any) -> Any:
    fields: dict[str, Any] = {
        "version": WIRE_VERSION,
        "project": "p",
        "sender": "s",
        "receiver": "r",
        "number": 1,
        "received": 0,
        "messages": contents,
    }
    return codec.Batch(**fields | changes)


@given(st.lists(events, max_size=4), numbers)
@settings(max_examples=50, deadline=None)
def test_events_come_back_as_they_were(contents: list[Any], number: int) -> None:
    sent = batch(contents, number=number)
    assert decode_events(encode(sent)) == sent


@given(st.lists(replies, max_size=4), st.dictionaries(numbers, numbers, max_size=3))
@settings(max_examples=50, deadline=None)
def test_replies_come_back_as_they_were(contents: list[Any], acks: dict[int, int]) -> None:
    sent = batch(contents, acks=acks)
    assert decode_replies(encode(sent)) == sent


@given(handshakes)
@settings(max_examples=25, deadline=None)
def test_a_handshake_comes_back_as_it_was(handshake: Handshake) -> None:
    assert decode_handshake(encode(handshake)) == handshake


def test_a_fenced_answer_comes_back_as_it_was() -> None:
    assert decode_answer(encode(Fenced("abc", "why"))) == Fenced("abc", "why")


DECODERS = [decode_events, decode_replies, decode_answer]


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_garbage_is_a_wire_error_and_nothing_else(data: bytes) -> None:
    for decode in DECODERS:
        with contextlib.suppress(WireError):
            decode(data)


@given(st.lists(events, min_size=1, max_size=3), st.data())
@settings(max_examples=50, deadline=None)
def test_a_damaged_batch_is_a_wire_error_and_nothing_else(
    contents: list[Any], data: st.DataObject
) -> None:
    damaged = bytearray(encode(batch(contents)))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):
        decode_events(bytes(damaged))


@pytest.mark.parametrize("decode", DECODERS)
def test_nesting_without_end_is_a_wire_error(decode: Callable[[bytes], Any]) -> None:
    header = b"\x99\x01\xa1p\xa1s\xa1r\x01\x00\x90\x80"  # a batch with one field more
    with pytest.raises(WireError):
        decode(header + b"\x91" * 100_000 + b"\xc0")


@pytest.mark.parametrize("version", [0, 3, 99, -1])
@pytest.mark.parametrize("decode", [decode_events, decode_replies])
def test_another_version_is_named(decode: Callable[[bytes], Any], version: int) -> None:
    with pytest.raises(WireError, match=rf"version {version}, but this process speaks 2\b"):
        decode(encode(batch([], version=version)))


def test_another_version_is_named_whatever_else_is_in_it() -> None:
    data = msgspec.msgpack.encode([3, {"all": "is"}, ["different"]])
    with pytest.raises(WireError, match="version 3"):
        decode_events(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        SECRET,
        b"\xff" + SECRET,
        msgspec.msgpack.encode(SECRET),
        msgspec.msgpack.encode([WIRE_VERSION, SECRET.decode()]),
        msgspec.msgpack.encode([WIRE_VERSION, "p", "s", "r", 1, 0, [SECRET]]),
        msgspec.msgpack.encode([1, "p", "s", "r", 1, 0, [[99, 1, SECRET]]]),
        msgspec.msgpack.encode([WIRE_VERSION, "p", "s", "r", 1, 0, [[]]]),
        msgspec.msgpack.encode([WIRE_VERSION, "p", "s", "r", 1, 0, [["99", 1, SECRET]]]),
        msgspec.msgpack.encode([WIRE_VERSION, "p", "s", "r", 1, 0, [[3, 1, SECRET, 1, b""]]]),
        encode(batch([Message(1, 2, 1, SECRET)]))[:-3],
        encode(batch([Message(1, 2, 1, SECRET)])) + b"x",
        b"\x97\x01\xa1p\xa1s\xa1r\x01\x00\x91\x92\x01\xa4" + b"\xff\xfe\xfd\xfc",  # no UTF-8
    ],
)
@pytest.mark.parametrize("decode", [decode_events, decode_replies])
def test_errors_say_how_much_but_never_what(decode: Callable[[bytes], Any], data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        decode(data)
    text = str(caught.value)
    assert "payload" not in text
    assert str(len(data)) in text
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_replies_are_no_events_and_events_no_replies() -> None:
    with pytest.raises(WireError):
        decode_events(encode(batch([Heartbeat(True)])))
    with pytest.raises(WireError):
        decode_replies(encode(batch([Message(1, 2, 1, b"")])))


def test_a_field_added_at_the_end_is_ignored() -> None:
    old = [2, "p", "s", "r", 1, 0, [[5, 7, 1, b"data", {"new": ["field"]}]], {}, 2, "new"]
    assert decode_replies(msgspec.msgpack.encode(old)).messages == [Send(7, 1, b"data")]


def test_a_field_missing_at_the_end_gets_its_default() -> None:
    data = msgspec.msgpack.encode([WIRE_VERSION, "p", "s", "r", 1, 0, [[3, 7, "chat"]]])
    decoded: ReplyBatch = decode_replies(data)
    assert decoded.messages == [messages.Accept(7, "chat", "")]
    assert decoded.acks == {}
    data = msgspec.msgpack.encode([WIRE_VERSION, "p", "s", "r", 0, 0, [[1, "e", 0, 1, 1.0, {}]]])
    assert decode_replies(data).messages == [messages.Hello("e", 0, 1, 1.0, {}, {})]


@pytest.mark.parametrize("decode", [decode_events, decode_replies])
def test_messages_of_a_newer_peer_stand_apart_and_take_no_other_along(
    decode: Callable[[bytes], Any],
) -> None:
    known = [5, 7, 1] if decode is decode_events else [5, 7, 1, b"data"]
    data = [2, "p", "s", "r", 4, 3, [[99, 1, SECRET], known, [98]], {}, 9]
    found = decode(msgspec.msgpack.encode(data))
    expected = messages.Confirm(7, 1) if decode is decode_events else Send(7, 1, b"data")
    assert found.messages == [messages.Unknown(99), expected, messages.Unknown(98)]
    assert (found.number, found.received, found.role) == (4, 3, 9)


def test_what_a_newer_peer_says_wrongly_is_refused_all_the_same() -> None:
    with pytest.raises(WireError, match="malformed"):
        decode_replies(msgspec.msgpack.encode([2, "p", "s", "r", 4, 3, [[99], [5, "no", 1, b""]]]))


def test_a_batch_of_version_1_is_read() -> None:
    events = decode_events(bytes.fromhex("9801a170a173a1720100919503010201c4017880"))
    assert events.messages == [Message(1, 2, 1, b"x")]
    assert (events.version, events.role) == (1, Role.UNNAMED)


def test_tags_and_order_of_fields_are_those_of_version_2() -> None:
    """Whoever changes these bytes needs another wire version."""
    assert encode(batch([Message(1, 2, 1, b"x")], role=Role.GATEWAY)).hex() == (
        "9902a170a173a1720100919503010201c401788001"
    )
    tags = {
        "Welcome": 1, "Connect": 2, "Message": 3, "Disconnect": 4, "Confirm": 5, "Release": 6,
        "Restore": 7, "Hello": 1, "Heartbeat": 2, "Accept": 3, "Refuse": 4, "Send": 5, "Close": 6,
        "Join": 7, "Leave": 8, "GroupSend": 9, "SaveSnapshot": 10, "Retiring": 11, "Released": 12,
        "Identity": 13, "Joined": 9, "Call": 10, "Info": 14, "Emit": 15, "Reply": 16,
        "Resume": 11, "Resumed": 17,
        "Publish": 32, "Expel": 33, "GetHistory": 34, "GetPosition": 35,
        "GetPresence": 36, "Fenced": 1, "Answer": 2, "Failed": 3,
    }  # fmt: skip
    found = {name: getattr(messages, name).__struct_config__.tag for name in tags}
    assert found == tags
