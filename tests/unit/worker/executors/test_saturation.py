"""When the log says that the pool is used up."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from django_ws.worker.executors.saturation import AGAIN, NAMED, PATIENCE, Saturation


@dataclass
class Connection:
    hook_started: float
    id: str
    namespace: str = "chat"


def test_it_is_said_after_a_while_and_then_rarely(caplog: pytest.LogCaptureFixture) -> None:
    saturation = Saturation(2)
    connections = [Connection(90.0, "gw-1"), Connection(0.0, "gw-2"), Connection(80.0, "gw-3")]

    def said(active: int, now: float) -> str:
        caplog.clear()
        saturation.look(active, now, lambda: connections)
        return caplog.text

    assert said(2, 100.0) == ""
    assert said(2, 100.0 + PATIENCE) == ""
    text = said(3, 101.5)
    assert "all 2 threads of the pool are in hooks that block" in text
    assert "The longest: chat 21.5 s (gw-3), chat 11.5 s (gw-1)" in text
    assert said(2, 101.5 + AGAIN) == ""
    assert "gw-3" in said(2, 102.0 + AGAIN)


def test_one_that_is_free_for_a_moment_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    saturation = Saturation(1)
    for active, now in ((1, 10.0), (1, 10.9), (0, 11.0), (1, 20.0), (1, 20.9)):
        saturation.look(active, now, list)
    assert caplog.text == ""
    saturation.look(1, 21.5, list)
    assert "The longest" in caplog.text


def test_few_are_named(caplog: pytest.LogCaptureFixture) -> None:
    saturation = Saturation(1)
    connections = [Connection(float(number), f"gw-{number}") for number in range(1, 20)]
    saturation.look(1, 20.0, lambda: connections)
    saturation.look(1, 30.0, lambda: connections)
    assert caplog.text.count("(gw-") == NAMED
