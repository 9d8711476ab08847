"""The long form of the fault harness: ``scripts/soak [minutes]``.

One server per kind of fault, under the full load, again and again in turn until the time is over;
so memory that does not come back shows as growth from round to round.

``scripts/soak --flapping`` is another round: pages whose network comes and goes while something is
published all the time, see :mod:`.flapping`.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from . import cluster_soak
from .faults import FAULTS, Report, run
from .flapping import Outcome, flap
from .server import MODES, Project, Server

__all__ = ["main"]

#: The load that is promised to be carried.
CLIENTS, RATE = 200, 5.0

#: MiB that a process may have grown by after the first round of a fault at the same server.
GROWTH = 16.0


def rounds(faults: list[str]) -> Iterator[tuple[str, str, str, str]]:
    """Fault, namespace, mode and link, without end; every combination comes up in time."""
    number = 0
    while True:
        for fault in faults:
            mode = MODES[number % len(MODES)]
            link = ("ipc", "tcp")[number // len(MODES) % 2]
            namespace = ("ledger", "again")[number // 2 % 2]
            yield fault, namespace, mode, link
            number += 1
        number += 1  # so that the next pass combines them differently


def one_round(fault: str, namespace: str, mode: str, link: str) -> list[Report]:
    """A fault twice at one server, so that the second one shows growth."""
    # A process per connection is for tens of connections, not for hundreds at two cores.
    clients = CLIENTS if mode != "multiprocess" else CLIENTS // 4
    settings = {"ALLOW_MISSING_ORIGIN": True, **FAULTS[fault].settings}
    reports = []
    with tempfile.TemporaryDirectory() as directory:
        project = Project(Path(directory), link, DJANGO_WS=settings)
        try:
            server = Server(project, f"--{mode}", *FAULTS[fault].flags)
            for _ in range(1 if FAULTS[fault].stops else 2):
                report = asyncio.run(
                    run(fault, server, namespace, clients=clients, rate=RATE, long=True)
                )
                reports.append(report)
            if not FAULTS[fault].stops:
                server.stop(40)
            if project.leftovers():
                reports[-1].verdict.note(f"left behind: {project.leftovers()}")
        finally:
            project.remove()
    return reports


def wrong(reports: list[Report]) -> list[str]:
    """Which promises a round broke, memory included."""
    broken = [text for report in reports for text in report.wrong()]
    for report in reports[1:]:
        for name in ("gateway_grew_mib", "workers_grew_mib"):
            if report.figures.get(name, 0) > GROWTH:
                broken.append(f"{name}={report.figures[name]:.1f}")
    return broken


def table(collected: dict[str, list[Report]]) -> str:
    """The report: one line per fault, counts added up, the worst of each figure."""
    counts = ["sent", "lost", "repeated", "reordered", "unsignalled"]
    head = ["fault", "runs", *counts, "closed", "worst figures"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for fault, reports in collected.items():
        verdicts = [report.verdict for report in reports]
        sums = [sum(getattr(verdict, name) for verdict in verdicts) for name in counts]
        closed = sum(sum(verdict.cut.values()) for verdict in verdicts)
        names = dict.fromkeys(name for report in reports for name in report.figures)
        worst = {
            name: max(report.figures[name] for report in reports if name in report.figures)
            for name in names
        }
        figures = ", ".join(f"{name} {value:.3g}" for name, value in worst.items())
        cells = [fault, len(reports), *sums, closed, figures]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def flapping(pages: int, rate: float, seconds: float, output: Path | None) -> int:
    """Let pages flap once; returns 1 if one of them has not everything once and in order.

    Args:
        pages, rate, seconds: as of :func:`.flapping.flap`.
        output: gets the figures as JSON, too.
    """
    publications = int(rate * seconds)
    kept = {"history_size": max(publications, 100), "history_ttl": seconds + 300}
    with tempfile.TemporaryDirectory() as directory:
        project = Project(Path(directory))
        settings = {
            "GROUPS": {"flapping": kept},
            "SUB_SOCKET": project.flags[3],  # where the publisher finds the gateway
            "MAX_CONNECTIONS_PER_IP": 4 * pages,  # all of them come from one
        }
        (project.directory / "local.json").write_text(json.dumps({"DJANGO_WS": settings}))
        try:
            server = Server(project, "--pool", "--workers=2")
            outcome = asyncio.run(flap(server, pages=pages, rate=rate, seconds=seconds))
            server.stop(40)
        finally:
            project.remove()
    print(figures(outcome))
    if output:
        output.write_text(json.dumps(dataclasses.asdict(outcome), indent=1))
    good = outcome.kept and outcome.whole == outcome.pages
    print("kept" if good else f"BROKEN: {outcome.examples}")
    return 0 if good else 1


def figures(outcome: Outcome) -> str:
    """What became of pages that flapped, as a table."""
    wanted = outcome.pages * outcome.publications
    share = 1 - outcome.missed / wanted if wanted else 1.0
    rows = dataclasses.asdict(outcome)
    del rows["examples"]
    cells = [f"| delivered | {share:.4%} of {wanted:,} |"]
    cells += [f"| {name} | {value:.4g} |" for name, value in rows.items() if name == "seconds"]
    cells += [f"| {name} | {value:,} |" for name, value in rows.items() if name != "seconds"]
    return "\n".join(["| flapping | |", "|---|---|", *cells])


def main() -> int:
    """Run for so many minutes, or let pages flap; returns 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=30.0)
    parser.add_argument("--output", type=Path, help="also write the reports to this file, as JSON")
    parser.add_argument(
        "--fault", action="append", choices=FAULTS, help="only this one; may be repeated"
    )
    parser.add_argument(
        "--flapping", action="store_true", help="only the pages whose network comes and goes"
    )
    parser.add_argument("--pages", type=int, default=500, help="that flap (500)")
    parser.add_argument("--rate", type=float, default=50.0, help="publications a second (50)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for which they flap (60)")
    parser.add_argument(
        "--cluster", action="store_true", help="three machines around one Valkey instead"
    )
    parser.add_argument("--seed", type=int, help="of --cluster: makes the same faults again")
    options = parser.parse_args()
    if options.flapping:
        return flapping(options.pages, options.rate, options.seconds, options.output)
    if options.cluster:
        seed = options.seed if options.seed is not None else int(time.time())
        return cluster_soak.main(options.minutes, seed, options.output)
    deadline = time.monotonic() + options.minutes * 60
    collected: dict[str, list[Report]] = {}
    failures = []
    for variant in rounds(options.fault or list(FAULTS)):
        if time.monotonic() > deadline:
            break
        name = " ".join(variant)
        try:
            reports = one_round(*variant)
        except Exception as error:
            failures.append(f"{name}: {error!r}")
            print(f"FAILED {failures[-1][:3000]}", flush=True)
            continue
        collected.setdefault(variant[0], []).extend(reports)
        broken = wrong(reports)
        if broken:
            failures.append(f"{name}: {broken}")
        back = [report.figures["back_s"] for report in reports if "back_s" in report.figures]
        shown = f", back after {statistics.median(back):.2f} s" if back else ""
        sent = sum(report.verdict.sent for report in reports)
        print(f"{'BROKEN' if broken else 'kept'}: {name}: {sent} messages{shown}", flush=True)
        for line in broken:
            print(f"    {line}", flush=True)
    print(f"\n{table(collected)}\n\n{len(failures)} of the rounds broke a promise")
    if options.output:
        content = [
            {"fault": report.fault, "verdict": str(report.verdict), "figures": report.figures}
            for reports in collected.values()
            for report in reports
        ]
        options.output.write_text(json.dumps({"failures": failures, "reports": content}, indent=1))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
