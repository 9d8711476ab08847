"""A PostgreSQL server of the tests' own, in a directory that goes away."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.missing import missing

__all__ = ["postgres"]


def _binaries() -> Path | None:
    """Where initdb and pg_ctl are: Debian's newest, or beside what is on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: p.parts[-3])
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def _unprivileged() -> dict[str, object]:
    """For subprocess: PostgreSQL refuses to run as root."""
    if os.getuid():
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    pytest.fail("root, and no other user to run PostgreSQL")


@contextlib.contextmanager
def postgres() -> Iterator[dict[str, object]]:
    """Run a server; gives the ``DATABASES`` entry of its database. Skips the test without one."""
    binaries = _binaries()
    if binaries is None:
        missing("no PostgreSQL: install Debian's package postgresql")
    user = _unprivileged()
    directory = Path(tempfile.mkdtemp(prefix="pg"))
    if user:
        os.chown(directory, int(str(user["user"])), int(str(user["group"])))
    data = directory / "data"

    def run(name: str, *arguments: str) -> None:
        with (directory / f"{name}.log").open("a") as log:
            subprocess.run(
                [str(binaries / name), "-D", str(data), *arguments],
                check=True,
                cwd=directory,
                stdout=log,
                stderr=log,
                timeout=50,
                **user,  # type: ignore[call-overload]
            )

    try:
        run("initdb", "-U", "tests", "-A", "trust", "-N", "-E", "UTF8")
        # A socket, and no port that could be taken; no fsync, as nothing has to last.
        options = f"-k {directory} -c listen_addresses= -c fsync=off -c max_connections=300"
        run("pg_ctl", "-w", "-o", options, "-l", str(directory / "server.log"), "start")
        try:
            yield {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "postgres",
                "USER": "tests",
                "HOST": str(directory),
            }
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
