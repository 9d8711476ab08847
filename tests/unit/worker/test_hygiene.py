"""Database connections around hooks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.db import connections, transaction
from django.urls import get_script_prefix
from pytest_django import DjangoDbBlocker

from django_ws.worker import hygiene

Run = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker) -> Run:
    """Runs a function in a thread of its own, in which a database "other" is there.

    A file, since Django never closes a SQLite database in memory.
    """
    database = {**connections.settings["default"], "NAME": str(tmp_path / "other.sqlite3")}
    monkeypatch.setitem(connections.settings, "other", database)

    def run(function: Callable[[], Any]) -> Any:
        with django_db_blocker.unblock(), ThreadPoolExecutor(1) as executor:
            try:
                return executor.submit(function).result(10)
            finally:
                executor.submit(connections.close_all).result(10)

    return run


def query() -> None:
    with connections["other"].cursor() as cursor:
        cursor.execute("SELECT 1")


def edge_of_hook() -> None:
    """What a connection does before and after each hook."""
    if hygiene.thread.dirty:
        hygiene.tidy()


def is_open() -> bool:
    return connections["other"].connection is not None


def test_nothing_is_looked_at_while_nothing_is_open(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hooks() -> None:
        for function in (
            edge_of_hook,
            hygiene.give_back,
            hygiene.end_of_thread,
        ):
            function()

    with monkeypatch.context() as patch:
        patch.setattr(hygiene, "connections", None)
        run(hooks)


def test_a_connection_ends_with_its_hook_when_it_has_no_age(run: Run) -> None:
    def hooks() -> list[bool]:
        seen = []
        for _ in range(2):
            edge_of_hook()
            query()
            seen.append(is_open())
            edge_of_hook()
            seen.append(is_open())
        return seen

    assert run(hooks) == [True, False, True, False]


def test_a_connection_is_kept_for_its_age(run: Run) -> None:
    connections.settings["other"]["CONN_MAX_AGE"] = 60

    def hooks() -> list[bool]:
        query()
        edge_of_hook()
        seen = [is_open()]
        connections["other"].close_at = 0.0
        edge_of_hook()
        return [*seen, is_open()]

    assert run(hooks) == [True, False]


def test_a_broken_connection_is_replaced_before_the_next_hook(run: Run) -> None:
    connections.settings["other"]["CONN_MAX_AGE"] = None

    def hooks() -> list[bool]:
        query()
        connections["other"].errors_occurred = True
        edge_of_hook()
        seen = [is_open()]
        connections["other"].errors_occurred = True
        connections["other"].is_usable = lambda: False  # type: ignore[method-assign]
        edge_of_hook()
        return [*seen, is_open()]

    assert run(hooks) == [True, False]


def test_the_query_log_is_emptied(run: Run) -> None:
    def hooks() -> list[int]:
        connection = connections["other"]
        connection.force_debug_cursor = True
        query()
        seen = [len(connection.queries_log)]
        edge_of_hook()
        return [*seen, len(connection.queries_log)]

    assert run(hooks) == [1, 0]


def test_release_closes_outside_atomic_only(run: Run) -> None:
    connections.settings["other"]["CONN_MAX_AGE"] = None

    def hook() -> list[bool]:
        with transaction.atomic(using="other"):
            query()
            hygiene.give_back()
            seen = [is_open()]
        hygiene.give_back()
        seen.append(is_open())
        query()
        hygiene.give_back()
        return [*seen, is_open()]

    assert run(hook) == [True, False, False]


def test_release_spares_a_transaction_without_atomic(run: Run) -> None:
    def hook() -> list[bool]:
        query()
        transaction.set_autocommit(False, using="other")
        hygiene.give_back()
        seen = [is_open()]
        transaction.set_autocommit(True, using="other")
        hygiene.give_back()
        return [*seen, is_open()]

    assert run(hook) == [True, False]


def test_waiting_in_the_midst_of_reading_keeps_the_connection(run: Run) -> None:
    def read() -> list[Any]:
        database = connections["other"]
        with database.cursor() as cursor:
            cursor.execute("CREATE TABLE t (n)")
            cursor.execute("INSERT INTO t VALUES (1), (2), (3)")
        cursor = database.chunked_cursor()  # what QuerySet.iterator() reads from
        cursor.execute("SELECT n FROM t ORDER BY n")
        rows = [cursor.fetchone()]
        hygiene.give_back()
        rows += cursor.fetchall()
        del cursor
        hygiene.give_back()
        return [rows, is_open()]

    assert run(read) == [[(1,), (2,), (3,)], False]


def test_the_end_of_a_thread_closes_everything(run: Run) -> None:
    connections.settings["other"]["CONN_MAX_AGE"] = None

    def hook() -> bool:
        query()
        hygiene.end_of_thread()
        return is_open()

    assert run(hook) is False


def test_threads_do_not_touch_each_other(run: Run) -> None:
    connections.settings["other"]["CONN_MAX_AGE"] = None

    def hook() -> bool:
        query()
        other = threading.Thread(target=hygiene.end_of_thread)
        other.start()
        other.join(10)
        return is_open()

    assert run(hook) is True


class ClosedCache(LocMemCache):
    """Counts what Django would do around requests."""

    made = closed = 0

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        type(self).made += 1
        super().__init__(name, params)

    def close(self, **kwargs: Any) -> None:
        type(self).closed += 1


def test_all_hooks_of_a_thread_have_the_same_caches_and_the_projects_prefix(
    settings: LazySettings,
) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.ClosedCache"}}
    settings.FORCE_SCRIPT_NAME = "/site"
    ClosedCache.made = ClosedCache.closed = 0

    def hook() -> tuple[int, str]:
        return id(caches["default"]), get_script_prefix()

    def hooks() -> list[tuple[int, str]]:
        hygiene.begin()
        found = []
        for _ in range(3):
            found.append(copy_context().run(hook))
            edge_of_hook()
        return found

    with ThreadPoolExecutor(1) as executor:
        found = executor.submit(hooks).result(10)
    assert len(set(found)) == 1
    assert found[0][1] == "/site/"
    assert (ClosedCache.made, ClosedCache.closed) == (1, 3)


def test_a_cache_that_cannot_be_made_is_the_hooks_affair(settings: LazySettings) -> None:
    settings.CACHES = {"default": {"BACKEND": "nowhere.Cache"}}
    with ThreadPoolExecutor(1) as executor:
        executor.submit(hygiene.begin).result(10)
