"""The table of a WebSocket's states, walked completely."""

from __future__ import annotations

import pytest

from django_ws.gateway.clients.plain_state import CLOSED, NEXT, OPENING, State, entered


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("state", State)
def test_a_state_follows_or_is_refused_by_name(before: State, state: State) -> None:
    if state in NEXT[before]:
        assert entered(before, state) is state
        return
    with pytest.raises(AssertionError) as caught:
        entered(before, state)
    assert str(caught.value) == f"a connection that is {before.name} cannot be {state.name}"


def reachable(start: State) -> set[State]:
    found, new = set(), {start}
    while new:
        found |= new
        new = {state for old in new for state in NEXT[old]} - found
    return found


def test_every_state_can_be_reached_and_ends() -> None:
    assert set(NEXT) == set(State) == reachable(OPENING)
    assert all(CLOSED in reachable(state) for state in State)
    assert not NEXT[CLOSED]
