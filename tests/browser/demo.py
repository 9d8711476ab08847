"""The demo as a process of its own, on a copy of ``examples/`` that a test may change."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

EXAMPLES = Path(__file__).parents[2] / "examples"
START_TIMEOUT = 30  # seconds
STOP_TIMEOUT = 20

#: The database as it is before anybody comes; made once.
_migrated: list[bytes] = []


@dataclass(frozen=True)
class Demo:
    """A running demo.

    Attributes:
        url: of its front page, without a slash at its end.
        directory: its copy of ``examples/``.
        pid: of its supervisor.
    """

    url: str
    directory: Path
    pid: int

    def kill(self, role: str) -> None:
        """Kill its ``gateway`` or its ``worker``."""
        for process in psutil.Process(self.pid).children():
            if process.environ().get("DJANGO_WS_ROLE") == role:
                process.kill()


@contextlib.contextmanager
def run_demo(home: Path, *flags: str) -> Iterator[Demo]:
    """Start ``run_wsserver --wsgi`` on a free port; on the way out stop it and see that it ended.

    Args:
        home: an empty directory with a short path, since Unix sockets are made in it.
        flags: further ones.
    """
    directory = home / "examples"
    shutil.copytree(EXAMPLES, directory, ignore=shutil.ignore_patterns("*.sqlite3*", "__pycache__"))
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "demo.settings", "PYTHONUNBUFFERED": "1"}
    manage = [sys.executable, str(directory / "manage.py")]
    database = directory / "db.sqlite3"
    if not _migrated:
        subprocess.run([*manage, "migrate", "--verbosity=0"], env=environment, check=True)
        _migrated.append(database.read_bytes())
    database.write_bytes(_migrated[0])

    command = [*manage, "run_wsserver", "127.0.0.1:0", "--wsgi", *flags]
    command += ["--push-socket", f"ipc://{home}/push", "--sub-socket", f"ipc://{home}/sub"]
    log = home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Demo(_url(process, log), directory, process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_TIMEOUT) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # pytest shows it with a test that failed.
        print(log.read_text())


def _url(process: subprocess.Popen[bytes], log: Path) -> str:
    """Read from its output where the demo listens."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if match := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return match[0]
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError(f"the demo did not start:\n{log.read_text()}")
