"""A gateway that runs, fuzzed through its sockets with a small budget."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.gateway import served
from tests.fuzz.running import found, fuzz
from tests.fuzz.targets import Target

#: Inputs for each way in.
BUDGET = 25

NAMES = ("http", "frames", "deflate", "v1", "socketio", "polling")


@pytest.fixture(scope="module")
def targets() -> Iterator[dict[str, Target]]:
    with served() as live:
        assert list(live) == [f"gateway-{name}" for name in NAMES]
        yield live


@pytest.mark.parametrize("name", NAMES)
def test_whatever_comes_by_a_socket(targets: dict[str, Target], name: str) -> None:
    target = targets[f"gateway-{name}"]
    for path in found(f"gateway-{name}"):
        target.check(path.read_bytes())
    fuzz(target, BUDGET)
