"""Signals as something a selector can wait for."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Self

__all__ = ["Signals"]

_Handler = Callable[[int, FrameType | None], object] | int | None


class Signals:
    """A context in which signals do nothing but make :meth:`fileno` readable.

    Only the main thread can enter it. What was set up before is restored at the end.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._numbers = numbers
        self._before: dict[signal.Signals, _Handler] = {}
        self._fd_before = -1
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def __enter__(self) -> Self:
        self._fd_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signal.signal(number, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # None stands for a handler that was not installed from Python.
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(self._fd_before)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._reader.fileno()

    def take(self) -> list[int]:
        """The signals that came since the last call."""
        taken = bytearray()
        with contextlib.suppress(BlockingIOError):
            while data := self._reader.recv(4096):
                taken += data
        return list(taken)
