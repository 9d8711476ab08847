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

__all__ = ["end_of_thread", "give_back", "thread", "tidy"]


class _Thread(threading.local):
    """Of one thread, or greenlet where gevent has patched ``threading``.

    Attributes:
        dirty: whether a database connection may be open.
    """

    dirty = False


thread = _Thread()


def _note(**kwargs: Any) -> None:
    thread.dirty = True


connection_created.connect(_note, dispatch_uid="django_ws.worker.hygiene")


def tidy() -> None:
    """At both ends of a hook in a thread that is dirty: get rid of connections that broke, grew too
    old, or are to be used no longer (``CONN_MAX_AGE``, errors)."""
    dirty = False
    for connection in connections.all(initialized_only=True):
        connection.queries_log.clear()
        connection.close_if_unusable_or_obsolete()
        dirty = dirty or connection.connection is not None
    thread.dirty = dirty


def give_back() -> None:
    """Give this thread's connections back, but for those in a transaction: it goes on waiting."""
    if not thread.dirty:
        return
    dirty = False
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block or (connection.connection and not connection.autocommit):
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
