"""The states of sessions that outlive their connections."""

from __future__ import annotations

import itertools

import pytest

from django_ws.gateway.clients.lasting import NEXT, State, entered


@pytest.mark.parametrize(("before", "state"), list(itertools.product(State, State)))
def test_what_may_follow_and_nothing_else(before: State, state: State) -> None:
    if state in NEXT[before]:
        assert entered(before, state) is state
    else:
        with pytest.raises(AssertionError, match=f"{before.name} cannot be {state.name}"):
            entered(before, state)


def test_whoever_is_over_stays_so() -> None:
    assert NEXT[State.OVER] == ()
    assert set(NEXT) == set(State)
