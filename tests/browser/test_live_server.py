"""The example of ``docs/testing.md`` for browsers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.examples import environment, write_project

from .conftest import ARGUMENTS


def test_a_page_of_a_live_server(chromium: str, tmp_path: Path) -> None:
    write_project(tmp_path)
    file = tmp_path / "shop" / "tests" / "in_browser.py"
    launch = f"launch(executable_path={chromium!r}, args={ARGUMENTS!r})"
    assert "launch()" in file.read_text()
    file.write_text(file.read_text().replace("launch()", launch))
    done = subprocess.run(
        [sys.executable, "-m", "django", "test", "shop.tests.in_browser"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran 1 test" in done.stderr
