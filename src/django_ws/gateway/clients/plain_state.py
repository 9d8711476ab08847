"""The states of one WebSocket. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping

__all__ = ["CLOSED", "CLOSING", "LINGERING", "NEXT", "OPEN", "OPENING", "State", "entered"]


class State(enum.Enum):
    """What a connection is about."""

    #: The upgrade is answered with the first write.
    OPENING = enum.auto()
    OPEN = enum.auto()
    #: The socket is gone; what was read is still delivered, as fast as window and rate allow.
    LINGERING = enum.auto()
    #: Our close frame is out, the peer's is not in.
    CLOSING = enum.auto()
    #: The session has been told; the socket may outlive that for a moment.
    CLOSED = enum.auto()


# Reading a member from its enum class costs more than parsing a byte.
OPENING, OPEN, LINGERING, CLOSING, CLOSED = State

#: What may follow.
NEXT: Mapping[State, tuple[State, ...]] = {
    OPENING: (OPEN, CLOSED),
    OPEN: (LINGERING, CLOSING, CLOSED),
    LINGERING: (CLOSED,),
    CLOSING: (CLOSED,),
    CLOSED: (),
}


def entered(before: State, state: State) -> State:
    """The new state.

    Raises:
        AssertionError: It cannot follow.
    """
    if state not in NEXT[before]:
        raise AssertionError(f"a connection that is {before.name} cannot be {state.name}")
    return state
