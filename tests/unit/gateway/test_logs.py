"""What strangers can put into the log: how much, and which characters."""

from __future__ import annotations

import logging
import unicodedata

import pytest

from django_ws.gateway.counters import Counters
from django_ws.gateway.logs import ControlHandler, Journal, StrangersFilter, printable

BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("as it is: é 字 🙂", "as it is: é 字 🙂"),
        ("not\r\nhere", "not here"),
        ("\x1b[2J", "[2J"),
        ("a\x9b2Jb", "a 2Jb"),
        ("a\u202eb\u2028c", "a b c"),
        ("\ud800", ""),
    ],
)
def test_characters(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_no_control_or_format_character_is_left() -> None:
    every = "".join(map(chr, range(0x3000))) + BIDI
    left = printable(every)
    assert not [c for c in left if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs")]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_refusals_of_a_kind_are_counted_together(caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters()
    journal = Journal(counters, debug=False)
    for number in range(5):
        journal.refused("refused_host", f"10.0.0.{number}", 400, "no")
        journal.refused("refused_body", f"10.0.0.{number}", 413, "no")
    assert lines(caplog) == ["10.0.0.0 refused (400): no", "10.0.0.0 refused (413): no"]
    assert counters["refused_host"] == 5


def test_debug_says_more_but_not_everything(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(Counters(), debug=True)
    for _ in range(1000):
        journal.refused("refused_host", "10.0.0.1", 400, "no")
    assert len(lines(caplog)) == 50


def test_no_line_is_long_or_unprintable(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(Counters(), debug=True)
    label = journal.label("10.0.0.1", "/socket/\x9b\u202e" + "x" * 10_000)
    journal.refused("refused_origin", label, 403, "evil\u202e\n" + "y" * 10_000)
    (line,) = lines(caplog)
    assert line.isprintable()
    assert len(line) < 1100


class Control:
    """Takes what would go to the supervisor."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def send(self, message: dict[str, object]) -> bool:
        self.messages.append(str(message["message"]))
        return True


@pytest.fixture
def control() -> Control:
    return Control()


@pytest.fixture
def library(control: Control) -> logging.Logger:
    logger = logging.Logger("tornado.general")
    logger.addHandler(ControlHandler(control, Counters()))
    return logger


def test_lines_of_libraries_are_counted_together(library: logging.Logger, control: Control) -> None:
    for number in range(100):
        library.warning("SSL Error on %s: %s", number, "\x9b" + "z" * 10_000)
    (line,) = control.messages
    assert line.startswith("SSL Error on 0: zzz")
    assert len(line) < 300
    library.warning("another place in the code")
    assert control.messages[1:] == ["another place in the code"]


def test_a_traceback_is_fit_for_a_log(library: logging.Logger, control: Control) -> None:
    try:
        raise ValueError("\x9b2J\u202e" + "z" * 10_000)
    except ValueError:
        library.exception("broken")
    (message,) = control.messages
    first, *rest = message.split("\n")
    assert first == "broken"
    assert rest[0].startswith("Traceback")
    assert all(line.isprintable() and len(line) < 1100 for line in rest)


def test_own_lines_are_not_counted(control: Control) -> None:
    logger = logging.Logger("django_ws.gateway.workers")
    logger.addHandler(ControlHandler(control, Counters()))
    for number in range(3):
        logger.warning("worker %d\n", number)
    assert control.messages == ["worker 0", "worker 1", "worker 2"]


def test_a_filter_leaves_the_record_formatted_once() -> None:
    record = logging.makeLogRecord({"name": "django_ws.x", "msg": "%s %%", "args": ("a",)})
    assert StrangersFilter().filter(record)
    assert record.getMessage() == "a %"
