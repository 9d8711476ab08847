"""A PostgreSQL server of the bench's own, in a directory that goes away."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

from .client import LoadError

__all__ = ["missing", "running", "version"]

#: A thread that has made a query keeps its connection: 2 workers of at most 256, and some to spare.
CONNECTIONS = 600


class User(TypedDict, total=False):
    """Arguments of ``subprocess``."""

    user: int
    group: int
    extra_groups: list[int]


def _binaries() -> Path | None:
    """Where Debian has initdb and pg_ctl, of the newest version, or what is on the path."""
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(found, key=lambda path: float(path.parts[-3]), default=None)
    initdb = str(newest) if newest else shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def missing() -> str:
    """Why there can be no server; empty if there can."""
    return "" if _binaries() else "no PostgreSQL here; on Debian, apt install postgresql"


def version() -> str:
    """Which one it is; empty without one."""
    if (binaries := _binaries()) is None:
        return ""
    printed = subprocess.run([binaries / "postgres", "-V"], capture_output=True, text=True)
    return printed.stdout.partition("(PostgreSQL)")[2].split()[0]


def _unprivileged() -> User:
    """PostgreSQL refuses to run as root."""
    if os.getuid():
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise LoadError("root, and no other user to run PostgreSQL")


@contextlib.contextmanager
def running() -> Iterator[Path]:
    """Run a server; gives the directory of its socket.

    Raises:
        LoadError: It does not start.
    """
    binaries = _binaries()
    if binaries is None:
        raise LoadError(missing())
    user = _unprivileged()
    # Not in the site's directory, into which another user must not look.
    directory = Path(tempfile.mkdtemp(prefix="ws-bench-pg-"))
    if user:
        os.chown(directory, user["user"], user["group"])

    def run(name: str, *arguments: str) -> None:
        log = directory / f"{name}.log"
        command = [str(binaries / name), "-D", str(directory / "data"), *arguments]
        with log.open("a") as output:
            ended = subprocess.run(
                command, cwd=directory, stdout=output, stderr=subprocess.STDOUT, **user
            )
        if ended.returncode:
            raise LoadError(f"{name} failed:\n{log.read_text(errors='replace')}")

    try:
        run("initdb", "-U", "bench", "-A", "trust", "-N", "-E", "UTF8")
        # A socket, and no port that could be taken; no fsync, as nothing has to last; nothing
        # that wakes up on its own while others are measured.
        options = f"-k {directory} -c listen_addresses= -c max_connections={CONNECTIONS}"
        options += " -c fsync=off -c autovacuum=off"
        run("pg_ctl", "-w", "-o", options, "-l", str(directory / "server.log"), "start")
        try:
            yield directory
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
