"""Browsers with ``django-ws.v1`` that are members of a group at a cluster, and always come back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random

from .cluster import Cluster
from .load import soon
from .told import Event
from .v1 import V1Client

__all__ = ["Page"]

#: Messages of each in a second.
RATE = 5.0


class Page:
    """A browser with ``django-ws.v1`` that always comes back, and says numbers.

    Every other one is published with ``wait=True``.

    Attributes:
        events: what it heard of the group.
        said: where those got that were waited for, as :class:`.cluster.Publisher` has it.
        cuts: how often its connection ended.
    """

    def __init__(self, cluster: Cluster, machine: int, who: str, group: str) -> None:
        self._cluster = cluster
        self.machine = machine
        self.who = who
        self.events: list[Event] = []
        self.said: list[list[object]] = []
        self.cuts = 0
        self.talks = True
        self._client = V1Client("", f"/socket/member?group={group}&who={who}", self._note)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._stay()), loop.create_task(self._talk())]

    @property
    def here(self) -> bool:
        """Whether it is connected, and has heard where it is."""
        return self._client.welcomed and bool(self.events)

    def cut(self) -> None:
        """Its network breaks."""
        self._client.cut()

    async def stop(self) -> None:
        """Leave."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._client.cut()

    def _note(self, kind: str, rest: list[object]) -> None:
        if kind == "m":
            said = json.loads(str(rest[0]))
            if isinstance(said, list):
                self.said.append(said)
        elif kind in ("g", "h", "j"):
            _, offset, epoch, *more = rest
            assert isinstance(offset, int)
            text = None if kind == "j" else str(more[-1])
            recovered = kind != "j" or more[0] is True
            self.events.append(Event(offset, str(epoch), text, recovered))

    async def _stay(self) -> None:
        while True:
            self._client.host = f"127.0.0.1:{self._cluster.servers[self.machine].port}"
            with contextlib.suppress(OSError, AssertionError):
                socket = await self._client.connect()

                def settled(transport: asyncio.Transport = socket.transport) -> bool:
                    return self._client.welcomed or transport.is_closing()

                try:
                    await soon(settled, 5)
                    await soon(lambda: not self._client.welcomed, 1e9)
                finally:
                    socket.transport.abort()
                    self._client.cut()
            self.cuts += 1
            await asyncio.sleep(random.uniform(0.02, 0.2))

    async def _talk(self) -> None:
        for number in itertools.count(1):
            await asyncio.sleep(random.uniform(0.5, 1.5) / RATE)
            if self._client.welcomed and self.talks:
                text = f"{self.who}-{number}"
                self._client.send(text if number % 2 else f"confirm {text}")
