"""Signals about gateways that have started."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from django_ws.signals import gateway_started
from django_ws.worker import greetings
from django_ws.worker.greetings import Greetings


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """What a receiver heard, another one being broken; each in the thread of the signal."""
    heard: list[tuple[str, str]] = []

    def broken(**kwargs: object) -> None:
        raise LookupError("broken")

    def receive(gateway: str, endpoint: str, **kwargs: object) -> None:
        assert threading.current_thread() is not threading.main_thread()
        heard.append((gateway, endpoint))

    class Joined(threading.Thread):
        def start(self) -> None:
            super().start()
            self.join()

    monkeypatch.setattr(greetings.threading, "Thread", Joined)
    receivers: list[Callable[..., None]] = [broken, receive]
    for each in receivers:
        gateway_started.connect(each)
    yield heard
    for each in receivers:
        gateway_started.disconnect(each)


def test_each_gateway_is_told_once(told: list[tuple[str, str]]) -> None:
    hello = Greetings()
    for gateway, endpoint in (("a", "one"), ("a", "one"), ("b", "two"), ("a", "one"), ("c", "one")):
        hello.note(gateway, endpoint)
    assert told == [("a", "one"), ("b", "two"), ("c", "one")]


def test_its_thread_keeps_no_database_connection(
    told: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(greetings.hygiene, "begin", lambda: done.append("before"))
    monkeypatch.setattr(greetings.hygiene, "end_of_thread", lambda: done.append("end"))
    Greetings().note("a", "one")
    assert done == ["before", "end"]
