"""Gateways that share a port, with children that are no processes."""

from __future__ import annotations

import pytest

from django_ws.options import GatewayConfig
from django_ws.supervisor.child import Role, State
from django_ws.supervisor.gateways import Relay, shared
from django_ws.supervisor.slots import GRACE, Slot

from .test_slots import FakeChild


@pytest.fixture
def slots():
    """Three gateways that run."""
    found = [Slot(Role.GATEWAY, index) for index in range(3)]
    for slot in found:
        slot.child = FakeChild(State.READY)
    return found


def test_one_gateway_shares_its_port_with_nobody():
    (config,) = shared(GatewayConfig(project="p"), ["ipc://a"])
    assert (config.sub_socket, config.sharing) == ("ipc://a", "alone")


def test_several_gateways_differ_in_their_endpoints():
    configs = shared(GatewayConfig(project="p", port=81), ["ipc://a", "ipc://b", "ipc://c"])
    assert [(each.port, each.sub_socket, each.sharing) for each in configs] == [
        (81, "ipc://a", "first"),
        (81, "ipc://b", "more"),
        (81, "ipc://c", "more"),
    ]


def test_each_waits_until_the_one_before_is_back(slots):
    relay = Relay(slots, 7.0)
    relay.step(100.0)
    assert [slot.child.told for slot in slots] == [[], [], []]
    relay.begin()
    for index, slot in enumerate(slots):
        old = slot.child
        relay.step(100.0)
        assert old.told == [{"op": "drain", "seconds": 7.0, "renewal": True}]
        assert old.deadline == 107.0 + GRACE
        assert relay.renews(old)
        slot.child = None
        relay.step(101.0)
        slot.child = FakeChild(State.STARTING)
        relay.step(102.0)
        assert all(other.child.told == [] for other in slots[index + 1 :])
        slot.child.state = State.READY
    relay.step(103.0)
    assert [slot.child.told for slot in slots] == [[], [], []]


def test_a_gateway_that_starts_anyhow_is_left_out(slots):
    slots[0].child = None
    slots[1].child = FakeChild(State.STARTING)
    relay = Relay(slots, 7.0)
    relay.begin()
    relay.step(100.0)
    assert slots[1].child.told == []
    assert len(slots[2].child.told) == 1


def test_whoever_asks_again_meanwhile_has_all_renewed(slots):
    relay = Relay(slots, 7.0)
    relay.begin()
    relay.step(100.0)
    relay.begin()
    for slot in (slots[0], *slots):
        relay.step(101.0)
        assert slot.child.told
        slot.child = FakeChild(State.READY)
    relay.step(102.0)
    assert slots[0].child.told == []
