"""Which hooks run right now: what a stop waits for, in words."""

from __future__ import annotations

from collections.abc import Iterable
from types import FrameType
from typing import Protocol

from ..base import WebSocketHandler

__all__ = ["busy"]

#: Hooks to name; the others are only counted.
MOST = 5


class _Executor(Protocol):
    def frame_of(self, thread: object) -> FrameType | None: ...


class _Connection(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def hook_started(self) -> float: ...
    @property
    def thread(self) -> object: ...
    @property
    def executor(self) -> _Executor: ...


def busy(connections: Iterable[_Connection], now: float) -> str:
    """The hooks that run, the longest first; empty if none does.

    Args:
        now: ``time.monotonic()``.
    """
    # Read once: it may end meanwhile.
    running = [(each.hook_started, each) for each in connections]
    running = sorted(((at, each) for at, each in running if at), key=lambda item: item[0])
    words = [
        f"{_hook(each)} of {each.namespace!r}, for {now - at:.0f} s (connection {each.id})"
        for at, each in running[:MOST]
    ]
    if more := len(running) - len(words):
        words.append(f"{more} more")
    return "; ".join(words)


def _hook(connection: _Connection) -> str:
    """Its name, by the stack of its thread: the outermost frame that is one."""
    frame = connection.executor.frame_of(connection.thread)
    found = "a hook"
    while frame is not None:
        name = frame.f_code.co_name
        if name in WebSocketHandler.hooks and name != "dispatch":
            found = name
        frame = frame.f_back
    return found
