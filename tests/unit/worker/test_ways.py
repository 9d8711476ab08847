"""By which gateway publications of a worker leave."""

from __future__ import annotations

from contextvars import Context, copy_context
from typing import Any, cast

import pytest

from django_ws.wire.messages import TEXT, WIRE_VERSION, GroupSend
from django_ws.worker.executors import ExecutorConfig
from django_ws.worker.executors.base import HookRunner
from django_ws.worker.link import GatewayLink
from django_ws.worker.ways import Ways
from tests.unit.worker.test_link import FakeSocket


def links(*names: str, worker: str = "w") -> list[GatewayLink[Any]]:
    made = []
    for name in names:
        link: GatewayLink[Any] = GatewayLink(0, FakeSocket(), "p", worker)
        if name:
            link.welcome(name, 1024, WIRE_VERSION)
        made.append(link)
    return made


def said(link: GatewayLink[Any]) -> list[Any]:
    return [each for batch in cast(FakeSocket, link.socket).batches for each in batch.messages]


@pytest.fixture(autouse=True)
def no_hook() -> None:
    assert Ways().find([]) is None  # none has left its own behind


def test_all_of_a_process_take_the_same_and_processes_spread() -> None:
    ways, several = Ways(), links("one", "two", "three")
    assert len({id(ways.find(several)) for _ in range(10)}) == 1
    found = {Ways().find(links("one", "two", "three", worker=f"w{i}")).gateway for i in range(50)}
    assert found == {"one", "two", "three"}


def test_one_that_is_down_is_replaced_and_does_not_come_back() -> None:
    ways, several = Ways(), links("one", "two", "three")
    first = ways.find(several)
    assert first is not None
    first.gone = True
    second = ways.find(several)
    assert second is not None
    assert second is not first
    index = several.index(first)
    several[index] = first.successor()
    assert not first.up
    several[index].welcome("again", 1024, WIRE_VERSION)
    assert ways.find(several) is second
    second.gone = True
    third = ways.find(several)
    assert third is not None
    assert third is not second


@pytest.mark.parametrize("names", [(), ("",), ("", "")])
def test_where_there_is_no_gateway_there_is_no_way(names: tuple[str, ...]) -> None:
    assert Ways().find(links(*names)) is None


def test_a_hook_has_the_way_of_its_connection_while_that_is_up() -> None:
    ways, several = Ways(), links("one", "two")
    chosen = ways.find(several)
    (other,) = (link for link in several if link is not chosen)

    def hook() -> None:
        ways.enter(other)
        assert copy_context().run(ways.find, several) is other
        assert Context().run(ways.find, several) is chosen  # a thread of its own
        other.gone = True
        assert ways.find(several) is chosen
        other.gone = False
        ways.enter(None)
        assert ways.find(several) is chosen

    copy_context().run(hook)


def test_who_is_left_out_is_so_by_whichever_way() -> None:
    runner = HookRunner(ExecutorConfig(shared=True))
    one, two = runner.links = links("one", "two")
    message = GroupSend("room", TEXT, b"hello", 17)

    def hook() -> None:
        runner.enter(one)
        runner.publish(two, message)
        runner.publish(one, message)
        one.gone = True
        runner.publish(one, message)

    copy_context().run(hook)
    assert said(one) == [GroupSend("room", TEXT, b"hello", 0, left_out="two-17"), message]
    assert said(two) == [GroupSend("room", TEXT, b"hello", 0, left_out="one-17")]
