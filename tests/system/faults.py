"""The faults that the harness makes, while a load runs; tests and ``scripts/soak`` share them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from .load import Load, back, soon
from .oracle import Verdict, all_closed, judge
from .raw import Flooders, RawClient
from .server import Server

__all__ = ["FAULTS", "Fault", "Report", "end_worker", "replace_workers", "run"]


@dataclass(frozen=True)
class Fault:
    """What is done, and what is promised about it.

    Attributes:
        do: makes the fault; returns figures.
        lossless: nothing may be lost, repeated or closed.
        stops: the server is down afterwards.
        settings: of the server's ``DJANGO_WS``.
        flags: of the command.
    """

    do: Callable[[Server, Load, bool], Awaitable[dict[str, float]]]
    lossless: bool = False
    stops: bool = False
    settings: dict[str, object] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


@dataclass
class Report:
    """One fault's outcome.

    Attributes:
        figures: seconds, MiB and so on, by name.
    """

    fault: str
    namespace: str
    verdict: Verdict
    figures: dict[str, float]

    def wrong(self) -> list[str]:
        """Which promises were broken."""
        verdict, fault = self.verdict, FAULTS[self.fault]
        zero = ["unsignalled", "reordered", "wrong_state", "ghosts", "unexplained"]
        if fault.lossless:
            zero += ["lost", "repeated", "closed_again", "cut"]
        elif self.namespace != "again":
            zero += ["repeated"]
        broken = [f"{name}={getattr(verdict, name)}" for name in zero if getattr(verdict, name)]
        if self.figures.get("back_s", 0) > BACK_WITHIN:
            broken.append(f"back after {self.figures['back_s']:.2f} s")
        if self.figures.get("on_close_s", 0) > CLOSED_WITHIN:
            broken.append(f"on_close after {self.figures['on_close_s']:.2f} s")
        return broken + verdict.details if broken else []


#: Seconds until the service is back, and until ``on_close`` has run everywhere.
BACK_WITHIN = 2.0
CLOSED_WITHIN = 5.0


async def run(
    name: str,
    server: Server,
    namespace: str,
    *,
    clients: int,
    rate: float,
    long: bool = False,
    load: Load | None = None,
) -> Report:
    """Make one fault under load, and account for every message.

    Args:
        namespace: ``ledger`` (``on_worker_lost`` close) or ``again`` (redeliver).
        clients: connections; ``rate`` messages per second each.
        long: more of it.
        load: instead of the usual one, over plain WebSockets.
    """
    fault = FAULTS[name]
    before = server.memory()
    async with load or Load(server.url + namespace, clients, rate) as load:
        await load.progress()
        figures = await fault.do(server, load, long)
        if not fault.stops:
            await load.progress()
        await load.settle()
    if not fault.stops:
        number = int(dict(zip(fault.flags, fault.flags[1:], strict=False)).get("--workers", 1))
        await soon(lambda: len(server.workers()) == number, 20, server.output)
    took = await all_closed(server.project, load.sessions, CLOSED_WITHIN + 5)
    figures["on_close_s"] = max(took, figures.get("on_close_s", 0.0))
    if not fault.stops:
        after = server.memory()
        for process, size in after.items():
            figures[f"{process}_grew_mib"] = (size - before[process]) / 2**20
    verdict = judge(load.sessions, server.project, load.deaths)
    return Report(name, namespace, verdict, figures)


# ---------------------------------------------------------------- workers


async def worker_killed(server: Server, load: Load, long: bool) -> dict[str, float]:
    """``kill -9`` of a worker in the middle of its work."""
    longest = 0.0
    for _ in range(3 if long else 2):
        await end_worker(load, server.workers()[0])
        longest = max(longest, await back(server.url))
        # What dies again right after its start is started again later each time.
        await load.progress(20 if long else 2, 30)
    return {"back_s": longest}


async def end_worker(
    load: Load, worker: psutil.Process, victim: psutil.Process | None = None
) -> None:
    """Kill a worker, or what it cannot do without, and note when it was dead."""
    incarnation = worker.environ()["DJANGO_WS_INCARNATION"]
    (victim or worker).kill()
    await soon(lambda: not _runs(worker), 20)
    load.deaths[incarnation] = time.monotonic()


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


async def processes_killed(server: Server, load: Load, long: bool) -> dict[str, float]:
    """``kill -9`` of workers, and in multiprocess mode of templates and of connections' processes,
    one after the other, never two at a time."""
    for turn in range(12 if long else 3):
        worker = random.choice(server.workers())
        await _kill_in(load, worker, turn % 3)
        if turn % 3:
            await soon(lambda: len(server.workers()) == 2, 20, server.output)
        await load.progress(2, 30)
    return {}


async def _kill_in(load: Load, worker: psutil.Process, what: int) -> None:
    """Kill some of the connections' processes (0), the template (1), or the worker."""
    templates = worker.children()
    if not templates or what == 2:
        await end_worker(load, worker)
    elif what == 1:
        await end_worker(load, worker, templates[0])
    else:
        processes = templates[0].children()
        for process in random.sample(processes, min(3, len(processes))):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                load.deaths[process.pid] = time.monotonic() + 0.1


async def worker_paused(server: Server, load: Load, long: bool) -> dict[str, float]:
    """SIGSTOP of a worker, SIGCONT some seconds later."""
    worker = server.workers()[0]
    worker.suspend()
    await asyncio.sleep(5.0 if long else 2.5)
    worker.resume()
    return {"back_s": await back(server.url)}


async def workers_replaced(server: Server, load: Load, long: bool) -> dict[str, float]:
    """SIGHUP, again as soon as all workers are new."""
    longest, times = 0.0, 20 if long else 3
    for _ in range(times):
        longest = max(longest, await replace_workers(server))
    return {"replacements": times, "replaced_s": longest}


async def replace_workers(server: Server) -> float:
    """SIGHUP, until all workers are new; how long that took, in seconds."""
    old = {worker.pid for worker in server.workers()}
    began = time.monotonic()
    server.process.send_signal(signal.SIGHUP)
    await soon(lambda: _replaced(server, old), 30, server.output)
    return time.monotonic() - began


def _replaced(server: Server, old: set[int]) -> bool:
    new = {worker.pid for worker in server.workers()}
    return len(new) == len(old) and not old & new


async def sighups_in_a_loop(server: Server, load: Load, long: bool) -> dict[str, float]:
    """SIGHUP again and again, faster than workers start."""
    for _ in range(50 if long else 10):
        server.process.send_signal(signal.SIGHUP)
        await load.progress(1)
    return {}


# ---------------------------------------------------------------- gateway and all


async def gateway_killed(server: Server, load: Load, long: bool) -> dict[str, float]:
    """``kill -9`` of the gateway: every client is cut off."""
    victims = [session for session in load.sessions if session.close_code is None]
    server.gateway().kill()
    figures = {"on_close_s": await all_closed(server.project, victims)}
    figures["back_s"] = await back(server.url)
    return figures


async def stopped(server: Server, load: Load, long: bool) -> dict[str, float]:
    """SIGTERM to the supervisor."""
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    await soon(lambda: server.process.poll() is not None, 40, server.output)
    assert server.process.returncode == 0, server.output()
    return {"stopped_s": time.monotonic() - began}


# ---------------------------------------------------------------- clients


async def slow_readers(server: Server, load: Load, long: bool) -> dict[str, float]:
    """Clients that never read, whose handlers send without end."""
    names = [f"slow{number}" for number in range(20 if long else 4)]
    began = time.monotonic()
    clients = []
    for name in names:
        client = await asyncio.to_thread(RawClient, server, f"flood?who={name}", 4096)
        clients.append(client)
        client.send("100000")
    figures: dict[str, float] = {}

    def all_gave_up() -> bool:
        memory = server.memory()
        figures["peak_mib"] = max(figures.get("peak_mib", 0), sum(memory.values()) / 2**20)
        notes = [note for note in server.project.journal("flood") if note[1] in names]
        return len(notes) == len(names)

    await soon(all_gave_up, 30)
    figures["gave_up_s"] = time.monotonic() - began
    for client in clients:
        client.socket.close()
    await soon(lambda: _closed(server, names), 10)
    return figures


async def half_open(server: Server, load: Load, long: bool) -> dict[str, float]:
    """Clients that are there no more, though nobody says so."""
    names = [f"gone{number}" for number in range(100 if long else 10)]
    clients = [await asyncio.to_thread(RawClient, server, f"hooks?who={name}") for name in names]
    began = time.monotonic()
    await soon(lambda: _closed(server, names), 20)
    for client in clients:
        client.socket.close()
    return {"noticed_s": time.monotonic() - began}


async def reconnect_storm(server: Server, load: Load, long: bool) -> dict[str, float]:
    """Many clients are cut at once and come back at once."""
    number = 1000 if long else 300

    async def open_one() -> ClientConnection:
        deadline = time.monotonic() + 30
        while True:
            try:
                return await connect(
                    server.url, compression=None, proxy=None, open_timeout=15, ping_interval=None
                )
            except (OSError, WebSocketException):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)

    async def echo(socket: ClientConnection) -> None:
        await socket.send("hello")
        assert await asyncio.wait_for(socket.recv(), 10) == "hello"

    sockets = await asyncio.gather(*[open_one() for _ in range(number)])
    for client in sockets:
        client.transport.abort()
    began = time.monotonic()
    sockets = await asyncio.gather(*[open_one() for _ in range(number)])
    await asyncio.gather(*[echo(client) for client in sockets])
    took = time.monotonic() - began
    await asyncio.gather(*[client.close() for client in sockets])
    return {"storm": number, "all_back_s": took}


async def queue_flood(server: Server, load: Load, long: bool) -> dict[str, float]:
    """Clients that send without pause to handlers that are busy."""
    # Valid for `Sleep`, and padded so that it fills the window by its bytes, too.
    with Flooders(server, "sleep", 30 if long else 10, "0.02".ljust(8000)) as flooders:
        await load.progress(25 if long else 5, 60)
        peak = sum(server.memory().values()) / 2**20
    return {"peak_mib": peak, "flooded": flooders.sent}


def _closed(server: Server, names: list[str]) -> bool:
    return set(names) <= {note[1] for note in server.project.journal("close")}


FAULTS = {
    "worker_killed": Fault(worker_killed),
    "one_of_two_workers_killed": Fault(worker_killed, flags=("--workers", "2")),
    "processes_killed": Fault(processes_killed, flags=("--workers", "2")),
    "worker_paused": Fault(worker_paused, lossless=True),
    "workers_replaced": Fault(workers_replaced, lossless=True),
    "two_workers_replaced": Fault(workers_replaced, lossless=True, flags=("--workers", "2")),
    "sighups_in_a_loop": Fault(sighups_in_a_loop, lossless=True),
    "gateway_killed": Fault(gateway_killed),
    "stopped": Fault(stopped, stops=True),
    "slow_readers": Fault(slow_readers, lossless=True, settings={"SEND_TIMEOUT": 1}),
    "half_open": Fault(
        half_open, lossless=True, settings={"PING_INTERVAL": 0.5, "PING_TIMEOUT": 0.5}
    ),
    "reconnect_storm": Fault(
        reconnect_storm, lossless=True, settings={"MAX_CONNECTIONS_PER_IP": 5000}
    ),
    "queue_flood": Fault(queue_flood, lossless=True),
}
