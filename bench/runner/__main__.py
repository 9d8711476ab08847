"""Command line: runs the scenarios at the servers, in turn and several times."""

from __future__ import annotations

import argparse
import datetime
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from . import profiling
from .client import LoadError
from .documents import renew
from .page import page
from .processes import BENCH
from .report import text
from .results import Results, describe_machine
from .scenarios import METRICS, SCENARIOS, Scenario
from .servers import SERVERS, Server, Site, site
from .words import number

#: One start of a server and what is measured in it.
Job = tuple[str, list[str]]

HELP = f"scenarios: {', '.join(SCENARIOS)}\nservers: {', '.join(SERVERS)}"


def jobs(scenarios: Sequence[str], servers: Sequence[str], turn: int, quick: bool) -> Iterator[Job]:
    """What to do in one round, interleaved: all servers of a scenario one after the other.

    A quick run starts each server only once for all scenarios that want the same settings.
    """
    # Each round begins with another server, so that none is always the first.
    order = [*servers[turn % len(servers) :], *servers[: turn % len(servers)]]
    if not quick:
        for scenario in scenarios:
            taking_part = [name for name in order if SCENARIOS[scenario].applies(name)]
            yield from ((name, [scenario]) for name in taking_part * SCENARIOS[scenario].starts)
        return
    for name in order:
        together: dict[str, list[str]] = {}
        for scenario in scenarios:
            if SCENARIOS[scenario].applies(name):
                settings = str(sorted(SCENARIOS[scenario].environment.items()))
                together.setdefault(settings, []).append(scenario)
        yield from ((name, group) for group in together.values())


def measure(prepared: Site, job: Job, results: Results, seconds: float, quick: bool) -> None:
    """Start a server, measure, stop it."""
    name, scenarios = job
    try:
        with prepared.run(name, SCENARIOS[scenarios[0]].environment) as up:
            for key in scenarios:
                try:
                    figures = SCENARIOS[key].measure(up, seconds, quick)
                except (LoadError, OSError) as error:
                    fail(results, key, name, error)
                    continue
                results.add(key, name, figures)
                main = SCENARIOS[key].main
                said = f"{number(figures[main])} {METRICS[main].unit}"
                if "cpu" in figures and main != "cpu":
                    said += f", {number(figures['cpu'])} µs of CPU each"
                print(f"  {key:<17} {name:<23} {METRICS[main].label} {said}", flush=True)
    except (LoadError, OSError) as error:
        for key in scenarios:
            if name not in results.figures.get(key, {}):
                fail(results, key, name, error)


def fail(results: Results, scenario: str, server: str, error: Exception) -> None:
    """Note what could not be measured; the others go on."""
    print(f"  {scenario:<17} {server:<23} FAILED: {error}", flush=True)
    results.failures.append((scenario, server, str(error)))


def chosen(given: str, known: Sequence[str], what: str) -> list[str]:
    """Split an option's value; a name may be the beginning of several."""
    names = []
    for part in given.split(","):
        matching = [name for name in known if name == part]
        matching = matching or [name for name in known if name.startswith(part)]
        if not matching:
            raise SystemExit(f"no {what} {part!r}; there are {', '.join(known)}")
        names += matching
    return list(dict.fromkeys(names))


def measurable(names: Sequence[str], known: Mapping[str, Scenario | Server]) -> list[str]:
    """Leave out what this machine has not the means for, and say why."""
    reasons = {name: known[name].missing() for name in names}
    for name, why in reasons.items():
        if why:
            print(f"{name} is skipped: {why}")
    return [name for name in names if not reasons[name]]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "scripts/bench",
        description="Compares django-ws with its peers, side by side on this machine.",
        epilog=HELP + "\n\nalso: scripts/bench micro [pytest's arguments], scripts/bench profile"
        " SCENARIO SERVER [SECONDS]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one round, in under three minutes")
    parser.add_argument("--only", metavar="A,B", help="these scenarios; beginnings will do")
    parser.add_argument("--servers", metavar="A,B", help="these servers; beginnings will do")
    parser.add_argument("--rounds", type=int, help="how often (default: 3; quick: 1)")
    parser.add_argument("--seconds", type=float, help="a measurement (default: 4; quick: 0.6)")
    parser.add_argument(
        "--output", type=Path, default=BENCH / "results", help="directory (default: bench/results)"
    )
    parser.add_argument("--docs", action="store_true", help="also renew docs/performance.md")
    parser.add_argument(
        "--from", dest="saved", type=Path, metavar="JSON", help="measure nothing: show a saved run"
    )
    return parser.parse_args(arguments)


def write(results: Results, output: Path, docs: bool) -> None:
    """The JSON file, the page, and the documentation's figures."""
    output.mkdir(parents=True, exist_ok=True)
    results.save(output / "results.json")
    (output / "index.html").write_text(page(results))
    if docs:
        renew(results, BENCH.parent / "docs")
    print(f"\nwritten: {output / 'index.html'}")


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["profile"]:
        profiling.main(arguments[1], arguments[2], *(float(value) for value in arguments[3:]))
        return 0
    options = parse(arguments)
    if options.saved:
        results = Results.load(options.saved)
        print(text(results))
        write(results, options.output, options.docs)
        return 0
    quick = options.quick
    scenarios = [name for name in SCENARIOS if SCENARIOS[name].quick or not quick]
    if options.only:
        scenarios = chosen(options.only, list(SCENARIOS), "scenario")
    scenarios = measurable(scenarios, SCENARIOS)
    servers = [name for name in SERVERS if SERVERS[name].quick or not quick]
    if options.servers:
        servers = chosen(options.servers, list(SERVERS), "server")
    servers = measurable(servers, SERVERS)
    rounds = options.rounds or (1 if quick else 3)
    seconds = options.seconds or (0.6 if quick else 4.0)

    # Ten thousand clients, and as many connections in a server that inherits the limit.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    results = Results(describe_machine(), time.strftime("%Y-%m-%d %H:%M"), seconds)
    started = time.monotonic()
    with site() as prepared:
        try:
            for turn in range(rounds):
                print(f"round {turn + 1} of {rounds}")
                for job in jobs(scenarios, servers, turn, quick):
                    measure(prepared, job, results, seconds, quick)
        except KeyboardInterrupt:
            print("\nstopped; this is what there is")
    print(text(results))
    write(results, options.output, options.docs)
    print(f"took {datetime.timedelta(seconds=round(time.monotonic() - started))}")
    # That a peer gives up under some load is a result, too.
    return int(any(SERVERS[name].family == "ours" for _, name, _ in results.failures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
