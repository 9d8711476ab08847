"""One database connection for all threads, where no second one could see the data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite

__all__ = ["shared_connections"]


@contextmanager
def shared_connections() -> Iterator[dict[str, BaseDatabaseWrapper]]:
    """Let every thread that begins meanwhile work with this thread's SQLite databases in memory.

    As in ``LiveServerTestCase``, where only the threads of requests do; here a handler's own
    threads, too. Other databases are opened by each thread for itself.

    Yields:
        The connections that are shared, by alias.
    """
    shared: dict[str, BaseDatabaseWrapper] = {
        connection.alias: connection
        for connection in connections.all()
        if isinstance(connection, SQLite) and connection.is_in_memory_db()
    }
    create = connections.create_connection

    def find(alias: str) -> BaseDatabaseWrapper:
        found = shared.get(alias)
        return create(alias) if found is None else found

    for connection in shared.values():
        connection.inc_thread_sharing()
    # For all threads: Django's own LiveServerThread does it for its own alone.
    connections.create_connection = find  # type: ignore[method-assign]
    try:
        yield shared
    finally:
        del connections.create_connection
        for connection in shared.values():
            connection.dec_thread_sharing()
