"""Bodies of long polling: their packets at the pace that is allowed."""

from __future__ import annotations

from collections.abc import Callable

from .context import Context
from .engine import Engine
from .engineio import Payload, Violation

__all__ = ["Answer", "Intake"]

#: Packets of a body that are handled in one turn of the loop.
TURN = 64

#: Gets the body of the answer; None: the request is refused.
Answer = Callable[[bytes | None], None]


class Intake:
    """Hands the packets of one body at a time to an engine.

    Args:
        context: shared by all.
        engine: gets them.
        too_big: called at a packet that is over the limit; ends the session.
    """

    __slots__ = ("_context", "_done", "_due", "_engine", "_full", "_payload", "_too_big")

    def __init__(self, context: Context, engine: Engine, too_big: Callable[[], None]) -> None:
        self._context = context
        self._engine = engine
        self._too_big = too_big
        self._payload: Payload | None = None
        self._done: Answer | None = None
        self._full = False
        #: Loop time until which the packets so far use up the message rate.
        self._due = 0.0

    @property
    def busy(self) -> bool:
        """Whether a body is in hand."""
        return self._payload is not None

    def charge(self) -> float:
        """Let something else cost as much as a message.

        Returns:
            Seconds by which it is too early; not above 0 if the rate allows it.
        """
        now = self._context.loop.time()
        self._due = max(self._due, now)
        early = self._due - now - self._context.ahead
        self._due += self._context.interval
        return early

    def take(self, body: bytes, done: Answer) -> None:
        """Begin with a body, while none is in hand; the answer comes once it is taken."""
        self._payload, self._done = Payload(body), done
        self._work()

    def answer(self, answer: bytes | None) -> None:
        """Be done with the body in hand, if there is one."""
        done, self._done, self._payload = self._done, None, None
        if done is not None:
            done(answer)

    def resume(self) -> None:
        """Go on with the body."""
        if self._full:
            self._full = False
            self._context.loop.call_soon(self._work)

    def _work(self) -> None:
        context, engine = self._context, self._engine
        now = context.loop.time()
        self._due = max(self._due, now)
        turn = TURN
        while (payload := self._payload) is not None and not self._full:
            if self._due - now > context.ahead:
                context.counters["throttled"] += 1
                context.loop.call_later(self._due - now - context.ahead, self._work)
                return
            if not turn:
                context.loop.call_soon(self._work)
                return
            turn -= 1
            self._due += context.interval
            try:
                packet = payload.read()
            except Violation as violation:
                engine.fail(str(violation))
                return
            if packet is None:
                self.answer(b"ok")
            elif len(packet[1]) > context.max_size:
                self._too_big()
            elif not engine.receive(*packet) and self._payload is not None:
                context.counters["window_full"] += 1
                self._full = True
