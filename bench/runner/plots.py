"""Bars as SVG, without a library: one drawing per scenario, in light and dark."""

from __future__ import annotations

import statistics
from html import escape

from .report import ranked, ratio
from .results import Results
from .scenarios import METRICS, SCENARIOS
from .servers import SERVERS
from .words import TIMES, number

__all__ = ["bars"]

WIDTH = 760
LABELS = 300
VALUES = 150
ROW = 26
TOP = 46

#: Times the middle value from which on a bar is cut.
FAR = 20

# Text is drawn in the colours of the page's surroundings; a file on its own asks the browser.
STYLE = """
svg{font:13px system-ui,sans-serif}
.ink{fill:#1b1f24}.soft{fill:#667080}.axis{stroke:#c8ced6}.whisker{stroke:#1b1f24}.gap{fill:#fff}
.ours{fill:#0b7a53}.channels{fill:#b3541e}.other{fill:#5b6b8c}.bound{fill:#a9b1bc}
@media(prefers-color-scheme:dark){
.ink{fill:#e8ebef}.soft{fill:#98a2b0}.axis{stroke:#3d4652}.whisker{stroke:#e8ebef}.gap{fill:#14181d}
.ours{fill:#34b98a}.channels{fill:#e08a52}.other{fill:#8c9dc4}.bound{fill:#5a6472}}
"""


def _scale(values: list[float]) -> float:
    """What the longest bar stands for. One value far from all others is cut off, not the rest."""
    middle = statistics.median(values)
    return max((value for value in values if value <= FAR * middle), default=1.0) or 1.0


def bars(results: Results, key: str, metric: str) -> str:
    """Draw one metric of one scenario: medians, with least and greatest as whiskers."""
    scenario = SCENARIOS[key]
    names = [name for name in ranked(results, key) if results.spread(key, name, metric)]
    spreads = {name: results.spread(key, name, metric) for name in names}
    top = _scale([spread.high for spread in spreads.values() if spread])
    room = WIDTH - LABELS - VALUES
    height = TOP + ROW * len(names) + 8
    meaning = METRICS[metric]
    better = "more is better" if meaning.more_is_better else "less is better"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
        f' height="{height}" role="img" aria-label="{escape(scenario.title)}">',
        f"<style>{STYLE}</style>",
        f'<text class="ink" x="0" y="16" font-weight="600">{escape(scenario.title)}</text>',
        f'<text class="soft" x="0" y="34">{escape(meaning.label)}, {escape(meaning.unit)};'
        f" {better}</text>",
        f'<line class="axis" x1="{LABELS}" x2="{LABELS}" y1="{TOP - 4}" y2="{height - 4}"/>',
    ]
    for index, name in enumerate(names):
        spread = spreads[name]
        assert spread is not None
        y = TOP + index * ROW
        middle = y + ROW / 2 - 2
        length = max(1.0, min(1.0, spread.median / top) * room)
        low, high = (LABELS + min(1.0, value / top) * room for value in (spread.low, spread.high))
        times = ratio(results, key, name, metric)
        against = f"  ({number(times)}{TIMES})" if times and name != results.baseline(key) else ""
        parts += [
            f'<text class="ink" x="{LABELS - 8}" y="{middle + 4}" text-anchor="end">'
            f"{escape(SERVERS[name].label)}</text>",
            f'<rect class="{SERVERS[name].family}" x="{LABELS}" y="{y}" width="{length:.1f}"'
            f' height="{ROW - 6}" rx="2"/>',
            f'<text class="ink" x="{max(LABELS + length, high) + 8:.1f}" y="{middle + 4}">'
            f'{number(spread.median)}<tspan class="soft">{against}</tspan></text>',
        ]
        if spread.median > top:
            edge = LABELS + length - 26
            points = f"{edge},{y + 22} {edge + 8},{y - 2} {edge + 14},{y - 2} {edge + 6},{y + 22}"
            parts.append(f'<polygon class="gap" points="{points}"/>')
        elif high - low > 1:
            parts.append(
                f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}"'
                f' y2="{middle}"/>'
            )
    return "\n".join([*parts, "</svg>"])
