"""Logging: what happens at the front door, and the way to the project's own ``LOGGING``.

Never payloads, cookies or tokens.
"""

from __future__ import annotations

import logging
import time
from typing import Protocol

from .counters import Counters

__all__ = ["ControlHandler", "Journal", "Sender", "one_line"]

#: Seconds between two warnings about refusals of one kind, but under ``DEBUG``.
QUIET_PERIOD = 10.0

_logger = logging.getLogger("django_ws.gateway")
_LINE_BREAKS = str.maketrans({"\r": " ", "\n": " "})


def one_line(text: str) -> str:
    """``text`` without the line breaks by which a client could forge records."""
    return text.translate(_LINE_BREAKS)


class Sender(Protocol):
    """What takes control messages, without waiting; False if it could not."""

    def send(self, message: dict[str, object]) -> bool: ...


class ControlHandler(logging.Handler):
    """Passes records to the supervisor, who logs them as the project wishes.

    The channel bounds what waits in it; what it drops is counted.

    Args:
        channel: to the supervisor.
        counters: gets ``log_records_dropped``.
    """

    def __init__(self, channel: Sender, counters: Counters) -> None:
        super().__init__()
        self._channel = channel
        self._counters = counters

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record. Those of libraries go under the gateway's name, too."""
        name = record.name
        if not name.startswith("django_ws."):
            name = f"django_ws.gateway.{name}"
        try:
            message = one_line(record.getMessage())
            if record.exc_info and record.exc_info[0]:
                message += "\n" + logging.Formatter().formatException(record.exc_info)
            sent = self._channel.send(
                {"op": "log", "name": name, "level": record.levelno, "message": message}
            )
        except Exception:
            self.handleError(record)
            return
        if not sent:
            self._counters["log_records_dropped"] += 1


class Journal:
    """Counts and tells who comes and goes.

    Args:
        counters: where refusals count.
        debug: tell everything, one line for each event.
    """

    def __init__(self, counters: Counters, debug: bool) -> None:
        self._counters = counters
        self._debug = debug
        self._silent_until: dict[str, float] = {}
        self._unsaid: Counters = Counters()

    def opened(self, label: str) -> None:
        """A connection was accepted."""
        _logger.info("%s opened", label)

    def closed(self, label: str, code: int) -> None:
        """A connection has ended."""
        _logger.info("%s closed (%d)", label, code)

    def refused(self, counter: str, label: str, status: int, why: str) -> None:
        """A handshake came to nothing.

        Args:
            counter: one of :data:`.counters.HELP`.
            label: address and path.
            status: the HTTP status.
            why: in words; the client sees little of it, and its page nothing.
        """
        self._counters[counter] += 1
        if self._debug:
            _logger.warning("%s refused (%d): %s", label, status, why)
            return
        now = time.monotonic()
        if now < self._silent_until.get(counter, 0.0):
            self._unsaid[counter] += 1
            return
        self._silent_until[counter] = now + QUIET_PERIOD
        unsaid = self._unsaid.pop(counter, 0)
        more = f" ({unsaid} more like it)" if unsaid else ""
        _logger.warning("%s refused (%d): %s%s", label, status, why, more)
