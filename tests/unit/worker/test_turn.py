"""One event of a connection after the other, in the test's thread."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.conf import LazySettings

from django_ws.base import Reject, WebSocketHandler
from django_ws.wire.messages import (
    TEXT,
    WIRE_VERSION,
    Accept,
    Close,
    Connect,
    Disconnect,
    Message,
    Refuse,
    Release,
    Released,
    Restore,
    SaveSnapshot,
    Snapshot,
)
from django_ws.worker import hygiene
from django_ws.worker.attributes import MAX_ATTRIBUTES
from django_ws.worker.connection import Link, WorkerConnection
from django_ws.worker.link import GatewayLink
from django_ws.worker.turn import handle
from tests.unit.worker.executors.test_pool import HANDSHAKE, handler
from tests.unit.worker.test_connection import Runner
from tests.unit.worker.test_link import FakeSocket


class Told(Runner):
    """Notes why connections cannot move."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def cannot_move(self, handler_class: type, reason: str) -> None:
        self.reasons.append(reason)


class World:
    def __init__(self) -> None:
        self.socket = FakeSocket()
        self.link: Link = GatewayLink(0, self.socket, "p", "w")
        self.link.welcome("gw", 1024 * 1024, WIRE_VERSION)
        self.runner = Told()

    def connection(self, kind: type[WebSocketHandler]) -> WorkerConnection:
        made = WorkerConnection(1, "default", HANDSHAKE, kind, self.link, self.runner)
        self.link.connections[1] = made
        return made

    def said(self) -> list[Any]:
        """What was said since the last call."""
        self.link.flush()
        found = [message for batch in self.socket.batches for message in batch.messages]
        self.socket.batches.clear()
        return found

    def restored(
        self, kind: type[WebSocketHandler], snapshot: Snapshot, ended: bool = False
    ) -> Any:
        connection = self.connection(kind)
        event = Restore(1, 5, "default", HANDSHAKE, "", [], snapshot, 0, ended)
        connection.restored(event)
        assert handle(connection, event)
        return connection


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(hygiene.thread, "dirty", False)
    return World()


def keep(self: Any, text: str = "a") -> None:
    self.room = text


def test_what_on_connect_keeps_is_at_the_gateway_with_its_yes(world: World) -> None:
    connection = world.connection(handler(on_connect=keep))
    assert handle(connection, Connect(1, 1, "default", HANDSHAKE))
    accept, saved = world.said()
    assert accept == Accept(1, "", "", "")
    assert saved == SaveSnapshot(1, Snapshot(b"\x92\x80\x81\xa4room\xa1a"))
    assert handle(connection, Message(1, 2, TEXT, b"x"))
    assert world.said() == []  # nothing has changed


def test_attributes_are_there_before_on_restore_and_for_on_close(world: World) -> None:
    snapshot = Snapshot(b"\x92\x81\xa1n\x01\x81\xa4room\xa1a")

    def note(self: Any) -> None:
        self.note(f"{self.room} {self.state['n']}")

    kind = handler(on_restore=note, on_close=note)
    world.restored(kind, snapshot)
    ended = world.restored(kind, snapshot, ended=True)
    assert not handle(ended, Disconnect(1, 6, 1001, ""))
    assert kind.log == [(1, "a 1"), (1, "a 1")]


def test_a_snapshot_that_nobody_understands_closes_its_connection(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    connection = world.restored(handler(), Snapshot(b"\x92\x80\x01"))
    assert connection.close_code == 1011
    assert "on_restore failed" in caplog.text


def test_a_connection_is_given_back_with_what_it_keeps(world: World) -> None:
    connection = world.connection(handler(on_connect=keep))
    handle(connection, Connect(1, 1, "default", HANDSHAKE))
    world.said()
    assert not handle(connection, Release(1))
    assert world.said() == [Released(1, Snapshot(b"\x92\x80\x81\xa4room\xa1a"))]
    assert not world.link.connections


def test_what_cannot_move_is_named_when_it_matters(world: World) -> None:
    connection = world.connection(handler(on_connect=lambda self: keep(self, threading.Lock())))  # type: ignore[arg-type]
    handle(connection, Connect(1, 1, "default", HANDSHAKE))
    assert world.runner.reasons == []
    assert handle(connection, Release(1))
    assert world.runner.reasons == ["self.room is a _thread.lock"]
    assert connection.close_code == 1012


def test_what_was_too_large_moves_once_it_fits(world: World) -> None:
    rows = ["x" * 100] * (MAX_ATTRIBUTES // 50)
    connection = world.connection(handler(on_connect=lambda self: keep(self, rows)))  # type: ignore[arg-type]
    handle(connection, Connect(1, 1, "default", HANDSHAKE))
    assert world.said()[-1] == SaveSnapshot(1, Snapshot(b"", "", False))
    del rows[1:]
    assert not handle(connection, Release(1))
    (released,) = world.said()
    assert released.snapshot.movable
    assert b"x" * 100 in released.snapshot.state


def test_a_refusal_that_a_browser_can_read_is_a_close_frame_and_runs_no_hook(
    world: World, settings: LazySettings
) -> None:
    settings.DEFAULT_WS_HANDLERS = {
        "default": {"handler": "tests.handlers.Echo", "refuse": "close"}
    }

    def refuse(self: Any) -> bool:
        self.send("not to be seen")
        return False

    kind = handler(on_connect=refuse, on_close=lambda self: self.note("closed"))
    connection = world.connection(kind)
    assert handle(connection, Connect(1, 1, "default", HANDSHAKE))
    assert world.said() == [Accept(1, "", "", ""), Close(1, 4403, "")]
    assert handle(connection, Message(1, 2, TEXT, b"x"))
    # Nobody else would know that on_close is not to run, so it is not given back.
    assert handle(connection, Release(1))
    assert world.said() == [Close(1, 4403, "")]
    assert not handle(connection, Disconnect(1, 3, 4403, ""))
    assert kind.log == []
    assert not world.link.connections


def test_who_it_is_is_asked_again_where_another_worker_goes_on(world: World) -> None:
    kind = handler(on_restore=lambda self: self.note(self.user))
    kind.authenticate = lambda self: "ann"  # type: ignore[method-assign]
    world.restored(kind, Snapshot())
    assert kind.log == [(1, "ann")]

    def expired(self: Any) -> None:
        raise Reject(401, "expired")

    kind.authenticate = expired  # type: ignore[method-assign]
    connection = world.restored(kind, Snapshot())
    assert (connection.close_code, connection.close_reason) == (4401, "expired")
    assert kind.log == [(1, "ann")]


def test_a_refused_connection_is_over(world: World) -> None:
    connection = world.connection(handler(on_connect=lambda self: False))
    assert not handle(connection, Connect(1, 1, "default", HANDSHAKE))
    assert world.said() == [Refuse(1, 403, "")]
    assert not handle(connection, Message(1, 2, TEXT, b"x"))
    assert world.link.handled == 2
