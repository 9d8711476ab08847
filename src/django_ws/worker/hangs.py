"""Notices hooks that run too long: over their ``hang_timeout``, or on after their connection."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Protocol

from ..options import NamespaceConfig

__all__ = ["HangWatch"]

logger = logging.getLogger("django_ws.worker")

#: Seconds that a hook may run on after its connection has closed, before that is reported.
STRAY_AFTER = 10.0


class Watched(Protocol):
    """What the watch needs of a connection."""

    @property
    def id(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def hook_started(self) -> float: ...
    @property
    def closed(self) -> bool: ...
    def stack(self) -> str: ...
    def close(self, code: int, reason: str) -> None: ...


class HangWatch:
    """Reports each such hook once, with the stack of its thread; one that is over its time has its
    connection closed.

    Python cannot end a thread, so the hook goes on; its thread is back when it returns.

    Attributes:
        count: hooks that were overdue in all.
    """

    def __init__(self, namespaces: Mapping[str, NamespaceConfig]) -> None:
        self._timeouts = {
            name: item.hang_timeout for name, item in namespaces.items() if item.hang_timeout
        }
        self._overdue: dict[str, float] = {}  # by connection: when the hook began
        # By connection: when the hook began, and since when it runs on; negative once reported.
        self._strays: dict[str, tuple[float, float]] = {}
        self.count = 0

    @property
    def wanted(self) -> bool:
        """Whether any namespace has a deadline, so that :meth:`look` is to be called often."""
        return bool(self._timeouts)

    def look(self, connections: Iterable[Watched], now: float) -> int:
        """Look at all connections.

        Args:
            now: ``time.monotonic()``.

        Returns:
            How many hooks are over their ``hang_timeout``.
        """
        overdue: dict[str, float] = {}
        strays: dict[str, tuple[float, float]] = {}
        for connection in connections:
            started = connection.hook_started
            if not started:
                continue
            timeout = self._timeouts.get(connection.namespace)
            if timeout and now - started >= timeout:
                overdue[connection.id] = started
                if self._overdue.get(connection.id) != started:
                    self._report_overdue(connection, timeout)
            elif connection.closed:
                strays[connection.id] = started, self._stray(connection, started, now)
        self._overdue, self._strays = overdue, strays
        return len(overdue)

    def _report_overdue(self, connection: Watched, timeout: float) -> None:
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

    def _stray(self, connection: Watched, started: float, now: float) -> float:
        """Since when a hook runs on; negative once that is reported."""
        before, since = self._strays.get(connection.id, (0.0, 0.0))
        if before != started:
            return now
        if since < 0 or now - since < STRAY_AFTER:
            return since
        logger.error(
            "%s: connection %s: a hook still runs %g s after its connection has closed; its thread "
            "is lost until it returns. It is at:\n%s",
            connection.namespace,
            connection.id,
            now - since,
            connection.stack(),
        )
        return -1.0
