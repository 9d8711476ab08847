"""Puts a run into ``docs/performance.md``: plots as SVG files, figures between two markers."""

from __future__ import annotations

from pathlib import Path

from .budget import check
from .plots import bars
from .report import cell, ranked, ratio
from .results import Results
from .scenarios import METRICS, SCENARIOS
from .servers import SERVERS
from .words import TIMES, number

__all__ = ["renew"]

BEGIN = "<!-- figures: written by scripts/bench --docs -->\n"
END = "<!-- end of figures -->\n"

#: Beside the plot, what a table shows.
COLUMNS = (
    "rate",
    "p50",
    "p99",
    "cpu",
    "last",
    "rss",
    "pss",
    "grows",
    "accepts",
    "serves",
    "gateway",
    "call",
    "caller",
    "shared",
    "own",
)


def renew(results: Results, docs: Path) -> None:
    """Write the plots to ``images/`` and the tables into ``performance.md``."""
    images = docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    for key in results.figures:
        (images / f"bench-{key}.svg").write_text(bars(results, key, SCENARIOS[key].main) + "\n")
    path = docs / "performance.md"
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(before + BEGIN + figures(results) + END + after)


def figures(results: Results) -> str:
    """Plots, tables and the budget, as Markdown."""
    machine = "; ".join(f"{key} {value}" for key, value in results.machine.items())
    parts = [
        f"Measured {results.started}, {results.seconds:g} s a measurement. Medians of"
        f" all rounds; brackets and whiskers show the least and the greatest. {machine}.",
    ]
    for key, scenario in SCENARIOS.items():
        if results.figures.get(key):
            parts.append(f"### {scenario.title}")
            parts.append(f"![{scenario.title}](images/bench-{key}.svg)")
            parts.append(_table(results, key))
    promises = list(check(results))
    if promises:
        rows = ["| what was aimed at | measured | aim | |", "|---|---:|---:|---|"]
        for line in promises:
            sign = "at least" if line.at_least else "at most"
            state = "reached" if line.kept else "**missed**"
            rows.append(
                f"| {line.text} | {number(line.value)}{line.unit} |"
                f" {sign} {line.bound:g}{line.unit} | {state} |"
            )
        parts += ["### Against the aims", "\n".join(rows)]
    return "\n\n".join(["", *parts, ""])


def _table(results: Results, key: str) -> str:
    servers = ranked(results, key)
    metrics = [m for m in COLUMNS if any(results.median(key, name, m) for name in servers)]
    main = SCENARIOS[key].main
    heads = [f"{METRICS[m].label}, {METRICS[m].unit}" for m in metrics]
    rows = [
        "| | " + " | ".join([*heads, f"{TIMES} better"]) + " |",
        "|---|" + "---:|" * (len(metrics) + 1),
    ]
    for name in servers:
        cells = [SERVERS[name].label]
        for metric in metrics:
            spread = results.spread(key, name, metric)
            cells.append(cell(spread) if spread else "")
        better = ratio(results, key, name, main)
        cells.append(number(better) if better else "")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)
