"""What a worker says that it waits for."""

from __future__ import annotations

import sys
import threading
from types import FrameType

from django_ws.worker.busy import busy


class Connection:
    namespace = "chat"
    thread = None

    def __init__(self, number: int, started: float) -> None:
        self.id = f"gw-{number}"
        self.hook_started = started
        self.executor = self
        self.frame: FrameType | None = None

    def frame_of(self, thread: object) -> FrameType | None:
        return self.frame


def test_nothing_runs() -> None:
    assert busy([Connection(1, 0.0)], 100.0) == ""


def test_the_longest_first_and_the_rest_counted() -> None:
    connections = [Connection(number, 100.0 - number) for number in range(1, 9)]
    words = busy(connections, 100.0).split("; ")
    assert words[0] == "a hook of 'chat', for 8 s (connection gw-8)"
    assert words[4:] == ["a hook of 'chat', for 4 s (connection gw-4)", "3 more"]


def test_the_hook_is_known_by_its_stack() -> None:
    def on_message() -> None:
        on_close()

    def on_close() -> None:
        inside.set()
        go_on.wait(5)

    inside, go_on = threading.Event(), threading.Event()
    thread = threading.Thread(target=on_message)
    thread.start()
    try:
        inside.wait(5)
        connection = Connection(1, 90.0)
        connection.frame = sys._current_frames()[thread.ident or 0]
        assert busy([connection], 100.0).startswith("on_message of 'chat', for 10 s")
    finally:
        go_on.set()
        thread.join()
