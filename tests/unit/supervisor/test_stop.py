"""The order of a stop and its deadlines, with children that are no processes."""

from __future__ import annotations

import pytest

from django_ws.supervisor import stop as module
from django_ws.supervisor.child import Role, State
from django_ws.supervisor.plan import Plan
from django_ws.supervisor.stop import ASK_AFTER, ASK_AGAIN, Stop


class Channel:
    def __init__(self):
        self.sent = []

    def send(self, message):
        self.sent.append(message)
        return True


class FakeChild:
    def __init__(self, role, state=State.READY):
        self.role = role
        self.state = state
        self.asked = False
        self.channel = Channel()
        self.told = []

    def __str__(self):
        return f"{self.role} 4711"

    def leave(self, deadline, message=None):
        self.told.append((round(deadline, 3), message["op"], round(message["seconds"], 3)))

    def kill(self):
        self.told.append("kill")


@pytest.fixture
def children():
    return [FakeChild(Role.GATEWAY), FakeChild(Role.WORKER), FakeChild(Role.WSGI)]


def begin(children, **plan):
    return Stop(Plan(worker_command=("worker",), **plan), children, 100.0)


def test_first_the_gateway_then_all_others(children):
    stop = begin(children, drain_timeout=40.0)
    gateway, worker, pages = children
    # The workers need some of the time after it, for on_close.
    assert gateway.told == [(136.0, "drain", 35.0)]
    stop.step(100.5)
    assert worker.told == pages.told == []
    children.remove(gateway)
    stop.step(110.0)
    assert worker.told == pages.told == [(140.0, "stop", 29.0)]
    stop.step(110.5)
    assert len(worker.told) == 1
    assert not stop.done
    children.clear()
    stop.step(111.0)
    assert stop.done


def test_a_short_stop_gives_each_its_part(children):
    begin(children, drain_timeout=40.0, stop_timeout=2.0)
    assert children[0].told == [(101.875, "drain", 1.5)]


def test_a_gateway_that_goes_too_late_leaves_the_others_no_time(children):
    stop = begin(children, drain_timeout=4.0)
    del children[0]
    stop.step(105.0)
    assert children[0].told == [(104.0, "stop", 0.0)]


def test_what_is_starting_is_killed(children):
    children.append(FakeChild(Role.WORKER, State.STARTING))
    begin(children)
    assert children[-1].told == ["kill"]


def test_a_stop_that_takes_long_asks_for_what(children, caplog, monkeypatch):
    stop = begin(children, drain_timeout=30.0)
    worker = children[1]
    stop.step(100.0 + ASK_AFTER)
    assert worker.channel.sent == [{"op": "busy"}]
    assert children[2].channel.sent == []
    assert stop.next == 100.0 + ASK_AFTER + ASK_AGAIN
    monkeypatch.setattr(module.time, "monotonic", lambda: 110.0)
    stop.busy(worker, "chat: on_message for 3 s")
    assert "worker 4711 waits for chat: on_message for 3 s. It is killed in 20 s" in caplog.text
    caplog.clear()
    stop.busy(worker, "")
    assert caplog.text == ""


def test_who_does_not_answer_is_named(children, caplog):
    stop = begin(children)
    stop.step(stop.next)
    stop.step(stop.next)
    assert "The worker 4711 does not answer; Ctrl-C once more kills it now." in caplog.text
