"""Whose settings differ from this gateway's, and how often that is said."""

from __future__ import annotations

import pytest

from django_ws.gateway.drift import Drift

OURS = {"DEBUG": "1", "ORIGINS": "a", "PORT": ""}


@pytest.fixture
def drift() -> Drift:
    return Drift(OURS, 100.0)


def test_what_is_new_is_said_once(drift: Drift, caplog: pytest.LogCaptureFixture) -> None:
    theirs = {**OURS, "DEBUG": "2", "ORIGINS": "b", "MORE": "c"}
    drift.compare(theirs, 101.0)
    drift.compare(dict(theirs), 102.0)
    assert caplog.text.count("DEBUG, MORE, ORIGINS changed since this gateway was started") == 1
    drift.compare({**theirs, "MORE": "d"}, 103.0)
    assert caplog.text.count("changed since") == 2


@pytest.mark.parametrize(
    ("theirs", "started"),
    [
        (OURS, 101.0),
        ({**OURS, "PORT": "8000"}, 101.0),  # a flag of ours decides
        ({**OURS, "DEBUG": ""}, 101.0),  # one of theirs
        ({**OURS, "DEBUG": "2"}, 99.0),  # they started before
        ({}, 101.0),  # it does not say
    ],
)
def test_what_is_no_news(
    drift: Drift, caplog: pytest.LogCaptureFixture, theirs: dict[str, str], started: float
) -> None:
    drift.compare(theirs, started)
    assert caplog.text == ""


def test_a_gateway_without_settings_compares_nothing(caplog: pytest.LogCaptureFixture) -> None:
    Drift({}, 0.0).compare({"DEBUG": "1"}, 1.0)
    assert caplog.text == ""
