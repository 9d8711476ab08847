"""A run as text, for the terminal and for documents."""

from __future__ import annotations

from .budget import check
from .results import Results, Spread
from .scenarios import METRICS, SCENARIOS
from .servers import SERVERS
from .words import DASH, TIMES, number

__all__ = ["cell", "ranked", "ratio", "span", "text"]


def ratio(results: Results, scenario: str, server: str, metric: str) -> float | None:
    """How many times better than the baseline; below 1 it is worse."""
    base = results.median(scenario, results.baseline(scenario), metric)
    own = results.median(scenario, server, metric)
    if not base or not own:
        return None
    return own / base if METRICS[metric].more_is_better else base / own


def ranked(results: Results, scenario: str) -> list[str]:
    """The servers of a scenario in the order of the table in ``servers.py``."""
    return [name for name in SERVERS if name in results.figures.get(scenario, {})]


def span(spread: Spread) -> str:
    """From the least to the greatest."""
    return f"{number(spread.low)}{DASH}{number(spread.high)}"


def cell(spread: Spread) -> str:
    """The median, and in brackets how far it went."""
    if spread.low == spread.high:
        return number(spread.median)
    return f"{number(spread.median)} ({span(spread)})"


def text(results: Results) -> str:
    """Tables of all scenarios, with medians and, in brackets, least and greatest."""
    lines = []
    for key, scenario in SCENARIOS.items():
        servers = ranked(results, key)
        if not servers:
            continue
        metrics = [m for m in METRICS if results.median(key, servers[0], m) is not None]
        base = results.baseline(key)
        lines += ["", f"{scenario.title}"]
        rows = [["", *(f"{METRICS[m].label} [{METRICS[m].unit}]" for m in metrics)]]
        if base:
            rows[0].append(f"{TIMES} better ({METRICS[scenario.main].label})")
        for name in servers:
            row = [SERVERS[name].label]
            for metric in metrics:
                spread = results.spread(key, name, metric)
                row.append(cell(spread) if spread else "")
            if base:
                better = ratio(results, key, name, scenario.main)
                row.append(number(better) if better else "")
            rows.append(row)
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            first, *others = zip(row, widths, strict=True)
            cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
            lines.append("  " + "  ".join(cells).rstrip())
    lines += _budget(results)
    lines += [f"FAILED  {what} at {name}: {why}" for what, name, why in results.failures]
    return "\n".join(lines)


def _budget(results: Results) -> list[str]:
    promises = list(check(results))
    if not promises:
        return []
    lines = ["", "Budget"]
    for line in promises:
        mark = "kept  " if line.kept else "MISSED"
        sign = "≥" if line.at_least else "≤"
        wanted = f"{sign} {line.bound:g}{line.unit}"
        lines.append(f"  {mark}  {line.text}: {number(line.value)}{line.unit} (wanted {wanted})")
    return lines
