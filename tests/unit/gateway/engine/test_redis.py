"""The engine that a server has, against a real one."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import uvloop

from django_ws.gateway.engine.redis import Redis
from django_ws.group_patterns import lookup
from django_ws.options import GroupConfig
from django_ws.store.urls import parse
from tests.valkey import Valkey, valkey

from . import contract
from .contract import GROUPS, Ears

PATTERNS = lookup({name: GroupConfig(**options) for name, options in GROUPS.items()})


class RedisBench:
    """See :class:`.contract.Bench`; each has a project of its own in one server."""

    numbers = itertools.count(1)

    def __init__(self, server: Valkey) -> None:
        self.server = server
        self.loop = uvloop.new_event_loop()  # as the gateway has it
        self.now = 1_000_000.0
        self.project = f"project-{next(self.numbers)}"
        self.engines: list[Redis] = []
        self.ears = Ears()
        self.counters: Counter[str] = Counter()
        self.engine = self.make("g", self.ears)

    def make(self, incarnation: str, ears: Ears) -> Redis:
        engine = Redis(
            parse(self.server.url),
            self.project,
            incarnation,
            PATTERNS,
            ears,
            loop=self.loop,
            counters=self.counters,
            clock=lambda: self.now,
        )
        self.engines.append(engine)
        self.wait_for(lambda: not engine.away)
        return engine

    def wait_for(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        async def wait() -> None:
            async with asyncio.timeout(seconds):
                while not condition():
                    await asyncio.sleep(0.001)

        if not condition():
            self.loop.run_until_complete(wait())

    def pass_time(self, seconds: float) -> None:
        """The clock is ours; what the server counts itself is moved on by hand."""
        self.now += seconds
        milliseconds = round(seconds * 1000)
        self.server.command(
            "EVAL",
            "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do "
            "local left = redis.call('PTTL', key) "
            "if left > 0 then redis.call('PEXPIRE', key, math.max(0, left - ARGV[2])) end end",
            0,
            f"django_ws:{self.project}:*",
            milliseconds,
        )
        for engine in self.engines:
            engine.expire()

    def lose_memory(self) -> None:
        self.server.command("FLUSHALL")

    def close(self) -> None:
        for engine in self.engines:
            engine.close()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


@pytest.fixture
def bench(server: Valkey) -> Iterator[RedisBench]:
    bench = RedisBench(server)
    yield bench
    bench.close()


class TestPublications(contract.Publications):
    pass


class TestHistory(contract.History):
    pass


class TestPresence(contract.Presence):
    pass
