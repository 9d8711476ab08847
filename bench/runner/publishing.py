"""What ``publish()`` from another process costs: the caller, and everything behind it."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence

import psutil

from .client import LoadError, Peer, Swarm
from .processes import BENCH, Usage, python
from .servers import Running

__all__ = ["publishing"]

#: Calls until all of them have arrived: below the 100 that a channel of channels_redis keeps.
BURST = 50

#: Seconds for a burst.
LIMIT = 20.0

#: The members of the group. Few, since what each delivery costs is another scenario.
MEMBERS = 1

Figures = dict[str, float]


class Publisher:
    """A process of the project that does nothing but publish.

    Args:
        up: the server; its settings are the publisher's.
    """

    def __init__(self, up: Running) -> None:
        self._popen = subprocess.Popen(
            python("-m", "peers.publish"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=BENCH,
            env={**os.environ, **up.environment},
            text=True,
        )
        self._process = psutil.Process(self._popen.pid)
        self._line()

    def cpu(self) -> float:
        """Seconds of CPU used so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def begin(self, number: int, pause: float) -> None:
        """Have it publish so many times, with so many seconds in between."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{number} {pause}\n")
        self._popen.stdin.flush()

    def end(self) -> float:
        """Wait for that. Returns the seconds that the calls took."""
        return float(self._line())

    def _line(self) -> str:
        assert self._popen.stdout is not None
        ready, _, _ = select.select([self._popen.stdout], [], [], LIMIT)
        line = self._popen.stdout.readline() if ready else ""
        if not line:
            raise LoadError("the process that publishes does not answer")
        return line

    def close(self) -> None:
        """End it."""
        self._popen.kill()
        self._popen.communicate()


def _burst(
    swarm: Swarm, peers: Sequence[Peer], publisher: Publisher, number: int, pause: float
) -> float:
    """Publish, and wait until all members have it. Returns the seconds spent in calls."""
    left = dict.fromkeys(peers, number)
    publisher.begin(number, pause)
    deadline = time.perf_counter() + LIMIT + number * pause
    expected = swarm.dialect.answer
    while left:
        for fd, _ in swarm.epoll.poll(0.1):
            peer = swarm.peers[fd]
            left[peer] -= peer.count(peer.read(), expected)
            if not left[peer]:
                del left[peer]
        if time.perf_counter() > deadline:
            raise LoadError(f"{sum(left.values())} publications missing")
    return publisher.end()


@contextlib.contextmanager
def _swarm(up: Running) -> Iterator[Swarm]:
    swarm = Swarm(up.ports, up.dialect("fan"))
    try:
        yield swarm
    finally:
        swarm.close()


def publishing(pause: float = 0.0) -> Callable[[Running, float, bool], Figures]:
    """The measurement.

    Args:
        pause: seconds between two calls.
    """

    def measure(up: Running, seconds: float, quick: bool) -> Figures:
        with _swarm(up) as swarm, contextlib.closing(Publisher(up)) as publisher:
            peers = swarm.open(MEMBERS)
            time.sleep(0.3)  # some join only after they have accepted
            for _ in range(4):
                _burst(swarm, peers, publisher, BURST, 0.0)
            usage = Usage([*up.trees, publisher])
            usage.start()
            own, spent, calls = -publisher.cpu(), 0.0, 0
            while usage.seconds + time.perf_counter() < seconds:
                spent += _burst(swarm, peers, publisher, BURST, pause)
                calls += BURST
            usage.stop()
            own += publisher.cpu()
        return {
            "rate": calls / usage.seconds,
            "cpu": usage.cpu / calls * 1e6,
            "call": spent / calls * 1e6,
            "caller": own / calls * 1e6,
            "client": usage.client / calls * 1e6,
        }

    return measure
