"""Database connections around hooks, as Django treats them around a request.

Django closes connections that are too old or broken, and empties the query log, by signals at both
ends of a request. The same happens here around a hook, but costs next to nothing in a thread that
has no connection open: Django tells by a signal whenever one is opened.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakSet

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.backends.utils import CursorWrapper
from django.urls import set_script_prefix

from .. import conf

__all__ = ["end_of_process", "end_of_thread", "give_back", "thread", "tidy"]


class _Thread(threading.local):
    """Of one thread, or greenlet where gevent has patched ``threading``.

    Attributes:
        dirty: whether a database connection may be open, or a cache to be closed.
        begun: :func:`begin` has run.
        saves_sessions: each hook saves its session (``SESSION_SAVE_EVERY_REQUEST``).
        closing: caches that want to be closed after each hook, as after each request.
    """

    dirty = False
    begun = False
    saves_sessions = False
    closing: tuple[BaseCache, ...] = ()


thread = _Thread()


def _note(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    thread.dirty = True
    # Django has no signal for cursors; its own tests replace such methods of a connection, too.
    if not isinstance(connection.chunked_cursor, _Cursors):
        connection.chunked_cursor = _Cursors(connection.chunked_cursor)  # type: ignore[method-assign]


class _Cursors:
    """Makes the cursors that ``QuerySet.iterator()`` reads from, and knows which still live: they
    go with the iterator, be it at its end."""

    def __init__(self, make: Callable[[], CursorWrapper]) -> None:
        self._make = make
        self.alive: WeakSet[CursorWrapper] = WeakSet()

    def __call__(self) -> CursorWrapper:
        cursor = self._make()
        self.alive.add(cursor)
        return cursor


def _in_use(connection: BaseDatabaseWrapper) -> bool:
    """Whether somebody still needs the connection: in a transaction, or in the midst of reading."""
    if connection.in_atomic_block or (connection.connection and not connection.autocommit):
        return True
    cursors = connection.chunked_cursor
    return isinstance(cursors, _Cursors) and bool(cursors.alive)


connection_created.connect(_note, dispatch_uid="django_ws.worker.hygiene")


def begin() -> None:
    """Before the first hook of a thread: what a hook sets ends with it, since it runs in a copy of
    the thread's context. So what is to last, and what Django sets per thread, is made here."""
    thread.begun = True
    set_script_prefix(f"{conf.script_name()}/")
    thread.saves_sessions = conf.saves_every_session()
    thread.closing = tuple(each for each in _caches() if type(each).close is not BaseCache.close)
    thread.dirty = thread.dirty or bool(thread.closing)


def _caches() -> Iterator[BaseCache]:
    for alias in caches.settings:
        # One that cannot be made fails in the hook that asks for it.
        with contextlib.suppress(Exception):
            yield caches[alias]


def tidy() -> None:
    """At both ends of a hook in a thread that is dirty: get rid of connections that broke, grew too
    old, or are to be used no longer (``CONN_MAX_AGE``, errors)."""
    dirty = bool(thread.closing)
    for cache in thread.closing:
        cache.close()
    for connection in connections.all(initialized_only=True):
        connection.queries_log.clear()
        connection.close_if_unusable_or_obsolete()
        dirty = dirty or connection.connection is not None
    thread.dirty = dirty


def give_back() -> None:
    """Give this thread's connections back, but for those in use: it goes on waiting."""
    if not thread.dirty:
        return
    dirty = bool(thread.closing)
    for connection in connections.all(initialized_only=True):
        if _in_use(connection):
            dirty = True
        else:
            connection.close()
            dirty = dirty or connection.connection is not None
    thread.dirty = dirty


def end_of_thread() -> None:
    """Close every connection of this thread, which runs no further hook."""
    if thread.dirty:
        connections.close_all()
        thread.dirty = False


def end_of_process() -> None:
    """Close what leads from this process to databases and caches: before its end, and before a
    fork, whose two sides would else talk over the same connections.

    A pooled connection only goes back to its pool when it is closed, so pools are closed, too.
    """
    connections.close_all()  # whether or not anybody has noted that one is open
    thread.dirty = False
    for alias in connections:
        with contextlib.suppress(ImproperlyConfigured):  # such an engine has opened nothing
            close_pool = getattr(connections[alias], "close_pool", None)
            if close_pool is not None:
                close_pool()
    caches.close_all()
