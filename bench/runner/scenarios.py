"""The scenarios: what is measured, at which servers, in which words."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import psutil

from . import postgres
from .client import LoadError, Swarm
from .loops import (
    Flood,
    closed_loop,
    fan_out,
    handshakes,
    one_each,
    paced,
    paced_fan_out,
    quantile,
)
from .memberships import memberships
from .processes import Usage, born
from .publishing import publishing
from .returning import returning
from .servers import SERVERS, Running

__all__ = ["METRICS", "SCENARIOS", "Metric", "Scenario"]

#: Many messages a second on one connection are above the default limit, which stays on: the
#: number is raised, the check is paid for.
FAST = {"BENCH_MESSAGE_RATE": "1000000"}

#: Its own CPU is not the server's: all of them ask it the same.
POSTGRES = {"BENCH_DATABASE": "postgres"}

#: Servers to which another process can publish.
GROUPS = frozenset({"ours", "channels"})

#: Publications a second that are tried first, and the delay of the slowest hundredth that is borne.
SLOWEST, BORNE = 5.0, 0.05

Figures = dict[str, float]


@dataclass(frozen=True)
class Metric:
    """One figure of a scenario."""

    label: str
    unit: str
    more_is_better: bool = False


METRICS = {
    "rate": Metric("throughput", "/s", True),
    "p50": Metric("median", "ms"),
    "p99": Metric("99th percentile", "ms"),
    "cpu": Metric("server CPU", "µs each"),
    "client": Metric("load generator's CPU", "µs each"),
    "last": Metric("last delivery", "ms"),
    "borne": Metric("publications until p99 exceeds 50 ms", "/s", True),
    "rss": Metric("resident memory", "KB/connection"),
    "pss": Metric("proportional memory", "KB/connection"),
    "alone": Metric("99th percentile without the chatty client", "ms"),
    "grows": Metric("99th percentile, factor", "times"),
    "accepts": Metric("until the port accepts", "s"),
    "serves": Metric("until the first handshake is done", "s"),
    "gateway": Metric("the gateway process, until its port accepts", "s"),
    "flood": Metric("chatty client", "messages/s", True),
    "call": Metric("from the call to its return", "µs"),
    "caller": Metric("CPU of the process that publishes", "µs each"),
    "own": Metric("gateway, groups of one connection", "bytes/membership"),
    "shared": Metric("gateway, groups of all connections", "bytes/membership"),
    "own-worker": Metric("worker, groups of one connection", "bytes/membership"),
    "shared-worker": Metric("worker, groups of all connections", "bytes/membership"),
}


class Measure(Protocol):
    def __call__(self, up: Running, seconds: float, quick: bool) -> Figures: ...


@dataclass(frozen=True)
class Scenario:
    """One thing to measure.

    Attributes:
        title: for people.
        handler: which handler of the project.
        connections: clients.
        main: the metric that is plotted.
        environment: for ``project/settings.py``.
        quick: whether ``--quick`` includes it.
        bound: whether servers that only show what is possible take part.
        families: of servers that take part; empty for all.
        numbered: whether clients do that number what they send.
        sessions: whether only these do, since it is about sessions that outlive connections.
        starts: how often to start each server and measure, in a round.
        missing: why it cannot be measured on this machine; empty if it can.
    """

    title: str
    handler: str
    connections: int
    main: str
    measure: Measure
    environment: Mapping[str, str] = field(default_factory=dict)
    quick: bool = True
    bound: bool = False
    families: frozenset[str] = frozenset()
    numbered: bool = True
    sessions: bool = False
    starts: int = 1
    missing: Callable[[], str] = str

    def applies(self, name: str) -> bool:
        """Whether a server takes part."""
        server = SERVERS[name]
        if self.handler not in server.handlers:
            return False
        if self.families and (server.family not in self.families or server.io):
            return False
        if (server.v1 and not self.numbered) or (self.sessions and not server.v1):
            return False
        if not server.least <= self.connections <= server.most:
            return False
        return server.family != "bound" or self.bound


def _figures(times: list[float], usage: Usage) -> Figures:
    if not times:
        raise LoadError("not one answer")
    return {
        "rate": len(times) / usage.seconds,
        "p50": quantile(times, 0.5) * 1e3,
        "p99": quantile(times, 0.99) * 1e3,
        "cpu": usage.cpu / len(times) * 1e6,
        "client": usage.client / len(times) * 1e6,
    }


def _round_trips(handler: str, connections: int) -> Measure:
    def measure(up: Running, seconds: float, quick: bool) -> Figures:
        swarm = Swarm(up.ports, up.dialect(handler))
        try:
            peers = swarm.open(connections)
            # What a first message makes (a thread, a database connection) is not measured.
            one_each(swarm, peers)
            # Enough for each to have had its turn, and for what learns to have learnt.
            closed_loop(swarm, peers, max(seconds / 3, connections / 8000))
            usage = Usage(up.trees)
            usage.start()
            # With very many, one turn of all of them takes a slow server seconds.
            times = closed_loop(swarm, peers, max(seconds, connections / 2000))
            usage.stop()
            return _figures(times, usage)
        finally:
            swarm.close()

    return measure


def _latency(up: Running, seconds: float, quick: bool) -> Figures:
    swarm = Swarm(up.ports, up.dialect("echo"))
    try:
        peers = swarm.open(100)
        paced(swarm, peers, 500, 0.5)
        usage = Usage(up.trees)
        usage.start()
        times = paced(swarm, peers, 500, seconds)
        usage.stop()
        return _figures(times, usage)
    finally:
        swarm.close()


def _fan_out(handler: str, connections: int) -> Measure:
    def measure(up: Running, seconds: float, quick: bool) -> Figures:
        swarm = Swarm(up.ports, up.dialect(handler))
        try:
            peers = swarm.open(connections)
            time.sleep(0.3)  # some join only after they have accepted
            fan_out(swarm, peers, 0, least=1)
            usage = Usage(up.trees)
            usage.start()
            delays, lasts = fan_out(swarm, peers, seconds)
            usage.stop()
            return {**_figures(delays, usage), "last": quantile(lasts, 0.5) * 1e3}
        finally:
            swarm.close()

    return measure


def _borne(handler: str, connections: int) -> Measure:
    """Double the rate until it is too much, then find the bound to a fifth."""

    def measure(up: Running, seconds: float, quick: bool) -> Figures:
        best, figures = 0.0, {"borne": 0.0}
        rate, step = SLOWEST, 2.0
        while step > 1.1:
            swarm = Swarm(up.ports, up.dialect(handler))  # a failure may have left things under way
            try:
                peers = swarm.open(connections)
                time.sleep(0.3)  # some join only after they have accepted
                fan_out(swarm, peers, 0, least=3)
                usage = Usage(up.trees)
                usage.start()
                delays = paced_fan_out(swarm, peers, rate, max(1.0, seconds), 5.0)
                usage.stop()
                fine = quantile(delays, 0.99) <= BORNE
            except (LoadError, OSError):
                fine = False
            finally:
                swarm.close()
            if fine:
                best = rate
                figures = {"borne": rate, **_figures(delays, usage)}
            if not fine or step < 2.0:
                step = step**0.5
            rate = best * step if best else rate / 4
        return figures

    return measure


def _memory(up: Running, seconds: float, quick: bool) -> Figures:
    count = min(up.server.most, 1000 if quick else 4000)
    swarm = Swarm(up.ports, up.dialect("echo"))
    try:
        one_each(swarm, swarm.open(min(20, count)))
        before = _settled(up)
        one_each(swarm, swarm.open(count))
        after = _settled(up)
        return {
            "rss": (after[0] - before[0]) / count / 1024,
            "pss": (after[1] - before[1]) / count / 1024,
        }
    finally:
        swarm.close()


def _settled(up: Running) -> tuple[int, int]:
    """Memory, once it has stopped changing."""
    last = (0, 0)
    for _ in range(10):
        time.sleep(0.2)
        parts = [tree.memory() for tree in up.trees]
        now = (sum(part[0] for part in parts), sum(part[1] for part in parts))
        if abs(now[0] - last[0]) < 64 * 1024:
            break
        last = now
    return now


def _handshakes(handler: str) -> Measure:
    def measure(up: Running, seconds: float, quick: bool) -> Figures:
        swarm = Swarm(up.ports, up.dialect(handler))
        count = 20 if up.server.most <= 100 else 200
        try:
            handshakes(swarm, count // 4, 20)
            times: list[float] = []
            usage = Usage(up.trees)
            usage.start()
            while usage.seconds + time.perf_counter() < seconds:
                times += handshakes(swarm, count, 20)
            usage.stop()
            return _figures(times, usage)
        finally:
            swarm.close()

    return measure


def _chatty(up: Running, seconds: float, quick: bool) -> Figures:
    swarm = Swarm(up.ports, up.dialect("echo"))
    try:
        *peers, chatty = swarm.open(51)
        paced(swarm, peers, 500, 0.5)
        alone = quantile(paced(swarm, peers, 500, seconds), 0.99) * 1e3
        flood = Flood(swarm, chatty)
        # Long enough to use up the burst that the message rate allows.
        paced(swarm, peers, 500, 1.0, flood)
        before = flood.answers
        usage = Usage(up.trees)
        usage.start()
        times = paced(swarm, peers, 500, seconds, flood)
        usage.stop()
        figures = _figures(times, usage)
        del figures["cpu"], figures["client"], figures["rate"]
        return {
            **figures,
            "alone": alone,
            "grows": figures["p99"] / alone,
            "flood": (flood.answers - before) / usage.seconds,
        }
    finally:
        swarm.close()


def _start(up: Running, seconds: float, quick: bool) -> Figures:
    tree = up.trees[0]
    figures = {"accepts": tree.accepted - tree.started, "serves": tree.ready}
    for process in tree.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            # A child of the supervisor; behind run_wsgateway it would be as old as manage.py.
            if "django_ws.gateway" in process.cmdline():
                figures["gateway"] = tree.accepted - born(process)
    return figures


def _echo(connections: int, quick: bool) -> Scenario:
    clients = "1 connection" if connections == 1 else f"{connections:,} connections"
    return Scenario(
        f"Echo, {clients}",
        "echo",
        connections,
        "p50" if connections == 1 else "cpu",
        _round_trips("echo", connections),
        FAST,
        quick=quick,
        bound=True,
    )


def _fan(connections: int, quick: bool) -> Scenario:
    return Scenario(
        f"Fan-out to {connections:,}",
        "fan",
        connections,
        "last",
        _fan_out("fan", connections),
        quick=quick,
        bound=True,
    )


SCENARIOS: dict[str, Scenario] = {
    "memory": Scenario("Memory of an idle connection", "echo", 1, "rss", _memory),
    "echo-1": _echo(1, True),
    "echo-100": _echo(100, True),
    "echo-1000": _echo(1000, False),
    "echo-8000": _echo(8000, False),
    "latency": Scenario("Echo, 500 messages/s in all", "echo", 100, "p99", _latency, quick=False),
    "sleep": Scenario(
        "Handler that blocks 10 ms, 100 clients", "sleep", 100, "rate", _round_trips("sleep", 100)
    ),
    "orm": Scenario(
        "Handler with a query (SQLite), 100 clients", "orm", 100, "rate", _round_trips("orm", 100)
    ),
    "orm-postgres": Scenario(
        "Handler with a query (PostgreSQL), 100 clients",
        "orm",
        100,
        "rate",
        _round_trips("orm", 100),
        POSTGRES,
        quick=False,
        missing=postgres.missing,
    ),
    "fan-1000": _fan(1000, True),
    "fan-5000": _fan(5000, False),
    "fan-10000": _fan(10000, False),
    "handshake": Scenario(
        "Handshakes with a session, 20 at a time", "auth", 20, "rate", _handshakes("auth")
    ),
    "connect": Scenario(
        "Socket.IO: connections, 20 at a time", "connect", 20, "rate", _handshakes("connect")
    ),
    "start": Scenario("Start, until the port accepts", "echo", 1, "accepts", _start, starts=3),
    "chatty": Scenario(
        "One client sends without pause", "echo", 51, "grows", _chatty, numbered=False
    ),
    "chatty-unlimited": Scenario(
        "One client sends without pause, message rate raised",
        "echo",
        51,
        "grows",
        _chatty,
        FAST,
        quick=False,
        numbered=False,
    ),
    "fan-kept-1000": Scenario(
        "Fan-out to 1,000, with a history", "kept", 1000, "last", _fan_out("kept", 1000)
    ),
    "fan-two": Scenario(
        "Fan-out to 1,000 at two servers", "two", 1000, "last", _fan_out("fan", 1000)
    ),
    "borne-two": Scenario(
        "Publications to 100 members at two servers",
        "two",
        100,
        "borne",
        _borne("fan", 100),
        FAST,
        quick=False,
    ),
    "publish": Scenario(
        "publish() in another process, one member",
        "fan",
        1,
        "cpu",
        publishing(),
        families=GROUPS,
    ),
    "publish-paced": Scenario(
        "publish() in another process, now and then",
        "fan",
        1,
        "cpu",
        publishing(0.005),
        quick=False,
        families=GROUPS,
    ),
    "resume-1000": Scenario(
        "1,000 clients are cut and come back at once; others beside them",
        "kept",
        1000,
        "last",
        returning,
        quick=False,
        sessions=True,
    ),
    "memberships": Scenario("A membership of a group", "members", 1000, "own", memberships),
}
