"""What breaks in a cluster, and is mended again: machines, and the server that they share."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import psutil

from .cluster import Cluster
from .server import Server, until

__all__ = ["ENGINE_FAULTS", "LOSSLESS", "MACHINE_FAULTS", "Broken"]


@dataclass
class Broken:
    """Where something breaks.

    Attributes:
        machine: the number of a machine.
    """

    cluster: Cluster
    machine: int
    chance: random.Random

    @property
    def server(self) -> Server:
        """The machine's."""
        return self.cluster.servers[self.machine]


Fault = Callable[[Broken], Awaitable[None]]


async def _pause(process: psutil.Process, seconds: float) -> None:
    process.suspend()
    try:
        await asyncio.sleep(seconds)
    finally:
        process.resume()


def _some(broken: Broken, found: list[psutil.Process]) -> psutil.Process:
    return broken.chance.choice(found)


async def gateway_killed(broken: Broken) -> None:
    """``kill -9``; the supervisor starts another one."""
    _some(broken, await asyncio.to_thread(until, broken.server.gateways)).kill()


async def gateway_paused(broken: Broken) -> None:
    """SIGSTOP for a while."""
    gateway = _some(broken, await asyncio.to_thread(until, broken.server.gateways))
    await _pause(gateway, broken.chance.uniform(0.5, 6))


async def worker_killed(broken: Broken) -> None:
    """``kill -9`` of the only worker."""
    _some(broken, await asyncio.to_thread(until, broken.server.workers)).kill()


async def worker_paused(broken: Broken) -> None:
    """SIGSTOP for a while."""
    worker = _some(broken, await asyncio.to_thread(until, broken.server.workers))
    await _pause(worker, broken.chance.uniform(0.5, 4))


async def worker_replaced(broken: Broken) -> None:
    """SIGHUP of the supervisor."""
    broken.server.process.send_signal(signal.SIGHUP)


async def machine_restarted(broken: Broken) -> None:
    """``kill -9`` of the supervisor, whose children then end by themselves, and another one."""
    old = broken.server
    old.process.kill()
    old.process.wait()
    await asyncio.to_thread(until, lambda: not old.processes(), 20, old.processes)
    started = await asyncio.to_thread(Server, old.project)
    broken.cluster.servers[broken.machine] = started


async def browsers_cut(broken: Broken) -> None:
    """Their networks break; done by whoever knows them."""
    raise NotImplementedError


async def engine_killed(broken: Broken) -> None:
    """``kill -9``, and started again with its data."""
    valkey = broken.cluster.valkey
    valkey.kill()
    await asyncio.sleep(broken.chance.uniform(0, 5))
    await asyncio.to_thread(valkey.start)


async def engine_emptied(broken: Broken) -> None:
    """``kill -9``, and started again without its data."""
    valkey = broken.cluster.valkey
    valkey.kill()
    await asyncio.sleep(broken.chance.uniform(0, 3))
    shutil.rmtree(valkey.directory / "appendonlydir")
    await asyncio.to_thread(valkey.start)


async def engine_flushed(broken: Broken) -> None:
    """Its data goes while it runs, and nobody's connection breaks."""
    await asyncio.to_thread(broken.cluster.valkey.command, "FLUSHALL")


async def engine_paused(broken: Broken) -> None:
    """SIGSTOP for a while."""
    await _pause(psutil.Process(broken.cluster.valkey.pid), broken.chance.uniform(0.5, 6))


async def engine_cut(broken: Broken) -> None:
    """It closes all connections, a few times."""
    for _ in range(3):
        await asyncio.to_thread(
            broken.cluster.valkey.command, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"
        )
        await asyncio.to_thread(broken.cluster.valkey.command, "CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.sleep(broken.chance.uniform(0, 0.3))


MACHINE_FAULTS: Mapping[str, Fault] = {
    "gateway killed": gateway_killed,
    "gateway paused": gateway_paused,
    "worker killed": worker_killed,
    "worker paused": worker_paused,
    "worker replaced": worker_replaced,
    "machine restarted": machine_restarted,
    "browsers cut": browsers_cut,
}

ENGINE_FAULTS: Mapping[str, Fault] = {
    "engine killed": engine_killed,
    "engine emptied": engine_emptied,
    "engine flushed": engine_flushed,
    "engine paused": engine_paused,
    "engine cut": engine_cut,
}

#: Those by which no member is ever told that something may be missing: the server is there all the
#: time, and whoever comes back hears the rest from the history.
LOSSLESS = frozenset(MACHINE_FAULTS) - {"gateway paused"}
