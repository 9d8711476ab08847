"""Both directions of a v1 session, by number: what came, what is handled, what may be lost. Pure.

It belongs to the session and outlives its sockets.
"""

from __future__ import annotations

from collections import deque

__all__ = ["OVERHEAD", "Gap", "Numbering"]

#: Bytes to count for a kept envelope besides its tail.
OVERHEAD = 64


class Gap(Exception):
    """A number that cannot be: the client has skipped one, or has what was never sent."""


class Numbering:
    """Counts envelopes and keeps those that the client has not acknowledged.

    What it keeps is bounded by its owner, which gives a session up beyond ``MAX_PENDING``.

    Attributes:
        received: number of the last envelope that came.
        handled: number of the last one that the handler is done with.
        sent: number of the last envelope given out.
        size: bytes kept.
    """

    __slots__ = ("_kept", "_told", "handled", "received", "sent", "size")

    def __init__(self) -> None:
        self.received = 0
        self.handled = 0
        self.sent = 0
        self.size = 0
        self._told = 0
        self._kept: deque[tuple[int, bytes, bytes]] = deque()

    # ------------------------------------------------------------------ from the client

    def take(self, number: int, had: int) -> bool:
        """Count an envelope that came.

        Returns:
            Whether it is new: one that came before is not to be handled again.

        Raises:
            Gap: The one before it has not come.
        """
        if had != self.sent - len(self._kept):
            self.acknowledged(had)
        if number == self.received + 1:
            self.received = number
            return True
        if number > self.received or number < 1:
            raise Gap(f"number {number} after {self.received}")
        return False

    def acknowledged(self, had: int) -> None:
        """The client has everything up to ``had``; what it said before may come later.

        Raises:
            Gap: It cannot have that.
        """
        if had > self.sent:
            raise Gap(f"acknowledges {had}, {self.sent} was sent")
        kept = self._kept
        for _ in range(had - self.sent + len(kept)):
            self.size -= len(kept.popleft()[2]) + OVERHEAD

    def follows(self, had: int) -> bool:
        """Whether a client that has everything up to ``had`` can go on from there."""
        return self.sent - len(self._kept) <= had <= self.sent

    # ------------------------------------------------------------------ from the worker

    def handled_up_to(self, seq: int) -> None:
        """The worker has handled all events up to ``seq``."""
        number = self.number(seq)
        if number > self.handled:
            self.handled = number

    @staticmethod
    def number(seq: int) -> int:
        """The number of the envelope that became the event ``seq``: the first is the Connect."""
        return seq - 1

    # ------------------------------------------------------------------ to the client

    def envelope(self, opcode: int, kind: bytes, tail: bytes) -> bytes:
        """The next envelope, to be sent with ``opcode``; it is kept until acknowledged."""
        number = self.sent = self.sent + 1
        self._kept.append((opcode, kind, tail))
        self.size += len(tail) + OVERHEAD
        handled = self._told = self.handled
        return b'["%b",%d,%d%b' % (kind, number, handled, tail)

    def acknowledgement(self) -> bytes:
        """Tells what is handled and takes no number; also the sign of life."""
        self._told = self.handled
        return b'["a",%d]' % self.handled

    @property
    def owes(self) -> bool:
        """Whether the client has not been told of all that is handled."""
        return self.handled > self._told

    def again(self) -> list[tuple[int, bytes]]:
        """All that is kept, in order, as opcode and envelope, for a client that came back."""
        first = self.sent - len(self._kept) + 1
        handled = self.handled
        if self._kept:
            self._told = handled
        return [
            (opcode, b'["%b",%d,%d%b' % (kind, first + index, handled, tail))
            for index, (opcode, kind, tail) in enumerate(self._kept)
        ]
