"""The examples of ``docs/testing.md`` run, with Django's own runner and with pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.examples import environment, write_project

from .postgres import postgres

# Each starts Python and Django anew, and a live server in it.
pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


PLUGIN = "django_ws.testing.pytest"


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


def test_on_postgresql(tmp_path: Path) -> None:
    """No thread of a live server may keep a connection: Django could not drop the database."""
    write_project(tmp_path)
    with postgres() as database:
        with (tmp_path / "settings.py").open("a") as settings:
            settings.write(f"DATABASES = {{'default': {database!r}}}\n")
        said = run(tmp_path, "-W", "error", "-m", "django", "test", "shop.tests.test_live")
    assert "Ran 1 test" in said
    assert "Destroying test database" in said


def test_with_pytest(tmp_path: Path) -> None:
    write_project(tmp_path)
    plugin = [] if entry_points(group="pytest11", name="django_ws") else ["-p", PLUGIN]
    said = run(tmp_path, "-m", "pytest", "-W", "error", *plugin, "shop")
    assert "14 passed" in said
