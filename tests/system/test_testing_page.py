"""The examples of ``docs/testing.md`` run, with Django's own runner and with pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.examples import environment, write_project

# Each starts Python and Django anew, and a live server in it.
pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


def run(directory: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=directory,
        env=environment(directory),
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_with_djangos_runner(tmp_path: Path) -> None:
    write_project(tmp_path)
    said = run(tmp_path, "-W", "error", "-m", "django", "test", "shop")
    found = re.search(r"Ran (\d+) tests", said)
    assert found
    assert int(found[1]) == 11


def test_with_pytest(tmp_path: Path) -> None:
    write_project(tmp_path)
    plugin = [] if entry_points(group="pytest11", name="django_ws") else ["-p", PLUGIN]
    said = run(tmp_path, "-m", "pytest", "-W", "error", *plugin, "shop")
    assert "14 passed" in said


PLUGIN = "django_ws.testing.pytest"
