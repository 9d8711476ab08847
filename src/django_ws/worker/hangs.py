"""Notices hooks that run longer than their namespace allows (``hang_timeout``)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Protocol

from ..options import NamespaceConfig

__all__ = ["HangWatch"]

logger = logging.getLogger("django_ws.worker")


class _Connection(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def hook_started(self) -> float: ...
    def stack(self) -> str: ...
    def close(self, code: int, reason: str) -> None: ...


class HangWatch:
    """Reports each overdue hook once, with the stack of its thread, and closes its connection.

    Python cannot end a thread, so the hook goes on; its thread is back when it returns.

    Attributes:
        count: hooks that were overdue in all.
    """

    def __init__(self, namespaces: Mapping[str, NamespaceConfig]) -> None:
        self._timeouts = {
            name: item.hang_timeout for name, item in namespaces.items() if item.hang_timeout
        }
        self._overdue: dict[str, float] = {}  # by connection: when the hook began
        self.count = 0

    @property
    def wanted(self) -> bool:
        """Whether any namespace has a deadline."""
        return bool(self._timeouts)

    def look(self, connections: Iterable[_Connection], now: float) -> int:
        """Look at all connections.

        Args:
            now: ``time.monotonic()``.

        Returns:
            How many hooks are overdue.
        """
        overdue: dict[str, float] = {}
        for connection in connections:
            timeout = self._timeouts.get(connection.namespace)
            started = connection.hook_started
            if not timeout or not started or now - started < timeout:
                continue
            overdue[connection.id] = started
            if self._overdue.get(connection.id) != started:
                self.count += 1
                logger.error(
                    "%s: connection %s: a hook has run for over %g s and is given up; "
                    "its thread is missing until it returns (%d such hooks so far). It is at:\n%s",
                    connection.namespace,
                    connection.id,
                    timeout,
                    self.count,
                    connection.stack(),
                )
                connection.close(1011, "handler timeout")
        self._overdue = overdue
        return len(overdue)
