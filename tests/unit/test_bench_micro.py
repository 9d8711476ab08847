"""The micro-benchmarks still fit the code that they measure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: In place of pytest-benchmark, which only the benchmarks' own environment has.
ONCE = """
import pytest

@pytest.fixture
def benchmark():
    return lambda function, *arguments: function(*arguments)
"""


def test_each_of_them_runs(tmp_path: Path) -> None:
    (tmp_path / "once.py").write_text(ONCE)
    environment = {key: value for key, value in os.environ.items() if "DJANGO" not in key}
    environment["PYTHONPATH"] = os.pathsep.join(
        str(path) for path in (tmp_path, ROOT / "src", ROOT / "bench")
    )
    options = ["-c", "bench/micro/pytest.ini", "--rootdir", "bench/micro", "-o", "addopts="]
    plugins = ["-p", "once", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *plugins, "bench/micro"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
