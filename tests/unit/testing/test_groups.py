"""Clients of one test hear each other, and what any code publishes."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.test import Client, SimpleTestCase, TestCase, TransactionTestCase, override_settings

from django_ws import (
    RequestError,
    WebSocketHandler,
    disconnect,
    history,
    position,
    presence,
    publish,
    publish_many,
    publish_to_user,
)
from django_ws.exceptions import ConnectionClosed
from django_ws.testing import WebSocketClient, capture_publications
from django_ws.testing.gateway import forget

GROUPS = {
    "kept-*": {"history_size": 3, "history_ttl": 300},
    "who-*": {"presence": True, "join_leave": True},
}


class Member(WebSocketHandler):
    """Joins what its URL says."""

    def on_connect(self) -> None:
        self.info = {"name": self.request.GET.get("name", "")}
        since = self.request.GET.get("since")
        for group in self.request.GET.getlist("group"):
            offset, _, epoch = (since or "").partition("-")
            self.position = self.join(group, (int(offset), epoch) if since else None)

    def on_message(self, message: Any) -> None:
        what, _, group = message.partition(" ")
        if what == "publish":
            self.publish(group, "from a handler")
        elif what == "others":
            self.publish(group, "not to me", exclude_self=True)
        elif what == "leave":
            self.leave(group)
        elif what == "emit":
            self.emit("shown", {"n": 1}, b"\x00" if group else "text")
        elif what == "name":
            self.info = {"name": group}

    def on_user_changed(self) -> None:
        self.send(f"now {self.user.get_username()}")

    def on_close(self) -> None:
        for group in self.request.GET.getlist("group"):
            self.publish(group, f"gone {self.close_code}")


def member(query: str = "group=room") -> WebSocketClient:
    client = WebSocketClient(Member)
    assert client.connect(f"default?{query}")
    return client


@pytest.fixture(autouse=True)
def _groups(settings: LazySettings) -> None:
    settings.DJANGO_WS = {"GROUPS": GROUPS}


# ---------------------------------------------------------------- members


def test_two_clients_hear_what_one_handler_publishes() -> None:
    one, two, other = member(), member(), member("group=elsewhere")
    one.send("publish room")
    assert one.receive() == two.receive() == "from a handler"
    one.send("others room")
    assert two.receive() == "not to me"
    assert one.receive_nothing()
    assert other.receive_nothing()


def test_what_is_published_anywhere_reaches_members() -> None:
    one, two = member(), member()
    publish("room", {"a": [1, None]})
    publish("room", b"\x00", exclude=one.handler.id)
    publish_many([("room", "x"), ("nobody", "y")])
    assert one.receive_json() == {"a": [1, None]}
    assert one.receive() == "x"
    assert [two.receive() for _ in range(3)] == ['{"a": [1, null]}', b"\x00", "x"]


def test_a_named_event() -> None:
    client = member()
    publish("room", {"n": 1}, event="moved")
    publish("room", {"n": 2}, event="moved")
    publish("room", "plain")
    assert client.receive_event() == ("moved", ({"n": 1},))
    as_plain_clients_get_it = {"event": "moved", "args": [{"n": 2}]}
    assert client.receive_json() == as_plain_clients_get_it
    with pytest.raises(AssertionError, match="no event, but the message 'plain'"):
        client.receive_event()


def test_who_left_hears_nothing() -> None:
    one, two, three = member(), member(), member()
    one.send("leave room")
    two.close()
    assert one.receive_nothing()
    assert three.receive() == "gone 1000"
    publish("room", "x")
    assert (one.receive_nothing(), two.receive_nothing()) == (True, True)
    assert three.receive() == "x"


def test_who_is_refused_is_no_member() -> None:
    class Refuses(Member):
        def on_connect(self) -> bool:  # type: ignore[override]
            super().on_connect()
            self.publish("who-x", "too early")
            return False

    other = member("group=who-x")
    with capture_publications() as published:
        assert not WebSocketClient(Refuses).connect("default?group=who-x")
    assert published == []
    assert [each.id for each in presence("who-x")] == [other.handler.id]
    assert other.receive_nothing()


def test_threads_publish_too() -> None:
    client = member()
    thread = threading.Thread(target=publish, args=("room", "from a thread"))
    thread.start()
    assert client.receive(timeout=10) == "from a thread"
    thread.join()


# ---------------------------------------------------------------- histories and presence


def test_history_and_position() -> None:
    one = member("group=kept-1")
    start = position("kept-1")
    publish_many([("kept-1", str(number)) for number in range(5)])
    found = history("kept-1", since=start)
    assert [each.data for each in found.publications] == ["2", "3", "4"]
    assert (found.offset, found.complete) == (start.offset + 5, False)
    late = member(f"group=kept-1&since={start.offset + 3}-{start.epoch}")
    assert [late.receive(), late.receive()] == ["3", "4"]
    assert late.receive_nothing()
    assert late.handler.position == (start.offset + 5, start.epoch)  # type: ignore[attr-defined]
    assert one.handler.position == start  # type: ignore[attr-defined]
    publish("kept-1", "5")
    assert late.receive() == "5"
    assert publish("kept-1", "6", wait=True).offset == start.offset + 7  # type: ignore[union-attr]


def test_presence_and_who_joins_and_leaves() -> None:
    one = member("group=who-1&name=ann")
    two = member("group=who-1&name=bob")
    assert [each.info for each in presence("who-1")] == [{"name": "ann"}, {"name": "bob"}]
    event, (who,) = one.receive_event()
    assert (event, who["id"], who["info"]) == ("join", two.handler.id, {"name": "bob"})
    two.send("name bobby")
    assert [each.info for each in presence("who-1")][1] == {"name": "bobby"}
    two.close(1001)
    assert [each.id for each in presence("who-1")] == [one.handler.id]
    assert one.receive_event().event == "leave"
    assert one.receive() == "gone 1001"


def test_a_client_that_is_gone_is_in_no_group() -> None:
    one = member("group=who-1")
    two = member("group=who-1")
    assert len(presence("who-1")) == 2
    del two
    assert [each.id for each in presence("who-1")] == [one.handler.id]


def test_a_group_without_pattern_has_neither() -> None:
    client = member()
    publish("room", "x")
    assert client.handler.position == (0, "")  # type: ignore[attr-defined]
    assert (history("room").publications, presence("room")) == ([], [])


def test_the_next_test_begins_anew() -> None:
    forget()  # others' clients may still be in tracebacks
    client = member("group=kept-1")
    publish("kept-1", "x")
    epoch = position("kept-1").epoch
    del client  # as the end of a test does
    client = member("group=kept-1")
    assert history("kept-1").publications == []
    assert position("kept-1").epoch != epoch
    assert client.receive_nothing()


# ---------------------------------------------------------------- disconnect


def test_disconnect_closes_and_on_close_runs() -> None:
    one, two = member(), member()
    assert disconnect(id=one.handler.id, code=4001, reason="enough") == 1
    assert two.receive() == "gone 4001"
    assert (one.close_code, one.close_reason) == (4001, "enough")
    with pytest.raises(ConnectionClosed):
        one.send("x")
    assert disconnect(group="room") == 1
    assert two.close_code == 4401
    assert disconnect(group="room") == 0


@pytest.mark.django_db
def test_users() -> None:
    ann = get_user_model().objects.create_user("ann")
    one, two = WebSocketClient(Member), WebSocketClient(Member)
    one.force_login(ann)
    assert one.connect()
    assert two.connect()
    publish_to_user(ann, {"for": "you"}, immediate=True)
    assert one.receive_json() == {"for": "you"}
    assert two.receive_nothing()
    assert disconnect(session=one.cookies["sessionid"].value) == 0  # on commit
    assert one.closed
    assert not two.closed


@pytest.mark.django_db
def test_logouts_and_changes_of_users() -> None:
    ann = get_user_model().objects.create_user("ann")
    pages = Client()
    pages.force_login(ann)
    one, two = WebSocketClient(Member), WebSocketClient(Member)
    two.force_login(ann)
    one.cookies = pages.cookies
    assert one.connect()
    assert two.connect()
    pages.logout()
    assert (one.close_code, two.closed) == (4401, False)
    ann.username = "bob"
    ann.save()
    assert two.receive() == "now bob"
    ann.is_active = False
    ann.save()
    assert two.close_code == 4401


# ---------------------------------------------------------------- requests and events


class Answers(WebSocketHandler):
    def on_request(self, message: Any) -> Any:
        if message == "refuse":
            raise RequestError(4404, "no such thing")
        if message == "fail":
            raise LookupError("failed")
        if message == "close":
            self.close(4000)
        return {"got": message}

    def on_event(self, event: str, *args: Any) -> Any:
        if event == "none":
            return None
        if event == "several":
            return args
        if event == "message":
            return super().on_event(event, *args)
        return [event, *args]

    def on_message(self, message: Any) -> None:
        self.send(message)


def test_request() -> None:
    client = WebSocketClient(Answers)
    client.connect()
    assert client.request({"n": (1, 2), "b": b"\x00"}) == {"got": {"n": [1, 2], "b": b"\x00"}}
    with pytest.raises(RequestError) as raised:
        client.request("refuse")
    assert (raised.value.code, raised.value.message) == (4404, "no such thing")
    with pytest.raises(LookupError):
        client.request("fail")
    client.raise_handler_exceptions = False
    with pytest.raises(ConnectionClosed):
        client.request("close")
    with pytest.raises(ConnectionClosed):
        client.request("again")


def test_a_request_that_fails_as_in_a_worker() -> None:
    client = WebSocketClient(Answers, raise_handler_exceptions=False)
    client.connect()
    with pytest.raises(RequestError) as raised:
        client.request("fail")
    assert raised.value.code == 4500
    assert not client.closed


def test_emit() -> None:
    client = WebSocketClient(Answers)
    client.connect()
    assert client.emit("moved", 1, {"x": b"\x01"}) == ["moved", 1, {"x": b"\x01"}]
    assert client.emit("several", 1, 2) == (1, 2)
    assert client.emit("none") is None
    assert client.emit("message", "hello") is None
    assert client.receive() == "hello"


def test_what_a_handler_emits() -> None:
    client = member()
    client.send("emit ")
    client.send("emit ")
    client.send("emit bytes")
    assert client.receive_event() == ("shown", ({"n": 1}, "text"))
    assert client.receive_json() == {"event": "shown", "args": [{"n": 1}, "text"]}
    with pytest.raises(AssertionError, match="use receive_event"):
        client.receive()


# ---------------------------------------------------------------- the kinds of tests


class InASimpleTestCase(SimpleTestCase):
    def test_needs_no_database(self) -> None:
        client = member()
        publish("room", "x")
        assert client.receive() == "x"


class InATestCase(TestCase):
    def test_what_is_published_arrives_when_the_block_ends(self) -> None:
        client = member()
        with transaction.atomic():
            publish("room", "inside")
            assert client.receive_nothing()
        assert client.receive() == "inside"

    def test_what_is_rolled_back_does_not(self) -> None:
        client = member()
        with transaction.atomic():
            publish("room", "no")
            client.send("publish room")
            transaction.set_rollback(True)
        publish("room", "yes")
        assert client.receive() == "yes"

    def test_callbacks_that_are_captured_arrive_once(self) -> None:
        client = member()
        with self.captureOnCommitCallbacks(execute=True):
            publish("room", "x")
        assert client.receive() == "x"
        assert client.receive_nothing()

    @override_settings(DJANGO_WS={"GROUPS": GROUPS})
    def test_questions_know_what_was_published_before(self) -> None:
        client = member("group=kept-1")
        publish("kept-1", "one")
        assert [each.data for each in history("kept-1").publications] == ["one"]
        publish("kept-1", "two")
        publish("kept-1", "three", wait=True)
        assert [client.receive() for _ in range(3)] == ["one", "two", "three"]

    def test_a_capture_sees_what_clients_get(self) -> None:
        client = member()
        with capture_publications() as published:
            publish("room", "from a view")
            client.send("publish room")
            assert [each.data for each in published] == ["from a view", "from a handler"]
        publish("room", "after")
        assert len(published) == 2
        assert [client.receive() for _ in range(3)] == ["from a view", "from a handler", "after"]

    def test_a_client_may_come_while_publications_are_captured(self) -> None:
        with capture_publications() as published:
            client = member()
            publish("room", "x")
        assert len(published) == 1
        assert client.receive() == "x"


class WithoutTransaction(TransactionTestCase):
    def test_publications_arrive_on_commit(self) -> None:
        client = member()
        with transaction.atomic():
            publish("room", "x")
            assert client.receive_nothing()
        assert client.receive() == "x"
