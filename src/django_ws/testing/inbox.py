"""What a client was sent and has not received."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Inbox", "Named", "ReceivedEvent"]


class ReceivedEvent(NamedTuple):
    """A named event that a client got.

    Attributes:
        event: its name.
        args: its arguments.
    """

    event: str
    args: tuple[Any, ...]


class Named(NamedTuple):
    """A named event on its way.

    Attributes:
        event: for clients that have such.
        plain: for those that have not; ``None`` if it cannot go to them.
    """

    event: ReceivedEvent
    plain: str | bytes | None


class Inbox:
    """Messages and events in order. Bounded by the test, which makes handlers send them.

    Args:
        ended: why nothing more comes, in words that follow others; empty if something may.
    """

    def __init__(self, ended: Callable[[], str]) -> None:
        self._ended = ended
        self._queue: queue.SimpleQueue[str | bytes | Named] = queue.SimpleQueue()

    def put(self, message: str | bytes | Named) -> None:
        """Something was sent."""
        self._queue.put(message)

    @property
    def empty(self) -> bool:
        """Whether nothing is left."""
        return self._queue.empty()

    def message(self, timeout: float) -> str | bytes:
        """The next one, as plain clients get it.

        Args:
            timeout: seconds to wait for it.

        Raises:
            AssertionError: There is none, or plain clients do not get it.
        """
        found = self._take(timeout)
        if not isinstance(found, Named):
            return found
        if found.plain is None:
            raise AssertionError(
                f"the next one is the event {found.event.event!r} with bytes, which plain clients "
                "do not get: use receive_event()"
            )
        return found.plain

    def event(self, timeout: float) -> ReceivedEvent:
        """The next one, which has to be a named event; otherwise as :meth:`message`."""
        found = self._take(timeout)
        if not isinstance(found, Named):
            raise AssertionError(f"the next one is no event, but the message {found!r}")
        return found.event

    def _take(self, timeout: float) -> str | bytes | Named:
        try:
            return self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
        except queue.Empty:
            words = f"the handler has sent nothing (more){self._ended()}"
            raise AssertionError(words) from None
