"""What is handed to every gateway, and their answers."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from functools import partial

from ...store.calls import Calls, Placed
from ...store.forms import Entry, FormError, Spread, decode_spread
from ...wire.messages import Publish
from ..counters import Counters
from .base import Done, Failure
from .heard import Ask

__all__ = ["Spreads"]

logger = logging.getLogger("django_ws.gateway.engine")

#: Seconds for the other gateways' answers.
PATIENCE = 1.0

#: Questions whose answers are awaited. Policy: beyond it nobody waits.
MAX_ASKED = 10_000


class _Question:
    """One that was asked.

    Attributes:
        expected: how many answer; ``None`` until that is known.
        number: of connections so far.
    """

    __slots__ = ("answered", "asked", "done", "expected", "number")

    def __init__(self, done: Done[int], asked: float) -> None:
        self.done = done
        self.asked = asked
        self.expected: int | None = None
        self.answered = 0
        self.number = 0


class Spreads:
    """See the module.

    Args:
        incarnation: this gateway's.
        apply: does it here; returns to how many connections it applied.
        clock: loop time.
    """

    def __init__(
        self,
        incarnation: str,
        calls: Calls,
        ask: Ask,
        apply: Callable[[Spread], int],
        clock: Callable[[], float],
        counters: Counters,
    ) -> None:
        self._incarnation = incarnation
        self._calls = calls
        self._ask = ask
        self._apply = apply
        self._clock = clock
        self._counters = counters
        self._tokens = itertools.count(1)
        self._questions: dict[str, _Question] = {}  # the oldest first

    def spread(self, message: Spread, done: Done[int] | None) -> None:
        """See :meth:`.Engine.spread`."""
        token = ""
        if done is not None and len(self._questions) < MAX_ASKED:
            token = str(next(self._tokens))
            self._questions[token] = _Question(done, self._clock())
        reply_to = f"inbox:{self._incarnation}:{token}" if token else ""
        self._ask(self._calls.spread(message, reply_to), partial(self._sent, message, token))
        if done is not None and not token:
            done(Failure("engine_busy", "too many questions wait for the other gateways"))

    def _sent(self, message: Spread, token: str, outcome: Placed | Failure) -> None:
        if isinstance(outcome, Failure):
            self._counters["engine_lost"] += 1
            if not isinstance(message, Publish):  # at least here; twice is no harm
                self._apply(message)
            question = self._questions.pop(token, None)
            if question is not None:
                question.done(outcome)
        elif token in self._questions:
            self._questions[token].expected = outcome.heard
            self._look(token)

    def take(self, entry: Entry) -> None:
        """A gateway has spread something."""
        try:
            message = decode_spread(entry.publication.data)
        except FormError as error:
            self._counters["messages_unknown"] += 1
            logger.warning("skipped what a gateway or process of another release says: %s", error)
            return
        number = self._apply(message)
        for call in self._calls.reply(entry.publication.event, number):
            self._ask(call, _ignore)

    def answered(self, text: bytes) -> None:
        """A gateway says to how many connections it applied."""
        token, _, number = text.decode(errors="replace").partition(" ")
        question = self._questions.get(token)
        if question is not None and number.isdecimal():
            question.answered += 1
            question.number += int(number)
            self._look(token)

    def expire(self) -> None:
        """Answer with what has come in time."""
        now = self._clock()
        late = [t for t, each in self._questions.items() if now - each.asked > PATIENCE]
        for token in late:
            question = self._questions[token]
            if question.expected is not None:  # else the server owes it, which has an end, too
                del self._questions[token]
                self._counters["engine_unanswered"] += 1
                question.done(question.number)

    def _look(self, token: str) -> None:
        question = self._questions[token]
        if question.expected is not None and question.answered >= question.expected:
            del self._questions[token]
            question.done(question.number)


def _ignore(outcome: object) -> None:
    """Whoever asked waits for a while only."""
