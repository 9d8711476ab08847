"""What flags become for the settings."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import pytest
from django.core.management.base import CommandError

from django_ws.management import flags
from django_ws.management.flags import MAX_POOL, settings_flags


def parsed(*arguments: str) -> dict[str, Any]:
    """What is given, by the names of the settings."""
    parser = ArgumentParser()
    for name in vars(flags):
        if name.startswith("add_") and name.endswith("_flags"):
            getattr(flags, name)(parser)
    found = settings_flags(vars(parser.parse_args(arguments)))
    return {name: value for name, value in found.items() if value is not None}


def test_nothing_given_is_nothing_said() -> None:
    assert parsed() == {}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ("--pool", {"mode": "pool"}),
        ("--pool 30", {"mode": "pool", "pool_size": 30}),
        ("--pool 30 9000", {"mode": "pool", "pool_size": 30, "address": "9000"}),
        (f"--pool {MAX_POOL}", {"mode": "pool", "pool_size": MAX_POOL}),
        # As people write it: nobody wants so many threads.
        ("--pool 9000", {"mode": "pool", "address": "9000"}),
        ("--pool localhost:9000", {"mode": "pool", "address": "localhost:9000"}),
        ("--threaded", {"mode": "threaded"}),
        ("--gevent", {"mode": "gevent"}),
        ("--multiprocess", {"mode": "multiprocess"}),
        ("0.0.0.0:80 --workers 3", {"address": "0.0.0.0:80", "workers": 3}),
        ("--reload", {"reload": True}),
        ("--noreload", {"reload": False}),
        ("--wsgi --socketio", {"wsgi": True, "socketio": True}),
        ("--max-requests 5 --max-rss 100", {"max_requests": 5, "max_rss": 100}),
        ("--certfile c --keyfile k", {"certfile": "c", "keyfile": "k"}),
    ],
)
def test_flags(arguments: str, found: dict[str, Any]) -> None:
    assert parsed(*arguments.split()) == found


@pytest.mark.parametrize("arguments", ["--pool 9000 8000", "--pool many 8000", "--pool 0 8000"])
def test_a_size_that_is_none(arguments: str) -> None:
    with pytest.raises(CommandError, match=f"--pool takes a number up to {MAX_POOL}, not"):
        parsed(*arguments.split())


@pytest.mark.parametrize("arguments", ["--pool --gevent", "--reload --noreload"])
def test_what_excludes_each_other(arguments: str) -> None:
    with pytest.raises(SystemExit):
        parsed(*arguments.split())
