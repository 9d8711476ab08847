"""Commit, then publish: what is published inside a transaction waits for its end."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakSet

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from .exceptions import DjangoWSError

__all__ = ["Deferred", "counters", "defer", "deferring", "in_transaction", "lost"]

T = TypeVar("T")

logger = logging.getLogger("django_ws.publishing")

#: What became of publications that nobody was told about; see :func:`lost`.
counters: Counter[str] = Counter()

#: Seconds between lines in the log about the same misfortune.
QUIET = 1.0


class Deferred(Generic[T]):
    """What runs at the commit. The data is committed then, so it never raises.

    Attributes:
        what: to be sent.
        done: it has run, or need not.
    """

    def __init__(self, what: T, send: Callable[[T], object], number: int) -> None:
        self.what = what
        self.number = number
        self.done = False
        self._send = send

    def __call__(self) -> None:
        """Send it, once."""
        if self.done:
            return
        self.done = True
        try:
            self._send(self.what)
        except Exception as error:
            lost(self.number, error)


def in_transaction(using: str | None) -> str | None:
    """The database whose commit is to be waited for.

    Args:
        using: an alias; ``None`` for the default database if it is in a transaction, else for the
            only one that is.

    Returns:
        ``None`` if there is nothing to wait for.
    """
    if using is not None:
        return using if connections[using].in_atomic_block else None
    found = [
        connection.alias
        for connection in connections.all(initialized_only=True)
        if connection.in_atomic_block
    ]
    if DEFAULT_DB_ALIAS in found:
        return DEFAULT_DB_ALIAS
    return found[0] if len(found) == 1 else None


def only_of_a_test(connection: BaseDatabaseWrapper) -> bool:
    """Whether only Django's ``TestCase`` has opened transactions, which are never committed."""
    blocks = connection.atomic_blocks
    return all(getattr(block, "_from_testcase", False) for block in blocks)


def defer(alias: str, what: T, send: Callable[[T], object], number: int) -> None:
    """Send something on commit; what a rolled back savepoint has published is dropped.

    Args:
        alias: of a database that is in a transaction.
        number: how many publications it is.
    """
    connection = connections[alias]
    if connection not in _deferring:
        with _lock:
            _deferring.add(connection)
    connection.on_commit(Deferred(what, send, number))


def deferring() -> list[BaseDatabaseWrapper]:
    """The connections to databases, of all threads, whose commit something has waited for."""
    with _lock:
        return list(_deferring)


_lock = threading.Lock()
_deferring: WeakSet[BaseDatabaseWrapper] = WeakSet()  # changed and listed under _lock
_said = float("-inf")  # guarded by _lock
_unsaid = 0  # guarded by _lock


def lost(number: int, error: Exception) -> None:
    """Count publications that got lost, and say so, not more than once a second."""
    global _said, _unsaid
    with _lock:
        counters["publications_lost"] += number
        _unsaid += number
        now = time.monotonic()
        if now - _said < QUIET:
            return
        number, _unsaid, _said = _unsaid, 0, now
    unexpected = None if isinstance(error, DjangoWSError) else error
    logger.error("%d publication(s) lost: %s", number, error, exc_info=unexpected)


def _forget_after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have it


os.register_at_fork(after_in_child=_forget_after_fork)
