"""The question whether a browser that is back may have its session again."""

from __future__ import annotations

import asyncio

from ..wire.messages import Accept, Refuse, Resumed

__all__ = ["GONE", "Returning"]

#: Status of an answer that a worker gives where the session has just ended.
GONE = 410


class Returning:
    """One question to a handler.

    Args:
        number: tells it from others.
        handshake: of the new connection, encoded.
        verdict: gets the answer.

    Attributes:
        gone: there is nothing left to come back to, or nobody who could say.
        replaced: yet another connection has asked meanwhile.
    """

    __slots__ = ("gone", "handshake", "number", "replaced", "verdict")

    def __init__(
        self, number: int, handshake: bytes, verdict: asyncio.Future[Accept | Refuse]
    ) -> None:
        self.number = number
        self.handshake = handshake
        self.verdict = verdict
        self.gone = False
        self.replaced = False

    def answered(self, message: Resumed) -> None:
        """The handler has said something."""
        if message.status:
            self._settle(Refuse(message.conn, message.status, message.reason))
        else:
            self._settle(Accept(message.conn, ""))

    def lapse(self, *, replaced: bool = False) -> None:
        """Nobody will answer.

        Args:
            replaced: since another one asks.
        """
        self.gone, self.replaced = not replaced, replaced
        self._settle(Refuse(0, GONE, "the session is gone"))

    def _settle(self, verdict: Accept | Refuse) -> None:
        if not self.verdict.done():
            self.verdict.set_result(verdict)
