"""Who is in which group, against a plain table of sets."""

from __future__ import annotations

import gc
import tracemalloc
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_ws.gateway.memberships import Memberships, added, removed


@dataclass(slots=True)
class Connection:
    conn: int
    groups: Collection[str] | None = field(default=None)


STEPS = st.lists(
    st.tuples(st.booleans(), st.sampled_from(["a", "b"]), st.integers(1, 12)), max_size=60
)


@given(STEPS)
def test_members_are_those_who_came_and_did_not_go(steps: list[tuple[bool, str, int]]) -> None:
    memberships: Memberships[Connection] = Memberships()
    model: defaultdict[str, dict[int, None]] = defaultdict(dict)
    for comes, group, conn in steps:
        if comes:
            assert memberships.add(group, Connection(conn)) == group
            model[group].setdefault(conn)
        else:
            assert memberships.remove(group, conn) is (conn in model[group])
            model[group].pop(conn, None)
        for name, conns in model.items():
            assert [each.conn for each in memberships.of(name)] == list(conns)
            assert (name in memberships) is bool(conns)
            assert [conn for conn in range(13) if memberships.has(name, conn)] == sorted(conns)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefghijkl")), max_size=60))
def test_groups_of_a_connection(steps: list[tuple[bool, str]]) -> None:
    groups: Collection[str] | None = None
    model: dict[str, None] = {}
    for comes, name in steps:
        groups = added(groups, name) if comes else removed(groups, name)
        if comes:
            model.setdefault(name)
        else:
            model.pop(name, None)
        assert list(groups or ()) == list(model)


def cost(conns: int, each: int, name: str) -> float:
    """Bytes of a membership."""
    memberships: Memberships[Connection] = Memberships()
    members = [Connection(1000 + number) for number in range(conns)]
    gc.collect()
    tracemalloc.start()
    try:
        for number, member in enumerate(members):
            for index in range(each):
                group = name.format(conn=number, group=index)
                member.groups = added(member.groups, memberships.add(group, member))
        return tracemalloc.get_traced_memory()[0] / (conns * each)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("conns", "each", "name"),
    [
        pytest.param(200, 100, "room-{group}", id="many connections in the same groups"),
        pytest.param(200, 100, "room-{conn}-{group}", id="groups of one connection each"),
        pytest.param(2000, 10, "room-{group}", id="a few groups for each connection"),
        pytest.param(20000, 1, "user-{conn}", id="one group for each connection"),
    ],
)
def test_a_membership_costs_at_most_200_bytes(conns: int, each: int, name: str) -> None:
    assert cost(conns, each, name) <= 200
