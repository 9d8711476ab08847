"""Says in the log that all threads of the pool are taken, and by what."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

__all__ = ["Saturation"]

logger = logging.getLogger("django_ws.worker")

#: Seconds for which all of them are taken before that is said, and until it is said again.
PATIENCE = 1.0
AGAIN = 10.0

#: Hooks to name, the longest first.
NAMED = 5


class Running(Protocol):
    """A connection, as far as the log names it.

    Attributes:
        hook_started: when its hook began, by ``time.monotonic()``; 0 while none runs.
    """

    hook_started: float

    @property
    def id(self) -> str: ...
    @property
    def namespace(self) -> str: ...


class Saturation:
    """Looked at again and again by one thread.

    Args:
        limit: threads that may be in hooks that block.
    """

    __slots__ = ("_limit", "_say_at")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._say_at = 0.0  # 0 while some are free

    def look(self, active: int, now: float, connections: Callable[[], Iterable[Running]]) -> None:
        """Say it when it is time.

        Args:
            active: threads in hooks that block.
            now: of ``time.monotonic()``.
            connections: tells which there are; asked only when something is said.
        """
        if active < self._limit:
            self._say_at = 0.0
        elif not self._say_at:
            self._say_at = now + PATIENCE
        elif now > self._say_at:
            self._say_at = now + AGAIN
            running = sorted(
                (connection.hook_started, connection.namespace, connection.id)
                for connection in connections()
                if connection.hook_started
            )
            logger.warning(
                "all %d threads of the pool are in hooks that block; new connections are refused "
                "with 503: make them shorter, or raise --pool. The longest: %s",
                self._limit,
                ", ".join(
                    f"{name} {now - since:.1f} s ({id})" for since, name, id in running[:NAMED]
                ),
            )
