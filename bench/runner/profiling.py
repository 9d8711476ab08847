"""Where the CPU of a message goes: threads of each process, and lines by py-spy.

scripts/bench profile echo-100 django-ws-pool [seconds]
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil

from .client import Swarm
from .loops import closed_loop
from .processes import Tree
from .scenarios import SCENARIOS
from .servers import site

TICKS = os.sysconf("SC_CLK_TCK")


def threads(tree: Tree) -> dict[tuple[int, str, str], float]:
    """CPU seconds by process, its command line and thread."""
    times = {}
    for process in tree.processes():
        command = " ".join(process.cmdline()[1:])[-60:]
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
            name = (task / "comm").read_text().strip() + f" {task.name}"
            user, system = int(fields[11]) / TICKS, int(fields[12]) / TICKS
            times[process.pid, command, name + " user"] = user
            times[process.pid, command, name + " system"] = system
    return times


def spy(process: psutil.Process, seconds: float, output: Path) -> subprocess.Popen[bytes]:
    """Sample a process, by line."""
    binary = Path(sys.executable).with_name("py-spy")
    command = [str(binary), "record", "--pid", str(process.pid), "--duration", str(int(seconds))]
    command += ["--rate", "250", "--format", "raw", "--output", str(output), "--nonblocking"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def report(stacks: Path, most: int = 28) -> None:
    """Print what py-spy saw: functions by own time, with what they call, and single lines."""
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


def main(scenario: str, name: str, seconds: float = 5.0) -> None:
    """Run one echo-like scenario twice: by threads without py-spy, then with it."""
    chosen = SCENARIOS[scenario]
    with site() as prepared, prepared.run(name, chosen.environment) as up:
        swarm = Swarm(up.port, up.dialect(chosen.handler))
        peers = swarm.open(chosen.connections)
        closed_loop(swarm, peers, 1.0)
        tree = up.trees[0]
        before = threads(tree)
        count = len(closed_loop(swarm, peers, seconds))
        after = threads(tree)
        print(f"{count / seconds:,.0f} messages/s; µs of CPU per message:")
        for key, value in sorted(after.items()):
            used = (value - before.get(key, 0.0)) / count * 1e6
            if used > 0.05:
                print(f"   {used:6.2f}  {key[1]}  {key[2]}")
        busiest = sorted(tree.processes(), key=lambda p: -sum(p.cpu_times()[:2]))[:2]
        outputs = [prepared.directory / f"spy-{process.pid}" for process in busiest]
        spies = [spy(p, seconds, out) for p, out in zip(busiest, outputs, strict=True)]
        load = threading.Event()
        while any(process.poll() is None for process in spies) and not load.is_set():
            closed_loop(swarm, peers, 0.5)
        for process, output in zip(busiest, outputs, strict=True):
            print("\n" + " ".join(process.cmdline()[1:])[-80:])
            report(output)
        swarm.close()
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(float(value) for value in sys.argv[3:]))
