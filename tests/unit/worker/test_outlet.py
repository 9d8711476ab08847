"""How publications of any code in a worker leave it."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from django_ws import publisher
from django_ws.exceptions import GatewayUnavailable
from django_ws.wire.messages import TEXT, WIRE_VERSION, Expel, GroupSend, Publish
from django_ws.worker.executors import ExecutorConfig
from django_ws.worker.executors.base import HookRunner
from django_ws.worker.link import GatewayLink
from django_ws.worker.outlet import WorkerOutlet
from tests.unit.worker.test_link import FakeSocket


class Gateways:
    """Stands for this process's own links as a publisher."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.flushed = 0

    def send(self, messages: Sequence[Any]) -> None:
        self.sent += messages

    def ask(self, requests: Sequence[Any], timeout: float, first: int) -> list[list[Any]]:
        return [[request, timeout, first] for request in requests]


@pytest.fixture
def gateways(monkeypatch: pytest.MonkeyPatch) -> Gateways:
    made = Gateways()
    monkeypatch.setattr(publisher, "gateways", lambda: made)
    return made


def links(*names: str) -> list[GatewayLink[Any]]:
    made = []
    for name in names:
        link: GatewayLink[Any] = GatewayLink(0, FakeSocket(), "p", "w")
        if name:
            link.welcome(name, 1024, WIRE_VERSION)
        made.append(link)
    return made


def outlet(of: list[GatewayLink[Any]], *, shared: bool = False) -> WorkerOutlet:
    runner = HookRunner(ExecutorConfig(shared=shared))
    runner.links = of
    return WorkerOutlet(runner)


def said(link: GatewayLink[Any]) -> list[Any]:
    return [each for batch in cast(FakeSocket, link.socket).batches for each in batch.messages]


def publish(exclude: str = "", user: str = "") -> Publish:
    return Publish(0, "room", TEXT, b"hello", exclude, "event", True, user)


def test_each_gateway_gets_it_and_its_own_connection_is_left_out(gateways: Gateways) -> None:
    one, two, unknown, gone = links("one", "two", "", "gone")
    gone.gone = True
    outlet([one, two, unknown, gone]).send([publish(exclude="two-17")])
    assert said(one) == [GroupSend("room", TEXT, b"hello", 0, "event", True)]
    assert said(two) == [GroupSend("room", TEXT, b"hello", 17, "event", True)]
    assert said(unknown) == said(gone) == []
    assert gateways.sent == []


@pytest.mark.parametrize("exclude", ["17", "one-x", "three-17"])
def test_whoever_is_no_connection_of_ours_is_not_left_out(gateways: Gateways, exclude: str) -> None:
    (one,) = links("one")
    outlet([one]).send([publish(exclude=exclude)])
    assert said(one)[0].exclude == 0


def test_without_a_gateway_it_raises(gateways: Gateways) -> None:
    with pytest.raises(GatewayUnavailable):
        outlet(links("")).send([publish()])


def test_what_is_for_a_user_takes_the_way_of_other_processes(gateways: Gateways) -> None:
    (one,) = links("one")
    expel = Expel(0, "7", "", "", "", 4401, "")
    outlet([one]).send([publish(user="7"), publish(), expel])
    assert gateways.sent == [publish(user="7"), expel]
    assert len(said(one)) == 1


def test_a_question_comes_behind_what_was_published(gateways: Gateways) -> None:
    (one,) = links("one")
    one.put(GroupSend("room", TEXT, b"before"))
    request = SimpleNamespace()
    assert outlet([one]).ask([cast(Any, request)], 2.5) == [[request, 2.5, 0]]
    assert said(one) == [GroupSend("room", TEXT, b"before")]


def test_of_gateways_that_share_an_engine_one_is_enough(gateways: Gateways) -> None:
    one, two = links("one", "two")
    out = outlet([one, two], shared=True)
    out.send([publish(), publish(exclude="two-17"), publish(exclude="elsewhere-5")])
    out.send([publish(exclude="one-3")])
    found = [(each.exclude, each.left_out) for each in said(one)]
    assert found == [(0, ""), (0, "two-17"), (0, "elsewhere-5"), (3, "")]
    assert said(two) == gateways.sent == []
