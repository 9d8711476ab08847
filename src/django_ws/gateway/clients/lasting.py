"""What all sessions have that outlive their connections, whatever their clients speak. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Protocol

__all__ = ["NEXT", "REPLACED", "REPLACED_WORDS", "Keeper", "State", "entered"]

#: Close code and reason of a connection whose session has gone on in another one.
REPLACED, REPLACED_WORDS = 3505, "the session went on in another connection"


class State(enum.Enum):
    """Where such a session stands."""

    #: No client has been told of it.
    NEW = enum.auto()
    #: The client is there.
    CONNECTED = enum.auto()
    #: It is expected back.
    PARKED = enum.auto()
    #: The session has been told that nobody comes back.
    OVER = enum.auto()


#: What may follow.
NEXT: Mapping[State, tuple[State, ...]] = {
    State.NEW: (State.CONNECTED, State.OVER),
    State.CONNECTED: (State.CONNECTED, State.PARKED, State.OVER),
    State.PARKED: (State.CONNECTED, State.OVER),
    State.OVER: (),
}


def entered(before: State, state: State) -> State:
    """The new state.

    Raises:
        AssertionError: It cannot follow.
    """
    if state not in NEXT[before]:
        raise AssertionError(f"a session that is {before.name} cannot be {state.name}")
    return state


class Keeper(Protocol):
    """Keeps sessions whose clients are away, by their tokens; see :class:`..parking.Parking`."""

    def park(self, token: str) -> bool: ...
    def unpark(self, token: str) -> None: ...
    def forget(self, token: str) -> None: ...
    def give_up_soon(self, token: str, reason: str) -> None: ...
