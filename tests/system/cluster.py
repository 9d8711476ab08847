"""Several "machines" (supervisors with directories of their own) around one Valkey, and a load.

Members are browsers that come back: each notes what it hears of a group, and when its connection is
cut it connects again from where it was. Publishers number what they publish, and note where it got.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from ..valkey import Valkey
from .load import soon
from .server import Project, Server

__all__ = ["GROUPS", "Cluster", "Member", "Publisher", "Segment"]

GROUPS = {
    "room*": {"history_size": 2000, "history_ttl": 60, "presence": True, "join_leave": False},
    "loud*": {"presence": True, "join_leave": True},
}

SETTINGS = {
    "PROJECT": "cluster",
    "GROUPS": GROUPS,
    "ENGINE_TIMEOUT": 1,
    "PING_INTERVAL": 1,
    "PING_TIMEOUT": 1,
}


class Cluster:
    """See the module.

    Args:
        directory: where the machines' directories are made.
        flags: of each server.
    """

    def __init__(
        self, directory: Path, valkey: Valkey, *, machines: int = 3, flags: tuple[str, ...] = ()
    ) -> None:
        self.valkey = valkey
        self.projects: list[Project] = []
        self.servers: list[Server] = []
        for number in range(machines):
            project = Project(
                directory / f"machine{number}",
                DJANGO_WS={**SETTINGS, "ENGINE": valkey.url},
                DEFAULT_WS_HANDLERS={"member": "cluster.Member"},
            )
            self.projects.append(project)
            self.servers.append(Server(project, *flags))

    def stop(self) -> None:
        """End all of them in good order."""
        for server in self.servers:
            server.stop()

    def remove(self) -> None:
        """Kill what still runs."""
        for project in self.projects:
            project.remove()

    def url(self, machine: int, **query: str) -> str:
        """Of the namespace ``member``."""
        pairs = "&".join(f"{name}={value}" for name, value in query.items())
        return f"{self.servers[machine].url}member?{pairs}"

    def run(self, machine: int, code: str) -> Any:
        """What Django code on a machine prints, as JSON, in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-c", f"import django; django.setup()\n{code}"],
            cwd=self.projects[machine].directory,
            env=environment(),
            capture_output=True,
            timeout=30,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def environment() -> dict[str, str]:
    """Of processes beside the servers."""
    path = os.pathsep.join(path for path in sys.path if path)
    return {**os.environ, "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": path}


class Publisher:
    """A process beside a server that publishes numbers, and waits for each.

    Attributes:
        said: of each number where it got: offset and epoch, or the error's name and words; and how
            many seconds that took.
    """

    def __init__(self, cluster: Cluster, machine: int, name: str, group: str, rate: float) -> None:
        self.name = name
        directory = cluster.projects[machine].directory
        self._output = directory / f"published-{name}"
        with self._output.open("w") as output, (directory / f"errors-{name}").open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "cluster.py", name, group, str(rate)],
                cwd=directory,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=errors,
            )

    @property
    def said(self) -> list[list[Any]]:
        lines = self._output.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def stop(self) -> None:
        """Publish no more."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(20) == 0

    def kill(self) -> None:
        """End it, whatever it does."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()


@dataclass
class Segment:
    """What a member heard in one piece: it may begin anew only where the epoch does.

    Attributes:
        start: offset before the first message.
        heard: the messages, in order; the offset of each is one more than of the one before.
    """

    start: int
    epoch: str
    heard: list[str] = field(default_factory=list)

    @property
    def offset(self) -> int:
        """How far it has come."""
        return self.start + len(self.heard)


class Member:
    """A browser. Runs until it is stopped.

    It counts offsets by itself, so it has to join before anything is published.

    Attributes:
        segments: what it heard.
        cuts: how often its connection broke.
        gaps: how often it heard, when it came back, that there is another memory.
    """

    def __init__(self, cluster: Cluster, machine: int, who: str, group: str) -> None:
        self._cluster = cluster
        self.machine = machine
        self.who = who
        self._group = group
        self.segments: list[Segment] = []
        self.cuts = self.gaps = 0
        self.socket: ClientConnection | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def now(self) -> Segment:
        """What it hears now."""
        return self.segments[-1]

    async def joined(self) -> None:
        """Wait until it hears."""
        await soon(lambda: self.segments and self.socket is not None, 20)

    async def stop(self) -> None:
        """Close the connection."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            query = {"group": self._group, "who": self.who}
            if self.segments:
                query["since"] = json.dumps([self.now.offset, self.now.epoch]).replace(" ", "")
                query["since"] = query["since"].replace('"', "%22")
            try:
                async with connect(
                    self._cluster.url(self.machine, **query),
                    compression=None,
                    proxy=None,
                    open_timeout=5,
                    max_queue=None,
                ) as socket:
                    await self._listen(socket)
            except (OSError, InvalidHandshake, TimeoutError, WebSocketException):
                pass
            self.socket = None
            self.cuts += bool(self.segments)
            await asyncio.sleep(0.05)

    async def _listen(self, socket: ClientConnection) -> None:
        # What it has missed comes before it hears where it is.
        missed: list[str] = []
        async for message in socket:
            assert isinstance(message, str)
            if message.startswith("{"):
                break
            missed.append(message)
        else:
            return
        offset, epoch = json.loads(message)["position"]
        if self.segments and self.now.epoch == epoch:
            self.now.heard += missed
            # What is published since may be faster than the handler's word.
            assert self.now.offset >= offset, (self.who, self.now.offset, offset)
        else:
            self.gaps += bool(self.segments)
            self.segments.append(Segment(offset, epoch))
        self.socket = socket
        async for message in socket:
            self.now.heard.append(str(message))


@contextlib.contextmanager
def publishing(cluster: Cluster, group: str, rate: float = 50.0) -> Iterator[list[Publisher]]:
    """A publisher on each machine."""
    publishers = [
        Publisher(cluster, number, f"p{number}", group, rate)
        for number in range(len(cluster.servers))
    ]
    try:
        yield publishers
        for each in publishers:
            each.stop()
    finally:
        for each in publishers:
            each.kill()


def ready(server: Server) -> int:
    """The status of ``/-/ready``."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request("GET", "/-/ready")
        return connection.getresponse().status
    finally:
        connection.close()


async def progress(members: list[Member], messages: int = 5, seconds: float = 20.0) -> None:
    """Wait until each has heard so many more."""
    began = time.monotonic()

    def heard(member: Member) -> int:
        return sum(len(segment.heard) for segment in member.segments)

    before = [heard(member) for member in members]
    await soon(
        lambda: all(heard(m) >= b + messages for m, b in zip(members, before, strict=True)),
        seconds,
        lambda: f"{time.monotonic() - began:.1f} s: {[heard(m) for m in members]} from {before}",
    )
