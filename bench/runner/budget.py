"""What django-ws set out to reach, checked against a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .results import Results
from .words import TIMES

__all__ = ["Line", "check"]


@dataclass(frozen=True)
class Line:
    """One promise.

    Attributes:
        value: measured.
        bound: what it must reach, or must not exceed.
        at_least: which of the two.
    """

    text: str
    value: float
    bound: float
    at_least: bool
    unit: str

    @property
    def kept(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound


#: Text, scenario, metric, numerator, denominator (a server, maybe @ another scenario, or empty for
#: one), bound, at least.
_SYNC = "channels-sync-uvicorn"
_POOL = "django-ws-pool"
_LINES = (
    ("Echo: CPU of Channels sync / pool", "echo-100", "cpu", _SYNC, "django-ws-pool", 15, True),
    ("Echo: CPU of bare Tornado / pool", "echo-100", "cpu", "tornado", "django-ws-pool", 3, True),
    ("Echo: CPU of Channels sync / gevent", "echo-100", "cpu", _SYNC, "django-ws-gevent", 10, True),
    (
        "Echo: CPU of Channels sync / threaded",
        "echo-100",
        "cpu",
        _SYNC,
        "django-ws-threaded",
        5,
        True,
    ),
    (
        "One connection: median of pool / Channels sync",
        "echo-1",
        "p50",
        "django-ws-pool",
        _SYNC,
        0.5,
        False,
    ),
    (
        "Handler that blocks: messages of pool / Channels sync",
        "sleep",
        "rate",
        "django-ws-pool",
        _SYNC,
        80,
        True,
    ),
    (
        "Fan-out to 1,000: last delivery of channels_redis / pool",
        "fan-1000",
        "last",
        "channels-async-redis",
        "django-ws-pool",
        30,
        True,
    ),
    (
        "Fan-out to 1,000: CPU of pool / bare send() loop",
        "fan-1000",
        "cpu",
        "django-ws-pool",
        "send-loop",
        1.6,
        False,
    ),
    (
        "Memory of an idle connection, pool (KB)",
        "memory",
        "rss",
        "django-ws-pool",
        "",
        8,
        False,
    ),
    (
        "Others' 99th percentile with a chatty client, pool",
        "chatty",
        "grows",
        "django-ws-pool",
        "",
        2,
        False,
    ),
    (
        "Echo: CPU with 2 workers / with 1, pool",
        "echo-100",
        "cpu",
        "django-ws-pool-2",
        "django-ws-pool",
        1.2,
        False,
    ),
    (
        "Echo: CPU with 8,000 connections / with 100, pool",
        "echo-8000",
        "cpu",
        "django-ws-pool",
        "django-ws-pool@echo-100",
        1.2,
        False,
    ),
    (
        "publish(): CPU of channels_redis / pool",
        "publish",
        "cpu",
        "channels-sync-redis",
        "django-ws-pool",
        10,
        True,
    ),
    (
        "publish(): CPU of channels_redis pub/sub / pool",
        "publish",
        "cpu",
        "channels-async-pubsub",
        "django-ws-pool",
        10,
        True,
    ),
    (
        "Fan-out to 2 x 500: last delivery of channels_redis / pool",
        "fan-two",
        "last",
        "channels-two-redis",
        "django-ws-two",
        10,
        True,
    ),
    (
        "Fan-out to 2 x 500: last delivery of channels_redis pub/sub / pool",
        "fan-two",
        "last",
        "channels-two-pubsub",
        "django-ws-two",
        10,
        True,
    ),
    ("publish(): CPU of all processes, pool (µs)", "publish", "cpu", _POOL, "", 60, False),
    ("publish(): the call, pool (µs)", "publish", "call", _POOL, "", 60, False),
    ("A membership in groups of many (bytes)", "memberships", "shared", _POOL, "", 200, False),
    ("A membership in a group of one (bytes)", "memberships", "own", _POOL, "", 200, False),
    (
        "Fan-out to 1,000: CPU with a history / without, v1",
        "fan-kept-1000",
        "cpu",
        "django-ws-pool-v1",
        "django-ws-pool-v1@fan-1000",
        1.5,
        False,
    ),
    (
        "Echo: CPU of a v1 client / of a plain one, pool",
        "echo-100",
        "cpu",
        "django-ws-pool-v1",
        "django-ws-pool",
        1.5,
        False,
    ),
    (
        "Echo: CPU of a Socket.IO client / of a plain one, pool",
        "echo-100",
        "cpu",
        "django-ws-pool-io",
        "django-ws-pool",
        2,
        False,
    ),
    (
        "Echo: CPU of python-socketio / of a Socket.IO client, pool",
        "echo-100",
        "cpu",
        "socketio",
        "django-ws-pool-io",
        3,
        True,
    ),
    (
        "1,000 sessions resumed at once: the last is back (ms)",
        "resume-1000",
        "last",
        "django-ws-pool-v1",
        "",
        2000,
        False,
    ),
    (
        "1,000 sessions resumed at once: 99th percentile of others (ms)",
        "resume-1000",
        "p99",
        "django-ws-pool-v1",
        "",
        50,
        False,
    ),
    (
        "Publications a second at two servers, pool / channels_redis",
        "borne-two",
        "borne",
        "django-ws-two",
        "channels-two-redis",
        10,
        True,
    ),
    ("Start of the gateway (s)", "start", "gateway", "django-ws-pool", "", 0.5, False),
)


def check(results: Results) -> Iterator[Line]:
    """Every promise whose figures are in the results."""
    for text, scenario, metric, above, below, bound, at_least in _LINES:
        upper = results.median(scenario, above, metric)
        server, _, other = below.partition("@")
        lower = results.median(other or scenario, server, metric) if below else 1.0
        if upper is not None and lower:
            unit = "" if not below and metric != "grows" else TIMES
            yield Line(text, upper / lower, bound, at_least, unit)
