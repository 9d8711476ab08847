"""Hooks that run too long, with a clock and connections of the test's own."""

from __future__ import annotations

import pytest

from django_ws.options import NamespaceConfig
from django_ws.worker.hangs import STRAY_AFTER, HangWatch


class Fake:
    id = "gw-1"
    namespace = "chat"

    def __init__(self) -> None:
        self.hook_started = 0.0
        self.closed = False
        self.closes: list[int] = []

    def stack(self) -> str:
        return "  in the loop"

    def close(self, code: int, reason: str) -> None:
        self.closed = True
        self.closes.append(code)


def test_a_hook_over_its_time_is_closed_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    watch = HangWatch({"chat": NamespaceConfig(handler="H", hang_timeout=2.0)})
    connection = Fake()
    assert watch.look([connection], 100.0) == 0
    connection.hook_started = 100.0
    assert watch.look([connection], 101.9) == 0
    for now in (102.0, 103.0, 200.0):
        assert watch.look([connection], now) == 1
    assert connection.closes == [1011]
    assert len(caplog.records) == 1
    assert "in the loop" in caplog.text


def test_a_hook_that_runs_on_after_its_connection_is_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = HangWatch({})
    connection = Fake()
    connection.hook_started = 1.0
    watch.look([connection], 500.0)  # as long as the connection is open it may
    connection.closed = True
    watch.look([connection], 501.0)
    watch.look([connection], 501.0 + STRAY_AFTER - 0.1)
    assert not caplog.records
    for later in range(3):
        watch.look([connection], 501.0 + STRAY_AFTER + later)
    (record,) = caplog.records
    assert "a hook still runs 10 s after its connection has closed" in record.getMessage()
    assert "in the loop" in record.getMessage()
    assert connection.closes == []


def test_hooks_that_end_in_time_are_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    watch = HangWatch({})
    connection = Fake()
    connection.closed = True
    for now in range(1, 100, 5):
        connection.hook_started = float(now)  # another one each time
        watch.look([connection], now + 1.0)
    connection.hook_started = 0.0
    watch.look([connection], 500.0)
    assert not caplog.records
