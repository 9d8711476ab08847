"""How clients behave: what each scenario does with its connections."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Sequence

from .client import LoadError, Peer, Swarm

__all__ = [
    "Flood",
    "closed_loop",
    "collect",
    "fan_out",
    "handshakes",
    "one_each",
    "paced",
    "paced_fan_out",
    "quantile",
]

clock = time.perf_counter


def closed_loop(swarm: Swarm, peers: Sequence[Peer], seconds: float) -> list[float]:
    """Each client sends its next message when the answer to the last one is there.

    Returns:
        Round-trip times in seconds.
    """
    expected = swarm.dialect.answer
    by_fd, poll = swarm.peers, swarm.epoll.poll
    times: list[float] = []
    append = times.append
    start = clock()
    for peer in peers:
        if peer.got:
            peer.at = start  # under way from the loop before, and its time is nobody's fault
        else:
            peer.got = 1
            peer.at = clock()
            peer.say()
    end = start + seconds
    now = start
    while now < end:
        for fd, _ in poll(0.1):
            peer = by_fd[fd]
            data = peer.recv(4096)
            now = clock()
            if data != expected and not peer.count(data or peer.read(), expected):
                continue
            append(now - peer.at)
            peer.at = now
            peer.say()
        now = clock()
    return times


def one_each(swarm: Swarm, peers: Sequence[Peer], limit: float = 30.0) -> None:
    """Every client sends one message and gets its answer."""
    for start in range(0, len(peers), 200):
        waiting = set(peers[start : start + 200])
        for peer in waiting:
            peer.say()
        collect(swarm, waiting, clock() + limit)


def collect(swarm: Swarm, waiting: set[Peer], deadline: float) -> list[float]:
    """Wait until each has got an answer. Returns when each came."""
    expected = swarm.dialect.answer
    by_fd, poll = swarm.peers, swarm.epoll.poll
    times = []
    while waiting:
        for fd, _ in poll(0.1):
            peer = by_fd[fd]
            data = peer.recv(4096)
            if data == expected or peer.count(data or peer.read(), expected):
                times.append(clock())
                waiting.discard(peer)
        if clock() > deadline:
            raise LoadError(f"{len(waiting)} answers missing")
    return times


class Flood:
    """A client that sends without pause, as fast as TCP takes it.

    Attributes:
        answers: how many came back.
    """

    def __init__(self, swarm: Swarm, peer: Peer) -> None:
        self.answers = 0
        self.fd = peer.fd
        self._peer = peer
        self._size = len(swarm.dialect.answer)
        self._chunk = memoryview(swarm.dialect.message * 64)
        self._offset = 0
        self._bytes = 0
        swarm.epoll.modify(peer.fd, select.EPOLLIN | select.EPOLLOUT)

    def turn(self, mask: int) -> None:
        """Write a chunk and read a chunk."""
        if mask & select.EPOLLIN:
            self._bytes += len(self._peer.read())
            self.answers = self._bytes // self._size
        if mask & select.EPOLLOUT:
            with contextlib.suppress(BlockingIOError):
                self._offset += self._peer.send(self._chunk[self._offset :])
                self._offset %= len(self._chunk)


def paced(
    swarm: Swarm, peers: Sequence[Peer], rate: float, seconds: float, flood: Flood | None = None
) -> list[float]:
    """The clients in turn send so many messages per second, answered or not.

    Returns:
        Round-trip times in seconds, of those that were answered.

    Raises:
        LoadError: The server cannot keep up with the rate at all.
    """
    expected = swarm.dialect.answer
    by_fd, poll = swarm.peers, swarm.epoll.poll
    times: list[float] = []
    total = int(rate * seconds)
    start = clock()
    sent = 0
    flooding = flood.fd if flood is not None else -1
    while len(times) < total:
        now = clock()
        while sent < total and start + sent / rate <= now:
            peer = peers[sent % len(peers)]
            peer.sent.append(clock())
            peer.say()
            sent += 1
        left = start + sent / rate - clock()
        for fd, mask in poll(max(0.0, min(left, 0.1))):
            if fd == flooding:
                assert flood is not None
                flood.turn(mask)
                continue
            peer = by_fd[fd]
            data = peer.read()
            now = clock()
            for _ in range(peer.count(data, expected)):
                times.append(now - peer.sent.popleft())
        if now > start + 3 * seconds + 3:
            raise LoadError(f"{total - len(times)} of {total} answers missing")
    return times


def fan_out(
    swarm: Swarm, peers: Sequence[Peer], seconds: float, least: int = 3, limit: float = 20.0
) -> tuple[list[float], list[float]]:
    """One client sends, all get it; again when the last one has it.

    Args:
        least: do it so many times, even if that takes longer.
        limit: seconds for one of them.

    Returns:
        The delays of all deliveries, and of the last one of each message; in seconds.
    """
    delays: list[float] = []
    lasts: list[float] = []
    end = clock() + seconds
    while clock() < end or len(lasts) < least:
        waiting = set(peers)
        sent = clock()
        peers[0].say()
        times = collect(swarm, waiting, sent + limit)
        delays += [at - sent for at in times]
        lasts.append(times[-1] - sent)
    return delays, lasts


def paced_fan_out(
    swarm: Swarm, peers: Sequence[Peer], rate: float, seconds: float, limit: float
) -> list[float]:
    """The clients in turn publish so many messages a second, had all the last one or not.

    Args:
        limit: seconds that may be missing at the end.

    Returns:
        The delays of all deliveries, in seconds. They are not told apart: each client's nth counts
        from the nth publication.

    Raises:
        LoadError: Not everything came.
    """
    expected = swarm.dialect.answer
    by_fd, poll = swarm.peers, swarm.epoll.poll
    total = max(1, int(rate * seconds))
    sent: list[float] = []
    delays: list[float] = []
    for peer in peers:
        peer.got = 0
    start = clock()
    while len(delays) < total * len(peers):
        now = clock()
        while len(sent) < total and start + len(sent) / rate <= now:
            sent.append(clock())
            peers[len(sent) % len(peers)].say()
        left = start + len(sent) / rate - now if len(sent) < total else 0.1
        for fd, _ in poll(max(0.0, min(left, 0.1))):
            peer = by_fd[fd]
            data = peer.read()
            now = clock()
            for _ in range(peer.count(data, expected)):
                delays.append(now - sent[peer.got])
                peer.got += 1
        if now > start + seconds + limit:
            raise LoadError(f"{total * len(peers) - len(delays)} deliveries missing")
    return delays


def handshakes(swarm: Swarm, count: int, in_flight: int) -> list[float]:
    """Connect, and leave as soon as one is in; so many at a time.

    Returns:
        Seconds from the first SYN to the end of each handshake.
    """
    times: list[float] = []
    started = 0
    deadline = clock() + 60
    while len(times) < count:
        while started < count and started - len(times) < in_flight:
            swarm.start()
            started += 1
        for fd, mask in swarm.epoll.poll(0.1):
            peer = swarm.peers[fd]
            if swarm.advance(peer, mask):
                times.append(clock() - peer.at)
                swarm.finish(peer)
        if clock() > deadline:
            raise LoadError(f"{len(times)} of {count} handshakes")
    return times


def quantile(values: list[float], part: float) -> float:
    """The value below which ``part`` of them are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
