"""Process trees: starting, watching and ending them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import psutil

from .client import LoadError, Swarm
from .frames import Dialect

__all__ = ["Tree", "Usage", "born", "free_port", "running", "wait_ready"]

BENCH = Path(__file__).resolve().parent.parent


def clock() -> float:
    """Seconds since boot, which is what ``/proc`` counts in."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def born(process: psutil.Process) -> float:
    """When a process was forked, by :func:`clock`, to 10 ms; psutil knows it to a second."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Computing(Protocol):
    """What uses CPU: a tree of processes, or one."""

    def cpu(self) -> float:
        """Seconds used so far."""


class Usage:
    """CPU seconds between :meth:`start` and :meth:`stop`, of some trees and of this process.

    Children that ended meanwhile count: their parent has reaped them.
    """

    def __init__(self, trees: Sequence[Computing]) -> None:
        self._trees = trees
        self.cpu = 0.0
        self.client = 0.0
        self.seconds = 0.0

    def start(self) -> None:
        self.cpu = -sum(tree.cpu() for tree in self._trees)
        self.client = -time.process_time()
        self.seconds = -time.perf_counter()

    def stop(self) -> None:
        self.seconds += time.perf_counter()
        self.client += time.process_time()
        self.cpu += sum(tree.cpu() for tree in self._trees)


class Tree:
    """A process and its descendants.

    Attributes:
        started: when, by :func:`clock`.
        accepted: when its port first accepted a connection.
        ready: seconds from its start to its first accepted handshake.
    """

    def __init__(self, argv: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self.accepted = self.ready = 0.0
        self.log = log
        self.started = clock()
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                argv,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=BENCH,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        self._root = psutil.Process(self._popen.pid)

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    def processes(self) -> list[psutil.Process]:
        """All of them that are alive."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self._root, *self._root.children(recursive=True)]
        return []

    def cpu(self) -> float:
        """Seconds of CPU used so far."""
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
                total += times.children_user + times.children_system
        return total

    def memory(self) -> tuple[int, int]:
        """Bytes of resident memory, and of its share (PSS) where pages are common to several."""
        rss = pss = 0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                info = process.memory_full_info()
                rss += info.rss
                pss += getattr(info, "pss", info.rss)
        return rss, pss

    def end(self) -> None:
        """Terminate; what does not go within seconds is killed."""
        processes = self.processes()
        with contextlib.suppress(psutil.NoSuchProcess):
            self._root.terminate()
        _, left = psutil.wait_procs(processes, timeout=3)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=3)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(3)

    def tail(self) -> str:
        """The last lines that it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def wait_ready(tree: Tree, port: int, dialect: Dialect, limit: float = 30.0) -> None:
    """Wait until the server completes a handshake.

    Raises:
        LoadError: It ends, or does not within the limit.
    """
    while True:
        try:
            _try(tree, port, dialect, limit)
            return
        except (LoadError, OSError) as error:
            if not tree.alive or clock() - tree.started > limit:
                raise LoadError(f"the server did not start ({error})") from None
        time.sleep(0.005)


def _try(tree: Tree, port: int, dialect: Dialect, limit: float) -> None:
    if not tree.accepted:
        socket.create_connection(("127.0.0.1", port)).close()
        tree.accepted = clock()
    with contextlib.closing(Swarm([port], dialect)) as swarm:
        swarm.open(1, limit=limit)
    tree.ready = clock() - tree.started


@contextlib.contextmanager
def running(argv: Sequence[str], environment: dict[str, str], log: Path) -> Iterator[Tree]:
    """A tree that ends with the block."""
    tree = Tree(argv, environment, log)
    try:
        yield tree
    finally:
        tree.end()


def python(*arguments: str) -> list[str]:
    """A command line of this interpreter."""
    return [sys.executable, *arguments]
