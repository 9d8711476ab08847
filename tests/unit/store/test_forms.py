"""What stands in the server, as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_ws.store.forms import (
    FormError,
    decode_spread,
    encode_spread,
    head,
    payload,
    present,
    read_entry,
)
from django_ws.store.names import BUCKETS, COMMON, SPREAD, Names
from django_ws.wire.messages import Expel, Present, Publish, Recheck

text = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.integers(0, 2**53), st.integers(0, 2**53), st.sampled_from([1, 2]), st.booleans(), text,
    text, st.binary(),
)  # fmt: skip
def test_publications_come_back(
    offset: int, micros: int, opcode: int, json: bool, event: str, exclude: str, data: bytes
) -> None:
    line = b"%d %d epoch" % (offset, micros) + head(opcode, json, event, exclude)
    entry = read_entry(line + payload(event, exclude, data))
    found = entry.publication
    assert (found.offset, entry.micros, entry.epoch, found.time) == (
        offset, micros, "epoch", micros / 1e6,
    )  # fmt: skip
    assert (found.opcode, found.json, found.event, entry.exclude, found.data) == (
        opcode, json, event, exclude, data,
    )  # fmt: skip


@given(st.binary())
def test_anything_else_is_refused(data: bytes) -> None:
    for read in (read_entry, decode_spread, lambda data: present(b"g-1", data)):
        try:
            read(data)  # type: ignore[operator]
        except FormError:
            continue


@pytest.mark.parametrize(
    "data", [b"", b"1 2 3\n", b"a b c 1 1 0 0\n", b"\xff", b"1 2 e 1 1 1 0\n\xff"]
)
def test_no_publication(data: bytes) -> None:
    with pytest.raises(FormError):
        read_entry(data)


def test_who_is_present() -> None:
    assert present(b"g-1", b"5.5 3 2\n\xc3\xa9{}") == (3, Present("g-1", "é", 5.5, b"{}"))


@pytest.mark.parametrize(
    "message",
    [
        Publish(0, "", 1, b"x", "g-1", "event", True, "7"),
        Expel(3, "7", "", "group", "", 4401, "bye"),
        Recheck(1, "7"),
    ],
)
def test_what_is_spread_comes_back(message: Publish | Expel | Recheck) -> None:
    assert decode_spread(encode_spread(message)) == message


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(0, 15))
def test_names_lie_in_the_bucket_of_their_group(group: str, db: int) -> None:
    names = Names("my project{}", db)
    bucket = names.bucket(group)
    assert 0 <= bucket < BUCKETS
    keys = [names.meta(group), names.history(group), names.present(group), names.users(group)]
    tags = {
        key.partition(b"{")[2].partition(b"}")[0]
        for key in (*keys, names.channel(group), names.epoch(bucket))
    }
    assert tags == {b"%d" % bucket}
    assert names.group(names.channel(group)) == group
    assert len(set(keys)) == 4


def test_what_is_no_group() -> None:
    names = Names("project")
    assert names.bucket(SPREAD) == COMMON
    assert names.group(names.channel(SPREAD)) == SPREAD
    assert names.group(names.inbox("abc")) is None
    assert Names("project", 1).channel("a") != names.channel("a")
    assert Names("other").meta("a") != names.meta("a")
