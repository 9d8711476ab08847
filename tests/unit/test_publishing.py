"""What any Django code publishes: kinds of messages, transactions, answers."""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Iterator, Sequence
from uuid import UUID

import msgspec
import pytest
from django.conf import LazySettings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from django_ws import (
    GatewayUnavailable,
    MessageTooBig,
    Position,
    Presence,
    Publication,
    apublish,
    disconnect,
    history,
    position,
    presence,
    publish,
    publish_many,
    publish_to_user,
)
from django_ws.deferral import counters
from django_ws.outlet import set_outlet
from django_ws.wire import messages as wire
from django_ws.wire.codec import encode
from django_ws.wire.identity import session_digest
from django_ws.wire.messages import BINARY, TEXT, Expel, Publish, PublisherMessage


class FakeOutlet:
    """Remembers what leaves, and answers as it is told to."""

    def __init__(self) -> None:
        self.sent: list[PublisherMessage] = []
        self.asked: list[PublisherMessage] = []
        self.batches: list[int] = []
        self.answers: list[object] = []
        self.error: Exception | None = None

    def send(self, messages: Sequence[PublisherMessage]) -> None:
        if self.error is not None:
            raise self.error
        self.batches.append(len(messages))
        self.sent.extend(messages)

    def ask(self, requests: Sequence[PublisherMessage], timeout: float) -> list[list[msgspec.Raw]]:
        if self.error is not None:
            raise self.error
        self.asked.extend(requests)
        return [[msgspec.Raw(encode(self.answers.pop(0))) for _ in requests]]

    @property
    def texts(self) -> list[str]:
        return [each.data.decode() for each in self.sent if isinstance(each, Publish)]


@pytest.fixture(autouse=True)
def outlet() -> Iterator[FakeOutlet]:
    fake = FakeOutlet()
    before = set_outlet(fake)
    yield fake
    set_outlet(before)


# ---------------------------------------------------------------- kinds


@pytest.mark.parametrize(
    ("message", "opcode", "data", "json"),
    [
        ("text", TEXT, b"text", False),
        ("", TEXT, b"", False),
        ("schön", TEXT, "schön".encode(), False),
        (mark_safe("<b>x</b>"), TEXT, b"<b>x</b>", False),
        (gettext_lazy("yes"), TEXT, b"yes", False),
        (b"\0bytes", BINARY, b"\0bytes", False),
        (bytearray(b"ab"), BINARY, b"ab", False),
        (memoryview(b"ab"), BINARY, b"ab", False),
        ({"a": 1}, TEXT, b'{"a": 1}', True),
        ([1, 2], TEXT, b"[1, 2]", True),
        (None, TEXT, b"null", True),
        (True, TEXT, b"true", True),
        (1.5, TEXT, b"1.5", True),
        (datetime.date(2026, 1, 2), TEXT, b'"2026-01-02"', True),
        (UUID(int=1), TEXT, b'"00000000-0000-0000-0000-000000000001"', True),
    ],
)
def test_kinds_of_messages(
    outlet: FakeOutlet, message: object, opcode: int, data: bytes, json: bool
) -> None:
    assert publish("room", message) is None
    assert outlet.sent == [Publish(0, "room", opcode, data, json=json)]


def test_an_event_and_a_connection_left_out(outlet: FakeOutlet) -> None:
    publish("room", "x", event="typing", exclude="g-1")
    assert outlet.sent == [Publish(0, "room", TEXT, b"x", "g-1", "typing")]


@pytest.mark.parametrize(
    ("group", "message", "error"),
    [
        (1, "x", TypeError),
        ("", "x", ValueError),
        ("\ud800", "x", ValueError),
        ("room", object(), TypeError),
        ("room", {"a": object()}, TypeError),
        ("room", float("nan"), ValueError),
        ("room", "\ud800", ValueError),
        ("room", "x" * (2**20 + 1), MessageTooBig),
    ],
)
def test_what_cannot_be_published(
    outlet: FakeOutlet, group: object, message: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        publish(group, message)  # type: ignore[arg-type]
    assert outlet.sent == []


def test_many_leave_together_and_in_order(outlet: FakeOutlet) -> None:
    assert publish_many(("room", str(number)) for number in range(5)) == []
    assert outlet.batches == [5]
    assert outlet.texts == list("01234")
    assert publish_many([]) == []
    with pytest.raises(TypeError):
        publish_many([("room", "fine"), ("room", object())])
    for wrong in ("room", [("room",)], {"room": "message"}):
        with pytest.raises(TypeError, match="takes pairs of group and message"):
            publish_many(wrong)  # type: ignore[arg-type]
    assert len(outlet.sent) == 5


# ---------------------------------------------------------------- answers


def test_waiting_gives_the_publication(outlet: FakeOutlet) -> None:
    outlet.answers = [wire.Position(7, "e")]
    found = publish("room", {"day": datetime.date(2026, 1, 2)}, event="new", wait=True)
    assert isinstance(found, Publication)
    assert (found.group, found.offset, found.epoch) == ("room", 7, "e")
    assert (found.data, found.event) == ({"day": "2026-01-02"}, "new")
    (request,) = outlet.asked
    assert request.request != 0
    outlet.answers = [wire.Position(8, "e"), wire.Position(1, "e")]
    many = publish_many([("room", "a"), ("other", b"b")], wait=True)
    assert [(each.group, each.offset, each.data) for each in many] == [
        ("room", 8, "a"),
        ("other", 1, b"b"),
    ]
    assert len({each.request for each in outlet.asked}) == 3


def test_history(outlet: FakeOutlet) -> None:
    kept = [
        wire.Publication(1, TEXT, b"text", "", False, 10.0),
        wire.Publication(2, BINARY, b"\0", "", False, 11.0),
        wire.Publication(3, TEXT, b'{"a": 1}', "new", True, 12.0),
    ]
    outlet.answers = [wire.Recent(kept, wire.Position(3, "e"), True)] * 3
    found = history("room", since=(0, "e"), limit=10)
    assert [each.data for each in found.publications] == ["text", b"\0", {"a": 1}]
    assert [each.event for each in found.publications] == [None, None, "new"]
    assert [each.offset for each in found.publications] == [1, 2, 3]
    assert {(each.group, each.epoch) for each in found.publications} == {("room", "e")}
    assert (found.offset, found.epoch, found.complete) == (3, "e", True)
    history("room", since=Position(0, "e"))
    history("room")
    asked = [each for each in outlet.asked if isinstance(each, wire.GetHistory)]
    assert [each.since for each in asked] == [wire.Position(0, "e"), wire.Position(0, "e"), None]
    assert [each.limit for each in asked] == [10, 100, 100]
    with pytest.raises(ValueError, match="a pair of offset and epoch"):
        history("room", since=("e", 1))


def test_position_and_presence(outlet: FakeOutlet) -> None:
    outlet.answers = [wire.Position(3, "e")]
    assert position("room") == Position(3, "e") == (3, "e")
    outlet.answers = [
        [wire.Present("g-1", "7", 1.5, b'{"name": "Ann"}'), wire.Present("g-2", "", 2.5, b"")]
    ]
    assert presence("room") == [
        Presence("g-1", "7", 1.5, {"name": "Ann"}),
        Presence("g-2", "", 2.5, None),
    ]


# ---------------------------------------------------------------- users and connections


def test_to_a_user(outlet: FakeOutlet) -> None:
    user = get_user_model()(pk=7)
    for one in (user, 7, "7", UUID(int=1)):
        publish_to_user(one, "x")
    assert [each.user for each in outlet.sent] == [  # type: ignore[union-attr]
        "7",
        "7",
        "7",
        "00000000-0000-0000-0000-000000000001",
    ]
    assert {each.group for each in outlet.sent} == {""}  # type: ignore[union-attr]
    for nobody in (None, "", AnonymousUser(), get_user_model()()):
        with pytest.raises(ValueError, match="nobody"):
            publish_to_user(nobody, "x")


def test_disconnect(outlet: FakeOutlet) -> None:
    outlet.answers = [2, 0]
    user = get_user_model()(pk=7)
    assert disconnect(user=user, group="room", reason="logged out") == 2
    assert disconnect(session="key", id="g-1", code=1000) == 0
    first, second = outlet.asked
    assert isinstance(first, Expel)
    assert isinstance(second, Expel)
    assert (first.user, first.session, first.group, first.id) == ("7", "", "room", "")
    assert (first.code, first.reason) == (4401, "logged out")
    assert (second.session, second.id, second.code) == (session_digest("key"), "g-1", 1000)
    assert "key" not in second.session


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"user": AnonymousUser()},
        {"user": 7, "code": 1006},
        {"user": 7, "reason": "x" * 124},
        {"session": ""},
        {"group": ""},
    ],
)
def test_disconnect_takes_no_nonsense(given: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        disconnect(**given)  # type: ignore[arg-type]


# ---------------------------------------------------------------- transactions


@pytest.mark.django_db(transaction=True)
def test_it_goes_out_on_commit_in_order(outlet: FakeOutlet) -> None:
    with transaction.atomic():
        publish("room", "1")
        with transaction.atomic():
            publish_many([("room", "2"), ("room", "3")])
        publish("room", "now", immediate=True)
        publish("room", "4")
        assert outlet.texts == ["now"]
    assert outlet.texts == ["now", "1", "2", "3", "4"]
    publish("room", "5")
    assert outlet.texts[-1] == "5"


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_was_never_published(outlet: FakeOutlet) -> None:
    with transaction.atomic():
        publish("room", "1")
        with pytest.raises(RuntimeError), transaction.atomic():  # noqa: PT012
            publish("room", "savepoint")
            raise RuntimeError
        publish("room", "2")
    assert outlet.texts == ["1", "2"]
    with pytest.raises(RuntimeError), transaction.atomic():  # noqa: PT012
        publish("room", "all")
        raise RuntimeError
    assert outlet.texts == ["1", "2"]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_which_database_counts(outlet: FakeOutlet) -> None:
    with transaction.atomic(using="other"):
        publish("room", "the only one")
        publish("room", "not in one", using="default")
        assert outlet.texts == ["not in one"]
        with transaction.atomic():
            publish("room", "default goes before")
            publish("room", "other", using="other")
        assert outlet.texts == ["not in one", "default goes before"]
    assert outlet.texts[2:] == ["the only one", "other"]


@pytest.mark.django_db(transaction=True)
def test_after_the_commit_nothing_raises(
    outlet: FakeOutlet, caplog: pytest.LogCaptureFixture
) -> None:
    before = counters["publications_lost"]
    with caplog.at_level(logging.ERROR, "django_ws.publishing"), transaction.atomic():
        publish_many([("room", "1"), ("room", "2")])
        disconnect(user=7)
        outlet.error = GatewayUnavailable("no gateway")
    assert counters["publications_lost"] == before + 3
    assert "no gateway" in caplog.text
    with pytest.raises(GatewayUnavailable):
        publish("room", "x")


@pytest.mark.django_db(transaction=True)
def test_waiting_and_a_transaction_exclude_each_other(outlet: FakeOutlet) -> None:
    outlet.answers = [wire.Position(1, "e")]
    with transaction.atomic():
        with pytest.raises(RuntimeError, match="immediate=True"):
            publish("room", "x", wait=True)
        assert publish("room", "x", wait=True, immediate=True) is not None


@pytest.mark.django_db
def test_in_a_test_case_it_waits_for_a_commit_that_never_comes(outlet: FakeOutlet) -> None:
    publish("room", "x")
    assert disconnect(user=7) == 0
    assert outlet.texts == []
    outlet.answers = [wire.Position(1, "e")]
    assert publish("room", "y", wait=True) is not None


@pytest.mark.django_db(transaction=True)
def test_disconnecting_waits_for_the_commit(outlet: FakeOutlet) -> None:
    outlet.answers = [1]
    with transaction.atomic():
        assert disconnect(user=7) == 0
        assert outlet.asked == []
    assert len(outlet.asked) == 1


# ---------------------------------------------------------------- no gateway, async


def test_projects_that_want_none_of_it(
    outlet: FakeOutlet, settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DJANGO_WS = {"ON_NO_GATEWAY": "drop"}
    outlet.error = GatewayUnavailable("no gateway")
    before = counters["publications_lost"]
    assert publish("room", "x") is None
    assert publish_many([("room", "x"), ("room", "y")]) == []
    assert disconnect(user=7) == 0
    assert counters["publications_lost"] == before + 4
    with pytest.raises(GatewayUnavailable):
        publish("room", "x", wait=True)


@pytest.mark.django_db(transaction=True)
def test_async_code(outlet: FakeOutlet) -> None:
    async def program() -> list[Publication | None]:
        for number in range(5):
            await apublish("room", str(number))
        return [await apublish("room", "waited", wait=True)]

    outlet.answers = [wire.Position(6, "e")]
    (found,) = asyncio.run(program())
    assert found is not None
    assert found.offset == 6
    assert outlet.texts == list("01234")
