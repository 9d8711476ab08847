"""The processes of a worker, as sockets whose other ends the test has."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from django_ws.base import WebSocketHandler
from django_ws.wire.messages import TEXT, GroupSend, Message
from django_ws.worker.connection import WorkerConnection
from django_ws.worker.executors.process import ConnectionProcess
from django_ws.worker.executors.process_table import ProcessTable
from tests.unit.worker.executors.test_pool import Source
from tests.unit.worker.test_connection import Runner

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class World:
    def __init__(self) -> None:
        self.source = Source()
        self.source.executor = Runner()
        self.table = ProcessTable()
        self.theirs: list[socket.socket] = []

    def add(self) -> ConnectionProcess:
        ours, theirs = socket.socketpair()
        self.theirs.append(theirs)
        connection: WorkerConnection = self.source.connection(len(self.theirs), WebSocketHandler)
        return self.table.add(connection, ours, None)

    def looked_for(self, process: ConnectionProcess) -> int:
        """What the selector waits for; 0 for nothing."""
        found = self.table.selector.get_map().get(process.socket)
        return 0 if found is None else found.events

    def ready(self) -> list[Any]:
        return [key.data for key, _ in self.table.selector.select(0)]


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    for process in world.table.all():
        world.table.drop(process)
    for end in world.theirs:
        end.close()
    world.table.selector.close()


def fill(world: World, process: ConnectionProcess) -> None:
    """Post more than its socket takes."""
    event = Message(process.connection.conn, 1, TEXT, b"x" * 65536)
    for _ in range(100):
        if process.blocked:
            return
        world.table.post(process, event)
    raise AssertionError


def test_each_has_a_key_of_its_own_and_is_forgotten_once(world: World) -> None:
    first, second = world.add(), world.add()
    assert world.table.get(first.key) is first
    assert world.table.get(second.key) is second
    assert first.key != second.key
    assert world.table.drop(first)
    assert not world.table.drop(first)
    assert first.dead
    assert world.table.get(first.key) is None
    assert world.table.all() == [second]
    assert world.looked_for(second) == READ


def test_what_does_not_fit_leaves_when_there_is_room(world: World) -> None:
    process = world.add()
    world.table.post(process, Message(1, 1, TEXT, b"x"))
    assert world.looked_for(process) == READ
    fill(world, process)
    assert world.looked_for(process) == READ | WRITE
    theirs = world.theirs[0]
    theirs.setblocking(False)
    while process.blocked:
        theirs.recv(1 << 20)
        world.table.write(process)
    assert world.looked_for(process) == READ


def test_nothing_is_written_to_the_dead(world: World) -> None:
    process = world.add()
    world.table.drop(process)
    world.table.post(process, None)
    world.table.write(process)
    assert not process.blocked
    assert world.theirs[0].recv(100) == b""


def test_one_that_floods_a_full_link_is_not_read_until_there_is_room(world: World) -> None:
    process = world.add()
    link = world.source.link
    world.source.socket.refuse = True
    link.put(GroupSend("room", TEXT, b"x"))
    link.flush()
    link.put(*[GroupSend("room", TEXT, b"x" * 1024 * 1024)] * 33)
    assert link.congested
    world.table.hold(process)
    world.theirs[0].send(b"more")
    assert world.ready() == []
    # It may still be written to.
    fill(world, process)
    assert world.looked_for(process) == 0
    world.table.read_held()
    assert world.table.held == [process]
    world.source.socket.refuse = False
    world.table.read_held()
    assert world.table.held == []
    assert world.looked_for(process) == READ | WRITE
    assert process in world.ready()


def test_one_that_ends_while_it_is_held_is_forgotten(world: World) -> None:
    process = world.add()
    world.table.hold(process)
    world.table.drop(process)
    world.table.read_held()
    assert world.table.held == []
    world.table.hold(process)  # its last bytes were read in this very turn
    assert world.table.held == []
    assert cast(Any, process).dead
