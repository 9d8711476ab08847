"""Database connections around hooks, as Django treats them around a request.

Django closes connections that are too old or broken, and empties the query log, by signals at both
ends of a request. The same happens here around a hook, but costs next to nothing in a thread that
has no connection open: Django tells by a signal whenever one is opened.
"""

from __future__ import annotations

import threading
from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created

__all__ = ["after_hook", "before_hook", "end_of_thread", "release"]


class _Thread(threading.local):
    """Of one thread, or greenlet where gevent has patched ``threading``.

    Attributes:
        dirty: whether a database connection may be open.
    """

    dirty = False


_thread = _Thread()


def _note(**kwargs: Any) -> None:
    _thread.dirty = True


connection_created.connect(_note, dispatch_uid="django_ws.worker.hygiene")


def before_hook() -> None:
    """Get rid of connections that broke or grew too old since the last hook of this thread."""
    if _thread.dirty:
        _tidy()


def after_hook() -> None:
    """Close connections that are to be used no longer (``CONN_MAX_AGE``, errors)."""
    if _thread.dirty:
        _tidy()


def release() -> None:
    """Give this thread's connections back, but for those in a transaction: it goes on waiting."""
    if not _thread.dirty:
        return
    dirty = False
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block or (connection.connection and not connection.autocommit):
            dirty = True
        else:
            connection.close()
            dirty = dirty or connection.connection is not None
    _thread.dirty = dirty


def end_of_thread() -> None:
    """Close every connection of this thread, which runs no further hook."""
    if _thread.dirty:
        connections.close_all()
        _thread.dirty = False


def _tidy() -> None:
    dirty = False
    for connection in connections.all(initialized_only=True):
        connection.queries_log.clear()
        connection.close_if_unusable_or_obsolete()
        dirty = dirty or connection.connection is not None
    _thread.dirty = dirty
