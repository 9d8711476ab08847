"""Runs targets: with a budget, open-ended, and with what was found before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .targets import Target

__all__ = ["FOUND", "found", "fuzz", "keep"]

#: What has failed once, by target; each is tried in every run of the tests.
FOUND = Path(__file__).parent / "found"


def found(name: str) -> list[Path]:
    """What a target has failed on before."""
    return sorted((FOUND / name).glob("*.bin"))


def keep(name: str, data: bytes) -> Path:
    """Keep what a target fails on."""
    path = FOUND / name / f"{hashlib.sha256(data).hexdigest()[:16]}.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def fuzz(target: Target, examples: int, failed: Callable[[bytes], object] | None = None) -> None:
    """Try so many inputs.

    Args:
        failed: told of each input that fails; the last one is the shortest.

    Raises:
        Exception: What an input has raised.
    """

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.target, Phase.shrink),
    )
    @given(st.one_of(target.likely, st.binary(max_size=400)))
    def run(data: bytes) -> None:
        try:
            target.check(data)
        except BaseException:
            if failed is not None:
                failed(data)
            raise

    run()
