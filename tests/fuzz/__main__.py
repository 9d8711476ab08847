"""Fuzzes until it is interrupted, or for so many seconds: ``scripts/fuzz [TARGET ...]``."""

from __future__ import annotations

import argparse
import contextlib
import time
import traceback

from .gateway import served
from .running import fuzz, keep
from .targets import TARGETS, Target


def main() -> int:
    """Returns the exit code: 1 if something was found."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help="which ones; by default all, in turn")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    arguments = parser.parse_args()
    with served() as live:
        every: dict[str, Target] = {**TARGETS, **live}
        if unknown := set(arguments.targets) - set(every):
            parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(every)}")
        with contextlib.suppress(KeyboardInterrupt):
            return _run(
                {name: every[name] for name in arguments.targets or every}, arguments.seconds
            )
    return 0


def _run(targets: dict[str, Target], seconds: float) -> int:
    end, inputs = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for name, target in targets.items():
            last: list[bytes] = []
            try:
                fuzz(target, 100 if name.startswith("gateway") else 400, last.append)
            except Exception:
                traceback.print_exc()
                print(f"\n{name} fails; kept as {keep(name, last[-1])}")
                return 1
            inputs += 1
            print(f"round {inputs}: {name}", end="    \r", flush=True)
            if time.monotonic() >= end:
                break
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
