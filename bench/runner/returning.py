"""Clients that are cut and all come back at once, and others beside them."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

from .client import LoadError, Peer, Swarm
from .loops import fan_out, one_each, paced, quantile
from .servers import Running
from .v1 import NumberedPeer

__all__ = ["returning"]

#: Messages a second of those who stay, and how many they are.
RATE, STAYING = 200.0, 10

#: Seconds until all have to be back.
LIMIT = 30.0


def _stay(up: Running, pipe: Connection) -> None:
    """In a process of its own: echoes until told to end, then their times."""
    swarm = Swarm(up.ports, up.dialect("echo"))
    peers = swarm.open(STAYING)
    one_each(swarm, peers)
    pipe.send(None)
    times: list[float] = []
    while not pipe.poll():
        times += paced(swarm, peers, RATE, 0.1)
    pipe.send(times)
    swarm.close()


def _come_back(up: Running, before: Sequence[NumberedPeer]) -> tuple[Swarm, list[NumberedPeer]]:
    """All of them at once, until each has its session and the one publication that it missed."""
    swarm = Swarm(up.ports, up.dialect("kept"))
    back = []
    for each in before:
        peer = _numbered(swarm.start())
        peer.come_back(each)
        back.append(peer)
    missed = {peer.fd: each.taken + 1 for peer, each in zip(back, before, strict=True)}
    expected = swarm.dialect.answer
    deadline = time.perf_counter() + LIMIT
    while missed:
        for fd, mask in swarm.epoll.poll(0.1):
            peer = _numbered(swarm.peers[fd])
            if peer.step:
                peer.count(peer.read(), expected)
            else:
                swarm.advance(peer, mask)  # counts what comes behind the welcome, too
            if peer.taken == missed.get(fd):
                del missed[fd]
        if time.perf_counter() > deadline:
            raise LoadError(f"{len(missed)} clients are not back")
    if others := sum(not peer.resumed for peer in back):
        raise LoadError(f"{others} clients have another session")
    return swarm, back


def _numbered(peer: Peer) -> NumberedPeer:
    assert isinstance(peer, NumberedPeer)
    return peer


def returning(up: Running, seconds: float, quick: bool) -> dict[str, float]:
    """1,000 members of a group with a history, four times."""
    first = Swarm(up.ports, up.dialect("kept"))
    near, far = multiprocessing.Pipe()
    staying = multiprocessing.get_context("fork").Process(target=_stay, args=(up, far), daemon=True)
    swarm = first
    try:
        speaker, *others = first.open(200 if quick else 1000)
        peers = [_numbered(peer) for peer in others]
        fan_out(first, [speaker, *others], 0, least=1)
        staying.start()
        near.recv()
        took = []
        for _ in range(4):
            swarm.cut(peers)
            speaker.say()
            began = time.perf_counter()
            swarm, peers = _come_back(up, peers)
            took.append(time.perf_counter() - began)
        near.send(None)
        times = near.recv()
    finally:
        for each in {first, swarm}:
            each.close()
        if staying.is_alive():
            staying.kill()
    return {"last": statistics.median(took) * 1e3, "p99": quantile(times, 0.99) * 1e3}
