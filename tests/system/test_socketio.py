"""The official suites of Engine.IO and Socket.IO, and their clients, against real processes."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.missing import missing

from .server import Project, Server

pytestmark = pytest.mark.system

REPOSITORY = Path(__file__).parents[2]
NODE = REPOSITORY / "tests" / "node"
PACKAGES = (
    "chai@^4.3.6",
    "chai-string@^1.5.0",
    "mocha@^9.2.1",
    "node-fetch@^3.2.0",
    "socket.io-client@^4.8.0",
    "ws@^8.18.0",
)
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "django-ws-node"
#: As the suites want it.
SETTINGS = {
    "SOCKETIO": True,
    "ALLOW_MISSING_ORIGIN": True,
    "PING_INTERVAL": 0.3,
    "PING_TIMEOUT": 0.2,
    "MAX_MESSAGE_SIZE": 1_000_000,
}


@pytest.fixture(scope="session")
def packages() -> Path:
    """A directory outside of the repository with what the suites and clients need."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        missing("needs Node and npm")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (CACHE / "complete").exists():
            (CACHE / "package.json").write_text('{"private": true}')
            command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", *PACKAGES]
            done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, timeout=300)
            if done.returncode:
                missing(f"npm install failed: {done.stderr[-500:]}")
            (CACHE / "complete").touch()
    return CACHE


def suites() -> Path | None:
    """Where the official suites are, which are not part of this repository."""
    if directory := os.environ.get("DJANGO_WS_SUITES"):
        return Path(directory)
    places = (parent / "shared" / "suites" for parent in REPOSITORY.parents)
    return next((place for place in places if place.is_dir()), None)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    handlers = {"default": "handlers.Suite", "custom": "handlers.Suite", "echo": "handlers.Echo"}
    project = Project(
        tmp_path,
        DEFAULT_WS_HANDLERS=handlers,
        DJANGO_WS=SETTINGS,
        ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    )
    yield project
    project.remove()


def node(cache: Path, port: int, *arguments: str | Path) -> str:
    """Run Node to its end; what it wrote."""
    done = run(cache, port, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(cache: Path, port: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", "--preserve-symlinks", "--preserve-symlinks-main", *map(str, arguments)],
        cwd=cache,
        env={**os.environ, "DJANGO_WS_PORT": str(port), "NODE_PATH": str(cache / "node_modules")},
        capture_output=True,
        text=True,
        timeout=50,
    )


@pytest.mark.parametrize(
    ("suite", "cases"), [("engine.io-protocol", 25), ("socket.io-protocol", 32)]
)
def test_official_suite(packages: Path, project: Project, suite: str, cases: int) -> None:
    """Once more, but only where the suite tells that it was late itself (``timing.cjs``).

    It cancels a poll after 5 ms and expects the session to be closed, and it begins a second poll
    after 5 ms and expects no ping before. With a busy machine it may cancel before its own
    connection stands, so that there was no poll (in 18 of 18 failures of that case at a load of 12,
    and in none of 26 successes); and
    a poll may leave after the first ping, which comes 0.2 s after the opening at the earliest.
    """
    found = suites()
    if found is None:
        missing("needs the official suites: DJANGO_WS_SUITES names their directory")
        return
    link = packages / suite
    link.unlink(missing_ok=True)
    link.symlink_to(found / suite)
    server = Server(project)
    mocha = packages / "node_modules" / "mocha" / "bin" / "_mocha"
    hooks = ("-r", NODE / "port.cjs", "-r", NODE / "timing.cjs")
    command = (*hooks, mocha, "--exit", f"{suite}/test-suite.js")
    done = run(packages, server.port, *command)
    if done.returncode and "suite late:" in done.stderr:
        done = run(packages, server.port, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{cases} passing" in done.stdout
    server.stop()


@pytest.mark.parametrize(
    ("transports", "last"),
    [
        (["polling"], "polling"),
        (["polling", "websocket"], "websocket"),
        (["websocket"], "websocket"),
    ],
)
def test_client_library(packages: Path, project: Project, transports: list[str], last: str) -> None:
    server = Server(project)
    assert f"fine by {last}" in node(packages, server.port, NODE / "client.cjs", *transports)
    server.stop()
