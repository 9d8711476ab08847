"""The table of a session's states, walked completely."""

from __future__ import annotations

import pytest

from django_ws.gateway.session_state import (
    ACCEPTED,
    AT_WORKER,
    DEAF,
    ENDING,
    MOVING,
    TRANSITIONS,
    UNSETTLED,
    IllegalTransition,
    State,
    Step,
    after,
)

PAIRS = [(state, step) for state in State for step in Step]
ADRIFT = frozenset(State) - AT_WORKER - MOVING - {State.OVER}


@pytest.mark.parametrize(("state", "step"), PAIRS, ids=lambda each: each.name)
def test_a_step_leads_on_or_is_refused_by_name(state: State, step: Step) -> None:
    if step in TRANSITIONS[state]:
        assert after(state, step) is TRANSITIONS[state][step]
        return
    with pytest.raises(IllegalTransition) as caught:
        after(state, step)
    text = str(caught.value)
    assert text.startswith(f"{step.name} while {state.name}; expected ")
    assert all(expected.name in text for expected in TRANSITIONS[state])


def reachable(start: State) -> set[State]:
    found, new = set(), {start}
    while new:
        found |= new
        new = {state for old in new for state in TRANSITIONS[old].values()} - found
    return found


def test_every_state_can_be_reached_and_ends() -> None:
    assert reachable(State.WAITING) == set(State)
    assert all(State.OVER in reachable(state) for state in State)
    assert reachable(State.OVER) == {State.OVER}


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_what_a_step_means_holds_everywhere(state: State) -> None:
    for step, following in TRANSITIONS[state].items():
        match step:
            case Step.PLACED:
                assert state in ADRIFT
                assert following in AT_WORKER
            case Step.LOST | Step.GIVEN_BACK | Step.REFUSED if state is not State.WAITING:
                assert state in AT_WORKER | MOVING
                assert following in ADRIFT | {State.OVER}
            case Step.ASKED_BACK:
                assert state in AT_WORKER
                assert following in MOVING
            case Step.GONE:
                assert following in ENDING | {State.OVER}
                assert (state in MOVING) == (following in MOVING)
            case Step.CLOSED:
                assert following in AT_WORKER  # it runs on_close, too
                assert following in DEAF
            case Step.GIVEN_UP:
                assert following in DEAF
        if state in ENDING:
            assert following in ENDING | {State.OVER}  # a browser does not come back from there
        if state in ACCEPTED:
            assert following in ACCEPTED | {State.OVER}  # nobody is asked again


def test_whoever_needs_a_worker_or_is_over_is_told_about() -> None:
    without = ADRIFT - {State.CLOSING_ADRIFT}  # that waits for its browser only
    assert without | {State.OVER} <= UNSETTLED
