"""Pages whose network comes and goes while something is published all the time.

Every page is cut for up to two seconds, again and again, in one of three ways: its connection is
reset; it vanishes, so that the gateway knows nothing; or it is reset before its ``welcome``. What
each has in the end is compared with what was published, and with what it sent itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from .load import soon
from .server import Server
from .v1 import Socket, V1Client

__all__ = ["Outcome", "Page", "flap"]


class Page:
    """One page, and all that it got."""

    def __init__(self, server: Server) -> None:
        self.published: list[int] = []
        self.answers: list[str] = []
        self.told = 0
        self.cuts = 0
        self.sent = 0
        self._gone: list[Socket] = []
        self.client = V1Client(f"127.0.0.1:{server.port}", "/socket/flapping", self._take)

    def _take(self, kind: str, rest: list[object]) -> None:
        if kind in ("g", "h"):
            self.published.append(int(str(rest[4])))
        elif kind == "m":
            self.answers.append(str(rest[0]))
        elif kind == "j" and not rest[3]:
            self.told += 1

    async def live(
        self, chance: random.Random, up: float, down: float, stop: asyncio.Event
    ) -> None:
        """Be cut again and again, and send a message with each connection."""
        while not stop.is_set():
            self.sent += 1
            self.client.send(str(self.sent))
            await asyncio.sleep(chance.uniform(0, up))
            if stop.is_set():
                break
            self.cuts += 1
            if self.cuts % 3:
                self.client.cut()
            elif (socket := self.client.vanish()) is not None:
                self._gone.append(socket)
            await asyncio.sleep(chance.uniform(0, down))
            await self.client.connect()
            if chance.random() < 0.2:
                self.client.cut()
                await self.client.connect()
            await self.back()
        if self.client.socket is None:
            await self.client.connect()
        await self.back()

    async def back(self) -> None:
        """Wait for ``welcome``; a connection that ends meanwhile is made anew."""

        async def welcome() -> None:
            while not self.client.welcomed:
                if self.client.socket is None and self.client.code:
                    self.client.code = 0
                    await self.client.connect()
                await asyncio.sleep(0.02)

        await asyncio.wait_for(welcome(), 20)

    async def end(self) -> None:
        """Leave nothing behind."""
        for socket in self._gone:
            socket.transport.abort()
        self.client.close()
        await soon(lambda: self.client.socket is None, 5)


@dataclass
class Outcome:
    """What became of all pages.

    Attributes:
        pages, publications, cuts, messages: how many there were.
        whole: pages with every publication once and in order.
        missed, repeated, disordered: publications, over all pages.
        unanswered, twice: the same of what pages sent.
        told: how often a page heard that something is lost.
        anew: sessions that could not be resumed.
        seconds: from the last publication until every page had it.
    """

    pages: int
    publications: int
    cuts: int = 0
    messages: int = 0
    whole: int = 0
    missed: int = 0
    repeated: int = 0
    disordered: int = 0
    unanswered: int = 0
    twice: int = 0
    told: int = 0
    anew: int = 0
    seconds: float = 0.0
    examples: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether everything came once and in order, or the page was told."""
        return not (
            self.missed or self.repeated or self.disordered or self.unanswered or self.twice
        )

    def add(self, page: Page) -> None:
        """Count a page."""
        got = page.published
        self.cuts += page.cuts
        self.messages += page.sent
        self.told += page.told
        self.anew += page.client.sessions - 1
        self.whole += got == list(range(1, self.publications + 1))
        missed = set(range(1, self.publications + 1)) - set(got)
        self.missed += len(missed)
        self.repeated += len(got) - len(set(got))
        self.disordered += sum(one > other for one, other in itertools.pairwise(got))
        if missed and len(self.examples) < 3:
            self.examples.append(f"missed {sorted(missed)[:5]} … of {len(missed)}")
        numbers = Counter(answer.split()[0] for answer in page.answers)
        self.unanswered += page.sent - len(numbers)
        self.twice += sum(count > 1 for count in numbers.values())


async def flap(
    server: Server, *, pages: int, rate: float, seconds: float, up: float = 4.0, down: float = 2.0
) -> Outcome:
    """Let pages flap while another process publishes.

    Args:
        server: serves the namespace ``flapping``.
        pages: how many.
        rate: publications a second.
        seconds: for how long.
        up, down: seconds that a page is at most with a connection, and without one.
    """
    chance = random.Random(7)
    everybody = [Page(server) for _ in range(pages)]
    for page in everybody:
        await page.client.connect()
    await soon(lambda: all(page.client.welcomed for page in everybody), 30)
    publications = int(rate * seconds)
    stop = asyncio.Event()
    lives = [
        asyncio.create_task(page.live(random.Random(chance.random()), up, down, stop))
        for page in everybody
    ]
    publisher = await asyncio.create_subprocess_exec(
        sys.executable, "publisher.py", "flapping", str(publications), str(rate),
        cwd=server.project.directory, env=server.project.environment(), stdout=subprocess.PIPE,
    )  # fmt: skip
    assert await asyncio.wait_for(publisher.wait(), seconds + 30) == 0
    ended = time.monotonic()
    stop.set()
    await asyncio.gather(*lives)
    outcome = Outcome(pages, publications)

    def complete() -> bool:
        return all(
            page.published[-1:] == [publications] and len(page.answers) >= page.sent
            for page in everybody
        )

    with contextlib.suppress(AssertionError):  # the figures say what is missing
        await soon(complete, 20)
    outcome.seconds = time.monotonic() - ended
    for page in everybody:
        outcome.add(page)
    await asyncio.gather(*[page.end() for page in everybody])
    return outcome
