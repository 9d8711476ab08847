"""Faults of a whole cluster, at random: ``scripts/soak --cluster [minutes]``.

Three machines around one Valkey. On each a process publishes numbers, and pages have their handlers
publish others; all of them are members of one group. In rounds one to three things break at a
time, from gateways to the server's memory; when all is well again the oracle compares what was
confirmed with what each member heard.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..valkey import valkey
from .breaking import ENGINE_FAULTS, LOSSLESS, MACHINE_FAULTS, Broken
from .cluster import Cluster, Publisher
from .load import soon
from .pages import Page
from .told import judge_told

__all__ = ["Round", "main", "one_round"]

#: Pages at each machine.
PAGES = 6

#: Publications a second of the process on each machine.
PUBLISHED = 30.0

#: Seconds in which all members hear again, whatever has happened.
WELL = 30.0

#: Seconds after which a process that publishes hears that it was in vain: one for the connection,
#: one for an answer, and as much again where other work shares the cores.
LONGEST_WAIT = 4.0

#: The same of any, done or in vain: its own timeout of 5 s comes first.
LONGEST_PUBLISH = 9.0


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


class _Deck:
    """Names in random order, all of them before one comes again."""

    def __init__(self, chance: random.Random, names: Iterable[str]) -> None:
        self._chance = chance
        self._names = list(names)
        self._left: list[str] = []

    def draw(self) -> str:
        """The next one."""
        if not self._left:
            self._left = self._chance.sample(self._names, len(self._names))
        return self._left.pop()


def courses(chance: random.Random, machines: int) -> Iterator[list[tuple[str, int]]]:
    """One to three faults at different places for each round, without end; the server, which is at
    -1, has one in every other round at least."""
    decks = _Deck(chance, MACHINE_FAULTS), _Deck(chance, ENGINE_FAULTS)
    for number in itertools.count():
        places = chance.sample(range(-1, machines), chance.choice([1, 1, 2, 3]))
        if number % 2 == 0 and -1 not in places:
            places[0] = -1
        yield [(decks[place < 0].draw(), place) for place in places]


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
    in_vain = max((float(each[3]) for each in said if isinstance(each[1], str)), default=0.0)
    waited = max(float(each[3]) for each in said)
    found.broken += verdict.wrong()
    if in_vain > LONGEST_WAIT or waited > LONGEST_PUBLISH:
        found.broken.append(f"a publisher waited {waited:.1f} s, {in_vain:.1f} s in vain")
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
        "in_vain_s": in_vain,
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
            for number, faults in enumerate(courses(chance, len(cluster.servers))):
                if number and time.monotonic() > deadline:
                    break
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
    worst = ("in_vain_s", "waited_s", "back_s")
    lines = ["| " + " | ".join(["fault", "rounds", *sums, *worst]) + " |", "|" + "---|" * 10]
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
