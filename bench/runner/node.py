"""Node, and the server of Socket.IO in it."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess

from .client import LoadError
from .processes import BENCH

__all__ = ["missing", "prepare", "version"]

PEERS = BENCH / "peers"


def missing() -> str:
    """Why it cannot run; empty if it can."""
    found = shutil.which("node") and shutil.which("npm")
    return "" if found else "no Node and npm here; on Debian, apt install nodejs npm"


@functools.cache
def prepare() -> None:
    """Install what ``peers/package.json`` names, unless it is there.

    Raises:
        LoadError: It cannot be installed.
    """
    wanted = json.loads((PEERS / "package.json").read_text())["dependencies"]["socket.io"]
    if _installed() == wanted:
        return
    command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=PEERS, capture_output=True, text=True)
    if done.returncode:
        raise LoadError(f"npm install failed: {done.stderr[-500:]}")


def _installed() -> str:
    package = PEERS / "node_modules" / "socket.io" / "package.json"
    return str(json.loads(package.read_text())["version"]) if package.exists() else ""


def version() -> str:
    """Which Node it is; empty without one."""
    if shutil.which("node") is None:
        return ""
    printed = subprocess.run(["node", "--version"], capture_output=True, text=True)
    return printed.stdout.strip().removeprefix("v")
