"""Fuzzing with a small budget; ``scripts/fuzz`` goes on for as long as you like."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.running import FOUND, found, fuzz
from tests.fuzz.targets import TARGETS

#: Inputs for each target, in each run of the tests.
BUDGET = 100


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_strangers_send(name: str) -> None:
    fuzz(TARGETS[name], BUDGET)


@pytest.mark.parametrize(
    ("name", "path"),
    [(name, path) for name in TARGETS for path in found(name)],
    ids=lambda value: value.stem if isinstance(value, Path) else value,
)
def test_what_was_found_before(name: str, path: Path) -> None:
    TARGETS[name].check(path.read_bytes())


def test_nothing_is_kept_for_what_is_not_fuzzed() -> None:
    kept = {path.name for path in FOUND.iterdir() if path.is_dir()}
    assert kept <= {*TARGETS, *(f"gateway-{name}" for name in
                    ("http", "frames", "deflate", "v1", "socketio", "polling"))}  # fmt: skip
