"""The states of a session, and what leads from one to the next. Pure.

Two questions make up a state. How far is the connection: is it being asked about, open, being
closed, or has its browser gone? And where is it: at a worker; *moving*, which is at a worker that
was asked to give it back; or *adrift*, which is without one?
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

__all__ = [
    "ACCEPTED",
    "AT_WORKER",
    "DEAF",
    "ENDING",
    "MOVING",
    "TRANSITIONS",
    "UNSETTLED",
    "IllegalTransition",
    "State",
    "Step",
    "after",
]


class State(enum.Enum):
    """Where a session stands."""

    #: A handshake that no worker has been asked about.
    WAITING = enum.auto()
    #: A worker runs ``on_connect``.
    ASKED = enum.auto()
    #: The same, but the browser has gone meanwhile.
    LEFT = enum.auto()

    OPEN = enum.auto()
    MOVING = enum.auto()
    ADRIFT = enum.auto()

    #: The handler or the gateway has closed it: nothing but a Disconnect follows.
    CLOSING = enum.auto()
    CLOSING_MOVING = enum.auto()
    CLOSING_ADRIFT = enum.auto()

    #: The browser is gone, and ``on_close`` is still to be run.
    ENDING = enum.auto()
    ENDING_MOVING = enum.auto()
    ENDING_ADRIFT = enum.auto()

    OVER = enum.auto()


class Step(enum.Enum):
    """What happens to a session."""

    #: A worker is to have it from now on.
    PLACED = enum.auto()
    #: ``on_connect`` said yes.
    ACCEPTED = enum.auto()
    #: ``on_connect`` said no; or the worker cannot take the connection over.
    REFUSED = enum.auto()
    #: The handler closes it.
    CLOSED = enum.auto()
    #: The gateway closes it.
    GIVEN_UP = enum.auto()
    #: The browser is gone.
    GONE = enum.auto()
    #: The worker retires and is asked to give it back.
    ASKED_BACK = enum.auto()
    #: The worker gave it back.
    GIVEN_BACK = enum.auto()
    #: The worker died.
    LOST = enum.auto()
    #: The last event is acknowledged.
    FINISHED = enum.auto()
    #: No worker could run ``on_close``.
    ABANDONED = enum.auto()


class IllegalTransition(Exception):
    """A step that a state does not know: somebody broke the protocol."""


_S, _T = State, Step

TRANSITIONS: Mapping[State, Mapping[Step, State]] = {
    _S.WAITING: {_T.PLACED: _S.ASKED, _T.REFUSED: _S.OVER, _T.GONE: _S.OVER},
    _S.ASKED: {
        _T.ACCEPTED: _S.OPEN,
        _T.REFUSED: _S.OVER,
        _T.GONE: _S.LEFT,
        _T.LOST: _S.WAITING,
    },
    _S.LEFT: {
        _T.ACCEPTED: _S.ENDING,
        _T.REFUSED: _S.OVER,
        _T.FINISHED: _S.OVER,
        _T.LOST: _S.OVER,
    },
    _S.OPEN: {
        _T.CLOSED: _S.CLOSING,
        _T.GIVEN_UP: _S.CLOSING,
        _T.GONE: _S.ENDING,
        _T.ASKED_BACK: _S.MOVING,
        _T.REFUSED: _S.ADRIFT,
        _T.LOST: _S.ADRIFT,
    },
    _S.MOVING: {
        _T.CLOSED: _S.CLOSING,  # it does not give the connection back after all
        _T.GIVEN_UP: _S.CLOSING_MOVING,
        _T.GONE: _S.ENDING_MOVING,
        _T.GIVEN_BACK: _S.ADRIFT,
        _T.REFUSED: _S.ADRIFT,
        _T.LOST: _S.ADRIFT,
    },
    _S.ADRIFT: {
        _T.PLACED: _S.OPEN,
        _T.GIVEN_UP: _S.CLOSING_ADRIFT,
        _T.GONE: _S.ENDING_ADRIFT,
    },
    _S.CLOSING: {
        _T.CLOSED: _S.CLOSING,
        _T.GIVEN_UP: _S.CLOSING,
        _T.GONE: _S.ENDING,
        _T.ASKED_BACK: _S.CLOSING_MOVING,
        _T.GIVEN_BACK: _S.CLOSING_ADRIFT,  # its close crossed our question
        _T.REFUSED: _S.CLOSING_ADRIFT,
        _T.LOST: _S.CLOSING_ADRIFT,
    },
    _S.CLOSING_MOVING: {
        _T.CLOSED: _S.CLOSING,
        _T.GIVEN_UP: _S.CLOSING_MOVING,
        _T.GONE: _S.ENDING_MOVING,
        _T.GIVEN_BACK: _S.CLOSING_ADRIFT,
        _T.REFUSED: _S.CLOSING_ADRIFT,
        _T.LOST: _S.CLOSING_ADRIFT,
    },
    _S.CLOSING_ADRIFT: {_T.GIVEN_UP: _S.CLOSING_ADRIFT, _T.GONE: _S.ENDING_ADRIFT},
    _S.ENDING: {
        _T.CLOSED: _S.ENDING,
        _T.GIVEN_BACK: _S.ENDING_ADRIFT,  # what closed it crossed our question
        _T.REFUSED: _S.ENDING_ADRIFT,
        _T.LOST: _S.ENDING_ADRIFT,
        _T.FINISHED: _S.OVER,
    },
    _S.ENDING_MOVING: {
        _T.CLOSED: _S.ENDING,
        _T.GIVEN_BACK: _S.ENDING_ADRIFT,
        _T.REFUSED: _S.ENDING_ADRIFT,
        _T.LOST: _S.ENDING_ADRIFT,
    },
    _S.ENDING_ADRIFT: {_T.PLACED: _S.ENDING, _T.ABANDONED: _S.OVER},
    # The HTTP side says at the end of every handshake that the browser is gone.
    _S.OVER: {_T.GONE: _S.OVER},
}

#: At a worker that gets new events at once.
AT_WORKER = frozenset({_S.ASKED, _S.LEFT, _S.OPEN, _S.CLOSING, _S.ENDING})
#: At a worker that was asked to give it back: new events are held.
MOVING = frozenset({_S.MOVING, _S.CLOSING_MOVING, _S.ENDING_MOVING})
#: ``on_connect`` has said yes, and it is not over.
ACCEPTED = frozenset(_S) - {_S.WAITING, _S.ASKED, _S.LEFT, _S.OVER}
#: Nothing from the browser is of interest any more.
DEAF = frozenset(_S) - {_S.OPEN, _S.MOVING, _S.ADRIFT}
#: The browser is gone, and a worker has something to do about it.
ENDING = frozenset({_S.LEFT, _S.ENDING, _S.ENDING_MOVING, _S.ENDING_ADRIFT})
#: Whoever keeps all sessions has something to do: find a worker, take it out of its groups, or
#: forget it.
UNSETTLED = frozenset({_S.WAITING, _S.ADRIFT, _S.OVER}) | (ENDING - {_S.LEFT})


def after(state: State, step: Step) -> State:
    """The state that follows.

    Raises:
        IllegalTransition: ``state`` knows no such step.
    """
    following = TRANSITIONS[state].get(step)
    if following is None:
        expected = ", ".join(known.name for known in TRANSITIONS[state]) or "nothing"
        raise IllegalTransition(f"{step.name} while {state.name}; expected {expected}")
    return following
