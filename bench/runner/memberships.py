"""What a membership of a group costs the gateway, and the worker, in bytes."""

from __future__ import annotations

import time
from dataclasses import replace

import psutil

from .client import Swarm
from .frames import answer, frame
from .loops import collect
from .servers import Running

__all__ = ["memberships"]

#: Connections that join at a time.
AT_ONCE = 20

#: Seconds for that.
LIMIT = 120.0


def _memory(up: Running) -> tuple[int, int]:
    """Bytes of the gateway and of all other processes, once they have stopped changing."""
    last = (0, 0)
    for _ in range(20):
        time.sleep(0.2)
        gateway = others = 0
        for process in (each for tree in up.trees for each in tree.processes()):
            try:
                size = process.memory_info().rss
                is_gateway = "django_ws.gateway" in process.cmdline()
            except psutil.NoSuchProcess:
                continue
            if is_gateway:
                gateway += size
            else:
                others += size
        now = (gateway, others)
        if abs(now[0] - last[0]) + abs(now[1] - last[1]) < 64 * 1024:
            break
        last = now
    return now


def memberships(up: Running, seconds: float, quick: bool) -> dict[str, float]:
    """Half of them in the same groups, then half in groups of one connection each."""
    connections, groups = (100, 200) if quick else (1000, 500)
    swarm = Swarm(up.ports, replace(up.dialect("members"), answer=answer(b"done")))
    try:
        peers = swarm.open(connections)
        found = {}
        for kind in ("shared", "own"):
            before = _memory(up)
            for first in range(0, connections, AT_ONCE):
                some = peers[first : first + AT_ONCE]
                for number, peer in enumerate(some, first):
                    name = "shared" if kind == "shared" else f"own-{number}"
                    peer.send(frame(f"{name} {groups}".encode()))
                collect(swarm, set(some), time.perf_counter() + LIMIT)
            after = _memory(up)
            found[kind] = (after[0] - before[0]) / (connections * groups)
            found[f"{kind}-worker"] = (after[1] - before[1]) / (connections * groups)
        return found
    finally:
        swarm.close()
