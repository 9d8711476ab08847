"""Logging: what happens at the front door, and the way to the project's own ``LOGGING``.

Never payloads, cookies or tokens.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable
from typing import Protocol

from .counters import Counters

__all__ = ["ControlHandler", "Journal", "Sender", "StrangersFilter", "printable"]

#: Seconds in which lines of one kind are counted together, and how many of them are written:
#: under ``DEBUG`` everything that a person may cause.
QUIET_PERIOD = 10.0
LINES = 1
LINES_IN_DEBUG = 50

#: Characters of what a stranger can put into one line.
_MOST = 200

_logger = logging.getLogger("django_ws.gateway")


def printable(text: str) -> str:
    """``text`` in one line, without characters that move the cursor or turn the writing around.

    Those are the control and format characters of Unicode (C0, C1, bidirectional marks), by which
    a client could forge records or dress them up.
    """
    if text.isprintable():
        return text
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def cut(text: str, size: int = _MOST) -> str:
    """``text`` with no more than ``size`` characters."""
    return text if len(text) <= size else f"{text[:size]}..."


class _Quiet:
    """Says of each kind of line whether it is written, or only counted.

    Args:
        lines: of one kind that are written in a period.
    """

    def __init__(self, lines: int) -> None:
        self._lines = lines
        # When the period of a kind ends, and how many came in it. There are few kinds.
        self._periods: dict[Hashable, tuple[float, int]] = {}

    def clear(self) -> None:
        """Begin new periods, but keep the counts."""
        self._periods = {kind: (0.0, count) for kind, (_, count) in self._periods.items()}

    def admit(self, kind: Hashable, now: float) -> int | None:
        """Whether a line is written.

        Returns:
            How many before it were not; None if it is not either.
        """
        ends, count = self._periods.get(kind, (0.0, 0))
        if now >= ends:
            self._periods[kind] = (now + QUIET_PERIOD, 1)
            return max(0, count - self._lines)
        self._periods[kind] = (ends, count + 1)
        return 0 if count < self._lines else None


def _more(count: int) -> str:
    return f" ({count} more like it)" if count else ""


class StrangersFilter(logging.Filter):
    """Makes records fit for a log, whoever caused them.

    Lines of libraries are counted like refusals, since strangers can cause them (plain HTTP on a
    port for TLS): one in ten seconds of each place in the code that writes them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._quiet = _Quiet(LINES)

    def filter(self, record: logging.LogRecord) -> bool:
        """Change a record in place; False if it is not to be written."""
        text = printable(record.getMessage())
        if not record.name.startswith("django_ws."):  # ours are counted where they are written
            more = self._quiet.admit((record.pathname, record.lineno), time.monotonic())
            if more is None:
                return False
            text = cut(text) + _more(more)
        record.msg = text
        record.args = None
        if record.exc_info and not record.exc_text:
            lines = logging.Formatter().formatException(record.exc_info).splitlines()
            record.exc_text = "\n".join(
                cut(line, 1000) if line.isprintable() else cut(printable(line), 1000)
                for line in lines
            )
        return True


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
        self.addFilter(StrangersFilter())

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record. Those of libraries go under the gateway's name, too."""
        name = record.name
        if not name.startswith("django_ws."):
            name = f"django_ws.gateway.{name}"
        try:
            message = record.getMessage()
            if record.exc_text:
                message += "\n" + record.exc_text
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
        self._quiet = _Quiet(LINES_IN_DEBUG if debug else LINES)

    @staticmethod
    def label(address: str, path: str) -> str:
        """Names a request in the log."""
        return f"{address} {cut(printable(path))}"

    def opened(self, label: str) -> None:
        """A connection was accepted."""
        _logger.info("%s opened", label)

    def closed(self, label: str, code: int) -> None:
        """A connection has ended."""
        _logger.info("%s closed (%d)", label, code)

    def refused(self, counter: str, label: str, status: int, why: str) -> None:
        """A request came to nothing.

        Args:
            counter: one of :data:`.counters.HELP`.
            label: see :meth:`label`; or the address alone.
            status: the HTTP status.
            why: in words; the client sees little of it, and its page nothing.
        """
        self._counters[counter] += 1
        more = self._quiet.admit(counter, time.monotonic())
        if more is not None:
            why = cut(printable(why), 4 * _MOST)
            _logger.warning("%s refused (%d): %s%s", label, status, why, _more(more))
