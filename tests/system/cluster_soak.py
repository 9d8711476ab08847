"""Faults of a whole cluster, at random: ``scripts/soak --cluster [minutes]``.

Three machines around one Valkey. On each a process publishes numbers, and pages have their handlers
publish others; all of them are members of one group. In rounds one to three things break at a
time, from gateways to the server's memory; when all is well again the oracle compares what was
confirmed with what each member heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..valkey import valkey
from .breaking import ENGINE_FAULTS, LOSSLESS, MACHINE_FAULTS, Broken
from .cluster import Cluster, Publisher
from .load import soon
from .told import Event, judge_told
from .v1 import V1Client

__all__ = ["Page", "Round", "main", "one_round"]

#: Pages at each machine, and messages of each in a second.
PAGES, RATE = 6, 5.0

#: Publications a second of the process on each machine.
PUBLISHED = 30.0

#: Seconds in which all members hear again, whatever has happened.
WELL = 30.0

#: Seconds for which a process waits that publishes: one for the connection, one for an answer, and
#: as much again where other work shares the cores.
LONGEST_WAIT = 4.0


class Page:
    """A browser with ``django-ws.v1`` that always comes back, and says numbers.

    Every other one is published with ``wait=True``.

    Attributes:
        events: what it heard of the group.
        said: where those got that were waited for, as :class:`.cluster.Publisher` has it.
        cuts: how often its connection ended.
    """

    def __init__(self, cluster: Cluster, machine: int, who: str, group: str) -> None:
        self._cluster = cluster
        self.machine = machine
        self.who = who
        self.events: list[Event] = []
        self.said: list[list[object]] = []
        self.cuts = 0
        self.talks = True
        self._client = V1Client("", f"/socket/member?group={group}&who={who}", self._note)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._stay()), loop.create_task(self._talk())]

    @property
    def here(self) -> bool:
        """Whether it is connected, and has heard where it is."""
        return self._client.welcomed and bool(self.events)

    def cut(self) -> None:
        """Its network breaks."""
        self._client.cut()

    async def stop(self) -> None:
        """Leave."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._client.cut()

    def _note(self, kind: str, rest: list[object]) -> None:
        if kind == "m":
            said = json.loads(str(rest[0]))
            if isinstance(said, list):
                self.said.append(said)
        elif kind in ("g", "h", "j"):
            _, offset, epoch, *more = rest
            assert isinstance(offset, int)
            text = None if kind == "j" else str(more[-1])
            recovered = kind != "j" or more[0] is True
            self.events.append(Event(offset, str(epoch), text, recovered))

    async def _stay(self) -> None:
        while True:
            self._client.host = f"127.0.0.1:{self._cluster.servers[self.machine].port}"
            with contextlib.suppress(OSError, AssertionError):
                socket = await self._client.connect()

                def settled(transport: asyncio.Transport = socket.transport) -> bool:
                    return self._client.welcomed or transport.is_closing()

                try:
                    await soon(settled, 5)
                    await soon(lambda: not self._client.welcomed, 1e9)
                finally:
                    socket.transport.abort()
                    self._client.cut()
            self.cuts += 1
            await asyncio.sleep(random.uniform(0.02, 0.2))

    async def _talk(self) -> None:
        for number in itertools.count(1):
            await asyncio.sleep(random.uniform(0.5, 1.5) / RATE)
            if self._client.welcomed and self.talks:
                text = f"{self.who}-{number}"
                self._client.send(text if number % 2 else f"confirm {text}")


@dataclass
class Round:
    """What one round did.

    Attributes:
        faults: their names.
        broken: promises, in words.
        figures: by name.
    """

    faults: list[str]
    broken: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


def _choose(chance: random.Random, machines: int) -> list[tuple[str, int]]:
    """Up to three faults at different places; the server is one."""
    places = chance.sample(range(-1, machines), chance.choice([1, 1, 2, 3]))
    if -1 not in places and chance.random() < 0.4:
        places[0] = -1
    return [
        (chance.choice(list(MACHINE_FAULTS if place >= 0 else ENGINE_FAULTS)), place)
        for place in places
    ]


async def one_round(
    cluster: Cluster, group: str, faults: list[tuple[str, int]], chance: random.Random
) -> Round:
    """Break things under load, and account for every publication.

    Args:
        faults: what, and at which machine.
    """
    found = Round([name for name, _ in faults])
    pages = [
        Page(cluster, machine, f"m{machine}{number}", group)
        for machine in range(len(cluster.servers))
        for number in range(PAGES)
    ]
    publishers = [
        Publisher(cluster, number, f"p{number}", group, PUBLISHED)
        for number in range(len(cluster.servers))
    ]
    try:
        await soon(lambda: all(page.here for page in pages), WELL)
        await soon(lambda: all(each.said for each in publishers), WELL)
        await asyncio.gather(*[_break(cluster, pages, each, chance) for each in faults])
        began = time.monotonic()
        mark = await _heard_by_all(cluster, group, pages, "well")
        found.figures["back_s"] = time.monotonic() - began
        for page in pages:
            page.talks = False
        await asyncio.gather(*[asyncio.to_thread(each.stop) for each in publishers])
        await asyncio.sleep(0.5)  # handlers that still publish
        mark = await _heard_by_all(cluster, group, pages, "end")
        _account(found, pages, publishers, mark)
    except AssertionError as error:
        found.broken.append(f"not well again: {error}"[:2000])
    finally:
        for each in publishers:
            each.kill()
        for page in pages:
            await page.stop()
    return found


async def _break(
    cluster: Cluster, pages: list[Page], fault: tuple[str, int], chance: random.Random
) -> None:
    name, machine = fault
    await asyncio.sleep(chance.uniform(0.2, 1.5))
    if machine < 0:
        await ENGINE_FAULTS[name](Broken(cluster, 0, chance))
    elif name == "browsers cut":
        for page in pages:
            if page.machine == machine:
                page.cut()
    else:
        await MACHINE_FAULTS[name](Broken(cluster, machine, chance))


async def _heard_by_all(
    cluster: Cluster, group: str, pages: list[Page], word: str
) -> tuple[str, int, str]:
    """Publish until it gets somewhere, and wait until everybody has heard it: epoch, offset, text.

    What one that failed may have published is nothing that anybody waits for.
    """
    deadline = time.monotonic() + WELL
    for number in itertools.count():
        text = f"{word}-{number}"
        code = "from cluster import confirmed; import json\n"
        code += f"print(json.dumps(confirmed({group!r}, {text!r})))"
        said = await asyncio.to_thread(cluster.run, 0, code)
        if isinstance(said[0], int):
            break
        assert time.monotonic() < deadline, f"nobody could publish: {said}"
    offset, epoch, _ = said

    def far(page: Page) -> bool:
        return any(event.text == text for event in page.events[-2000:])

    await soon(
        lambda: all(far(page) and page.here for page in pages),
        WELL,
        lambda: f"{text}: {[(page.who, page.events[-1:]) for page in pages if not far(page)]}",
    )
    return epoch, offset, text


def _account(
    found: Round, pages: list[Page], publishers: list[Publisher], mark: tuple[str, int, str]
) -> None:
    said = [[f"{each.name}-{number}", *rest] for each in publishers for number, *rest in each.said]
    own = [each for page in pages for each in page.said]
    confirmed = {
        (str(s[2]), int(str(s[1]))): str(s[0]) for s in said + own if isinstance(s[1], int)
    }
    epoch, offset, text = mark
    confirmed[epoch, offset] = text
    verdict = judge_told({page.who: page.events for page in pages}, confirmed, (epoch, offset))
    raised = Counter(str(each[1]) for each in said + own if isinstance(each[1], str))
    waited = max(float(each[3]) for each in said)
    found.broken += verdict.wrong()
    if waited > LONGEST_WAIT:
        found.broken.append(f"a publisher waited {waited:.1f} s")
    if set(raised) - {"GatewayUnavailable", "PublishTimeout"}:
        found.broken.append(f"publishers heard {dict(raised)}")
    if verdict.told and not set(found.faults) - LOSSLESS:
        found.broken.append(f"told={verdict.told} though nothing can be missing")
    found.figures |= {
        "confirmed": len(confirmed),
        "heard": verdict.heard,
        "told": verdict.told,
        "cuts": sum(page.cuts for page in pages),
        "raised": raised.total(),
        "waited_s": waited,
    }


def rounds(seed: int, deadline: float, output: Callable[[str], None]) -> list[Round]:
    """One after the other at one cluster, until the time is over."""
    chance = random.Random(seed)
    collected: list[Round] = []
    with (
        tempfile.TemporaryDirectory() as directory,
        valkey("--appendonly", "yes", "--appendfsync", "always") as server,
    ):
        cluster = Cluster(Path(directory), server)
        try:
            for number in itertools.count():
                if time.monotonic() > deadline:
                    break
                faults = _choose(chance, len(cluster.servers))
                done = asyncio.run(one_round(cluster, f"room-{number}", faults, chance))
                collected.append(done)
                figures = ", ".join(f"{name} {value:.4g}" for name, value in done.figures.items())
                word = "BROKEN" if done.broken else "kept"
                output(f"{word}: {' + '.join(f'{n} ({m})' for n, m in faults)}: {figures}")
                for line in done.broken:
                    output(f"    {line}")
            cluster.stop()
        finally:
            cluster.remove()
    return collected


def table(collected: list[Round]) -> str:
    """One line per fault; what happened in a round counts for each of its faults."""
    sums = ("confirmed", "heard", "told", "cuts", "raised")
    worst = ("waited_s", "back_s")
    lines = ["| " + " | ".join(["fault", "rounds", *sums, *worst]) + " |", "|" + "---|" * 9]
    for name in (*MACHINE_FAULTS, *ENGINE_FAULTS):
        those = [each.figures for each in collected if name in each.faults]
        if those:
            cells: list[object] = [name, len(those)]
            cells += [f"{sum(each.get(key, 0) for each in those):.0f}" for key in sums]
            cells += [f"{max(each.get(key, 0) for each in those):.2f}" for key in worst]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main(minutes: float, seed: int, output: Path | None) -> int:
    """Run for so many minutes; returns 1 if a promise was broken."""
    print(f"seed {seed}", flush=True)
    deadline = time.monotonic() + minutes * 60
    collected = rounds(seed, deadline, lambda line: print(line, flush=True))
    broken = [each for each in collected if each.broken]
    print(f"\n{table(collected)}\n\n{len(broken)} of {len(collected)} rounds broke a promise")
    if output:
        output.write_text(json.dumps([vars(each) for each in collected], indent=1))
    return 1 if broken else 0
