"""Where the CPU of a message goes: by thread, with context switches, and by line (py-spy).

Run as ``scripts/bench profile echo-100 django-ws-pool [seconds]``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import psutil

from .client import Swarm
from .loops import closed_loop, fan_out, handshakes
from .processes import Tree
from .scenarios import SCENARIOS
from .servers import site

__all__ = ["main"]

TICK = 1 / os.sysconf("SC_CLK_TCK")

#: Threads of a process that are shown one by one.
SHOWN = 4


@dataclass
class Used:
    """What a thread has used so far."""

    user: float
    system: float
    switches: int


def threads(trees: Sequence[Tree]) -> dict[tuple[str, str], Used]:
    """By process and thread."""
    used = {}
    for process in chain.from_iterable(tree.processes() for tree in trees):
        command = " ".join(process.cmdline())
        role = "gateway" if "django_ws.gateway" in command else "process"
        role = f"{role} {process.pid}"
        if any("DJANGO_WS_ROLE=worker" in v for v in _environment(process)):
            role = f"worker {process.pid}"
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
            name = (task / "comm").read_text().strip()
            if task.name == str(process.pid):
                name = "main thread"
            switches = 0
            for line in (task / "status").read_text().splitlines():
                if line.startswith("voluntary"):
                    switches = int(line.split()[1])
            used[role, f"{name} {task.name}"] = Used(
                int(fields[11]) * TICK, int(fields[12]) * TICK, switches
            )
    return used


def _environment(process: psutil.Process) -> list[str]:
    return Path(f"/proc/{process.pid}/environ").read_text(errors="replace").split("\0")


def show_threads(
    before: dict[tuple[str, str], Used], after: dict[tuple[str, str], Used], count: int
) -> None:
    """Print CPU per message, and messages for each time that a thread went to sleep."""
    rows: dict[str, list[tuple[float, float, int, str]]] = {}
    for (role, name), now in after.items():
        then = before.get((role, name), Used(0.0, 0.0, 0))
        row = now.user - then.user, now.system - then.system, now.switches - then.switches, name
        rows.setdefault(role, []).append(row)
    print(f"  {'user':>7} {'system':>7} {'messages':>9}   (µs of CPU a message; messages a sleep)")
    for role, found in rows.items():
        found.sort(key=lambda row: -(row[0] + row[1]))
        rest = found[SHOWN:]
        if rest:
            total = sum(r[0] for r in rest), sum(r[1] for r in rest), sum(r[2] for r in rest)
            found = [*found[:SHOWN], (*total, f"{len(rest)} other threads")]
        for user, system, switches, name in found:
            if user + system > 0:
                a_sleep = count / switches if switches else float("inf")
                print(
                    f"  {user / count * 1e6:7.2f} {system / count * 1e6:7.2f} {a_sleep:9.1f}"
                    f"   {role}, {name}"
                )


def spy(process: psutil.Process, seconds: float, output: Path) -> subprocess.Popen[bytes]:
    """Sample a process, by line."""
    binary = Path(sys.executable).with_name("py-spy")
    command = [str(binary), "record", "--pid", str(process.pid), "--duration", str(int(seconds))]
    command += ["--rate", "250", "--format", "raw", "--output", str(output), "--nonblocking"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def show_stacks(stacks: Path, most: int = 25) -> None:
    """Print what py-spy saw: functions by own time and with what they call, and single lines."""
    own: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    total = 0
    for line in stacks.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        total += int(count)
        own[frames[-1].rsplit(":", 1)[0]] += int(count)
        lines[frames[-1]] += int(count)
        for name in {frame.rsplit(":", 1)[0] for frame in frames}:
            whole[name] += int(count)
    print(f"   {'own':>6} {'whole':>6}  function   ({total} samples)")
    for name, count in own.most_common(most):
        print(f"   {count / total:6.1%} {whole[name] / total:6.1%}  {name}")
    print(f"   {'own':>6}  line")
    for name, count in lines.most_common(most):
        print(f"   {count / total:6.1%}  {name}")


def load(scenario: str, swarm: Swarm) -> Callable[[float], int]:
    """What puts the load of a scenario on the server, and returns how often."""
    chosen = SCENARIOS[scenario]
    if scenario == "handshake":
        return lambda seconds: len(handshakes(swarm, max(50, int(seconds * 500)), 20))
    peers = swarm.open(chosen.connections)
    if scenario.startswith("fan"):
        return lambda seconds: len(fan_out(swarm, peers, seconds)[0])
    return lambda seconds: len(closed_loop(swarm, peers, seconds))


def main(scenario: str, name: str, seconds: float = 4.0) -> None:
    """Drive a scenario twice: without py-spy for the threads, then with it."""
    chosen = SCENARIOS[scenario]
    with site() as prepared, prepared.run(name, chosen.environment) as up:
        swarm = Swarm(up.ports, up.dialect(chosen.handler))
        drive = load(scenario, swarm)
        drive(1.0)
        before = threads(up.trees)
        count = drive(seconds)
        show_threads(before, threads(up.trees), count)
        processes = chain.from_iterable(tree.processes() for tree in up.trees)
        busiest = sorted(processes, key=lambda p: -sum(p.cpu_times()[:2]))[:2]
        outputs = [prepared.directory / f"spy-{process.pid}" for process in busiest]
        spies = [spy(p, seconds, out) for p, out in zip(busiest, outputs, strict=True)]
        while any(process.poll() is None for process in spies):
            drive(0.5)
        for process, output in zip(busiest, outputs, strict=True):
            print("\n" + " ".join(process.cmdline()[1:])[-80:])
            show_stacks(output)
        swarm.close()
