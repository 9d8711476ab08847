"""A run as one HTML page with plots and all figures; needs nothing else."""

from __future__ import annotations

from html import escape

from .budget import check
from .plots import bars
from .report import ranked, span
from .results import Results
from .scenarios import METRICS, SCENARIOS
from .servers import SERVERS
from .words import number

__all__ = ["page"]

STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#667080;--line:#dfe3e8;--back:#fff}
@media(prefers-color-scheme:dark){
:root{--ink:#e8ebef;--soft:#98a2b0;--line:#333b46;--back:#14181d}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);
max-width:980px;margin:2rem auto;padding:0 1rem}
h2{margin-top:2.6rem}p,dl{color:var(--soft)}table{border-collapse:collapse;font-size:13px}
td,th{padding:.2rem .7rem;border-bottom:1px solid var(--line);text-align:right}
td:first-child,th:first-child{text-align:left;padding-left:0}
.table{overflow-x:auto}svg{max-width:100%;height:auto;margin-top:3rem;display:block}.missed{color:#c0392b}
"""


def page(results: Results) -> str:
    """The whole document."""
    machine = "; ".join(f"{key} {value}" for key, value in results.machine.items())
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width,initial-scale=1'>",
        f"<title>django-ws: benchmarks</title><style>{STYLE}</style>",
        "<h1>django-ws: benchmarks</h1>",
        f"<p>{escape(results.started)}; {results.seconds:g} s a measurement. Medians; the whiskers"
        " and brackets show least and greatest; factors in brackets are against the first Channels"
        f" server of a scenario, more is better.<br>{escape(machine)}</p>",
        _budget(results),
    ]
    for key, scenario in SCENARIOS.items():
        if not results.figures.get(key):
            continue
        parts.append(bars(results, key, scenario.main))
        parts.append(_table(results, key))
    if results.failures:
        parts.append("<h2>Not measured</h2><ul>")
        parts += [
            f"<li>{escape(what)} at {escape(name)}: {escape(why.splitlines()[0])}"
            for what, name, why in results.failures
        ]
        parts.append("</ul>")
    return "\n".join(parts) + "\n</html>\n"


def _table(results: Results, key: str) -> str:
    servers = ranked(results, key)
    metrics = [m for m in METRICS if any(results.median(key, name, m) for name in servers)]
    cells = "".join(f"<th>{METRICS[m].label}<br>{METRICS[m].unit}" for m in metrics)
    rows = [f"<tr><th>{cells}"]
    for name in servers:
        row = f"<tr><td>{escape(SERVERS[name].label)}"
        for metric in metrics:
            spread = results.spread(key, name, metric)
            row += "<td>"
            if spread:
                row += number(spread.median)
                if spread.low != spread.high:
                    row += f" ({span(spread)})"
        rows.append(row)
    return f"<div class=table><table>{''.join(rows)}</table></div>"


def _budget(results: Results) -> str:
    rows = []
    for line in check(results):
        sign = "≥" if line.at_least else "≤"
        state = "kept" if line.kept else "<span class=missed>missed</span>"
        rows.append(
            f"<tr><td>{escape(line.text)}<td>{number(line.value)}{line.unit}"
            f"<td>{sign} {line.bound:g}{line.unit}<td>{state}"
        )
    if not rows:
        return ""
    head = "<tr><th>budget<th>measured<th>wanted<th>"
    return f"<div class=table><table>{head}{''.join(rows)}</table></div>"
