"""What another worker is told of a connection, and what it makes of that."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_ws.base import WebSocketHandler
from django_ws.wire.messages import Snapshot
from django_ws.worker.handover import Handover, join, split
from django_ws.worker.state import encode_state
from tests.unit.worker.test_state import values

dicts = st.dictionaries(st.text(max_size=5), values, max_size=3)
pack = msgspec.msgpack.encode


class Handler(WebSocketHandler):
    room: Any
    lock: Any


class Restoring(Handler):
    def on_restore(self) -> None:
        pass


@given(dicts, dicts)
@settings(max_examples=50, deadline=None)
def test_state_and_attributes_are_told_apart(state: dict[str, Any], own: dict[str, Any]) -> None:
    attributes = pack(own) if own else b""
    assert split(join(encode_state(state), attributes)) == (encode_state(state), attributes)


def test_without_attributes_it_is_what_it_always_was() -> None:
    handover, handler = Handover(Handler), Handler()
    assert handover.save(handler, None) is None
    handover.state["n"] = 1
    assert handover.save(handler, None) == Snapshot(pack({"n": 1}))
    assert handover.save(handler, None) is None
    handler.room = "a"
    both = handover.save(handler, None)
    assert both == Snapshot(pack([{"n": 1}, {"room": "a"}]))
    assert handover.save(handler, None) is None
    del handler.room
    assert handover.save(handler, None) == Snapshot(pack({"n": 1}))


@pytest.mark.parametrize("state", [{}, {"n": 1}])
def test_a_successor_goes_on_with_both(state: dict[str, Any]) -> None:
    before, handler = Handover(Handler), Handler()
    before.state.update(state)
    handler.room = ["a"]
    snapshot = before.save(handler, None)
    assert snapshot is not None
    after, successor = Handover(Handler), Handler()
    after.take(snapshot)
    after.furnish(successor)
    assert (after.state, successor.room) == (state, ["a"])
    assert after.save(successor, None) is None
    assert after.snapshot == snapshot
    successor.room.append("b")
    assert after.save(successor, None) == Snapshot(pack([state, {"room": ["a", "b"]}]))


def test_a_snapshot_of_an_older_worker_is_its_state() -> None:
    handover, handler = Handover(Handler), Handler()
    handover.take(Snapshot(pack({"n": 1}), "user"))
    handover.furnish(handler)
    assert (handover.state, handover.user, vars(handler)) == ({"n": 1}, "user", {})


@pytest.mark.parametrize(("kind", "movable"), [(Handler, False), (Restoring, True)])
def test_on_restore_can_do_without_what_cannot_move(kind: type[Handler], movable: bool) -> None:
    handover, handler = Handover(kind), kind()
    handler.room, handler.lock = "a", threading.Lock()
    snapshot = handover.save(handler, None)
    assert snapshot == Snapshot(pack([{}, {"room": "a"}]), "", movable)
    assert handover.why_not(handler) == "self.lock is a _thread.lock"


@pytest.mark.parametrize(("kind", "movable"), [(Handler, False), (Restoring, True)])
def test_only_on_restore_takes_up_a_loop(kind: type[Handler], movable: bool) -> None:
    handover, handler = Handover(kind), kind()
    handover.interrupt()
    handover.save(handler, None)
    assert handover.movable is movable
    assert handover.why_not(handler) == "it was ended in a loop"


def test_a_state_that_cannot_be_kept_leaves_the_last_one() -> None:
    handover, handler = Handover(Handler), Handler()
    handover.state["n"] = 1
    handover.save(handler, None)
    handover.state["n"] = {1}
    handler.room = "a"
    with pytest.raises(TypeError, match="is a set"):
        handover.save(handler, None)
    assert handover.save(handler, None, state=False) == Snapshot(pack([{"n": 1}, {"room": "a"}]))
