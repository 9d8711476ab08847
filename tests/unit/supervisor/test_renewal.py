"""What is replaced and when, with children that are no processes and a clock of the test's own."""

from __future__ import annotations

import logging

import pytest

from django_ws.supervisor import renewal as module
from django_ws.supervisor.child import Role, State
from django_ws.supervisor.plan import Plan
from django_ws.supervisor.renewal import Renewal
from django_ws.supervisor.slots import RECYCLE_INTERVAL, Slot

MIB = 2**20


class FakeChild:
    """Does what it is told, at once."""

    def __init__(self, started=0.0):
        self.state = State.READY
        self.started = started
        self.started_at = 1e12  # whatever it loaded, it loaded after that was written
        self.handled = 0
        self.mib = 0
        self.told = []

    def __str__(self):
        return "worker 4711"

    def memory(self):
        return self.mib * MIB

    def leave(self, deadline, message=None):
        self.state = State.LEAVING
        self.told.append(message)

    def kill(self):
        self.told.append("kill")


class Output:
    def __init__(self):
        self.texts = []

    def failed(self, text):
        self.texts.append(text)


class World:
    """A worker and a page server that run; ``started`` has their successors."""

    def __init__(self, monkeypatch, **plan):
        self.now = 1000.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        self.worker, self.pages = Slot(Role.WORKER), Slot(Role.WSGI)
        self.worker.child, self.pages.child = FakeChild(), FakeChild()
        self.output = Output()
        self.started = []
        self.renewal = Renewal(
            Plan(worker_command=("worker",), **plan),
            self.output,
            [self.worker, self.pages],
            [self.worker],
            self._start,
        )

    def _start(self, slot):
        child = FakeChild(self.now)
        child.state = State.STARTING
        self.started.append((slot.role, child))
        return child

    def step(self, seconds=0.0):
        self.now += seconds
        self.renewal.step(self.now)
        self.renewal.rolling.step(self.now)

    def arrive(self, slot):
        slot.successor.state = State.READY
        old = slot.child
        self.renewal.arrived(slot)
        old.state = State.GONE

    def replaced(self):
        """Let everything that is to be replaced be so; the roles in order."""
        roles = []
        for _ in range(10):
            self.step()
            for slot in (self.worker, self.pages):
                if slot.successor is not None:
                    roles.append(slot.role)
                    self.arrive(slot)
        return roles


@pytest.fixture
def world(monkeypatch):
    return World(
        monkeypatch,
        reload=True,
        max_requests=100,
        max_rss=50,
        drain_timeout=30.0,
        reload_timeout=0.5,
    )


def test_without_reload_and_limits_there_is_nothing_to_look_at(monkeypatch):
    world = World(monkeypatch)
    assert world.renewal.next == float("inf")
    world.worker.child.handled = 10**6
    world.renewal.handled(world.worker, world.worker.child)
    world.renewal.edited("/some/file")
    assert world.replaced() == []


def test_a_changed_file_replaces_all_in_little_time(world, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / "handlers.py"
    path.write_text("one")
    world.renewal.watch(world.worker.child, [str(path)])
    assert world.replaced() == []
    path.write_text("another")
    old = world.worker.child
    world.step(1.0)
    assert f"{path} changed; replacing the workers." in caplog.text
    assert world.replaced() == [Role.WORKER, Role.WSGI]
    assert old.told == [{"op": "retire", "seconds": 0.5}]


def test_files_are_looked_at_now_and_then(world):
    world.step()
    assert world.renewal.next == pytest.approx(world.now + module.INTERVAL)


def test_a_change_that_two_children_report_counts_once(world, tmp_path):
    path = tmp_path / "template.html"
    path.write_text("one")
    world.renewal.edited(str(path))
    world.renewal.edited(str(path))
    assert world.replaced() == [Role.WORKER, Role.WSGI]
    world.renewal.edited(str(path))
    assert world.replaced() == []


def test_sighup_replaces_all_in_good_order(world):
    old = world.worker.child
    world.renewal.all()
    assert world.replaced() == [Role.WORKER, Role.WSGI]
    assert old.told == [{"op": "retire", "seconds": 30.0}]


def test_code_that_does_not_start_is_said_once_until_something_changes(world, tmp_path):
    broken, beside = tmp_path / "handlers.py", tmp_path / "other.py"
    broken.write_text("syntax error")
    for _ in range(2):
        world.renewal.cannot_start(FakeChild(), "SyntaxError", [str(broken)])
    assert world.output.texts == ["SyntaxError"]
    world.renewal.cannot_start(FakeChild(), "NameError", None)
    assert world.output.texts == ["SyntaxError", "NameError"]
    world.worker.backoff.next(0.0)
    # What mends it may be a new file beside it.
    beside.write_text("fine")
    world.step(1.0)
    assert world.worker.backoff.next(0.0) == world.worker.backoff.FIRST
    assert world.replaced() == [Role.WORKER, Role.WSGI]
    # Now that it starts, only files that were loaded count.
    (tmp_path / "third.py").write_text("new")
    world.step(1.0)
    assert world.replaced() == []


def test_many_messages_are_worn_out(world, caplog):
    caplog.set_level(logging.INFO)
    child = world.worker.child
    child.handled = 99
    world.renewal.handled(world.worker, child)
    assert world.replaced() == []
    child.handled = 100
    world.renewal.handled(world.worker, child)
    assert "The worker 4711 has handled 100 messages; replacing it." in caplog.text
    world.renewal.handled(world.worker, child)  # it is on its way
    assert world.replaced() == [Role.WORKER]
    assert child.told == [{"op": "retire", "seconds": 30.0}]


def test_much_memory_is_worn_out_but_not_at_once(world, caplog):
    caplog.set_level(logging.INFO)
    world.pages.child.mib = 1000  # nobody replaces that
    world.worker.child.started = world.now
    world.worker.child.mib = 51
    world.step(RECYCLE_INTERVAL - 1)
    assert world.replaced() == []
    world.step(2)
    assert "takes 51 MiB; replacing it." in caplog.text
    assert world.replaced() == [Role.WORKER]
    world.worker.child.mib = 51
    world.step(RECYCLE_INTERVAL - 5)
    assert world.replaced() == []
    world.worker.child.mib = 50
    world.step(RECYCLE_INTERVAL)
    assert world.replaced() == []


def test_what_does_not_run_is_not_measured(world):
    world.worker.child = None
    world.step(100)
    assert world.replaced() == []
