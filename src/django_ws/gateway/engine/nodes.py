"""The nodes of a cluster: which of them has what, and what to do when that changes.

Each primary has a link of its own. Who has which slots is asked anew whenever something says that
it may have changed: a refusal (``MOVED``), a channel that is taken away, a connection that breaks.

https://valkey.io/topics/cluster-spec/
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, cast

from ...store.calls import Call
from ...store.names import BUCKETS
from ...store.urls import Server
from .base import Failure
from .dialing import Probes, open_wire
from .link import Link, Links
from .operations import AWAY, Operation
from .resp import Error, Value
from .wire import Wire

__all__ = ["Nodes", "slot"]

Address = tuple[str, int]

#: Seconds to ask one node, between two rounds of asking, and for a slot that is just being moved.
ASK_TIMEOUT = 1.0
PAUSE = 0.1
LONGEST_PAUSE = 1.0

#: Operations that wait for a node to be known. Policy: the newest is refused.
MAX_HOMELESS = 10_000


def slot(tag: bytes) -> int:
    """The hash slot of a hash tag: CRC-16/XMODEM, as the specification of clusters says."""
    crc = 0
    for byte in tag:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc % 16384


SLOTS = [slot(b"%d" % bucket) for bucket in range(BUCKETS)]


class Owner(Links, Protocol):
    """Hears of everything."""

    def gained(self, buckets: frozenset[int]) -> None:
        """These are at another server that is connected; what came meanwhile may be missing."""


class Nodes:
    """See the module; the same interface as :class:`.servers.Servers`.

    Args:
        server: some nodes.
        owner: hears what connections tell.
        probes: see :func:`.dialing.open_wire`.
    """

    def __init__(
        self,
        server: Server,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        probes: Probes = (),
    ) -> None:
        self._server = server
        self._probes = probes
        self._owner = owner
        self._loop = loop
        self._links: dict[Address, Link] = {}
        self._owners: list[Address | None] = [None] * BUCKETS
        self._channels: list[dict[bytes, None]] = [{} for _ in range(BUCKETS)]
        self._homeless: list[Operation] = []
        self._closed = False
        self._outdated = asyncio.Event()
        self._outdated.set()
        self._task = loop.create_task(self._run())

    # ------------------------------------------------------------------ for the engine

    def call(self, call: Call[Any], done: Callable[[Any], None]) -> None:
        """See :meth:`.Link.call`."""
        link = self._link(call.bucket)
        if link is not None:
            link.call(call, done)
        else:
            self._keep(Operation(call, done, self._loop.time()))

    def subscribe(self, bucket: int, channel: bytes) -> None:
        """See :meth:`.Link.subscribe`."""
        self._channels[bucket][channel] = None
        link = self._link(bucket)
        if link is not None:
            link.subscribe(channel)

    def unsubscribe(self, bucket: int, channel: bytes) -> None:
        """See :meth:`.Link.unsubscribe`."""
        self._channels[bucket].pop(channel, None)
        link = self._link(bucket)
        if link is not None:
            link.unsubscribe(channel)

    def when_subscribed(self, bucket: int, channel: bytes, done: Callable[[], None]) -> None:
        """See :meth:`.Link.when_subscribed`."""
        link = self._link(bucket)
        if link is not None:
            link.when_subscribed(channel, done)
        else:
            done()  # as at a link that is down, nobody knows when

    def has(self, link: Link, bucket: int) -> bool:
        """Whether a bucket is at the server of a link."""
        return self._link(bucket) is link

    def there(self, bucket: int) -> bool:
        """Whether what is said of a bucket leaves at once."""
        link = self._link(bucket)
        return link is not None and link.connected

    def hopeless(self, bucket: int) -> bool:
        """See :attr:`.Link.hopeless`."""
        link = self._link(bucket)
        return link is not None and link.hopeless

    @property
    def all_up(self) -> bool:
        """Whether everything can be said."""
        return None not in self._owners and all(link.connected for link in self._links.values())

    @property
    def idle(self) -> bool:
        """Whether nothing waits for an answer."""
        return not self._homeless and all(link.idle for link in self._links.values())

    @property
    def load(self) -> float:
        """See :attr:`.Link.load`; of the fullest one."""
        return max((link.load for link in self._links.values()), default=0.0)

    def close(self) -> None:
        """Close all connections."""
        self._closed = True
        self._task.cancel()
        for link in self._links.values():
            link.close()

    def _link(self, bucket: int) -> Link | None:
        address = self._owners[bucket]
        return None if address is None else self._links.get(address)

    # ------------------------------------------------------------------ who has what

    async def _run(self) -> None:
        pause = PAUSE
        while True:
            await self._outdated.wait()
            self._outdated.clear()
            owners = await self._ask_around()
            if owners is not None:
                self._adopt(owners)
            self._give_up_late()
            complete = None not in self._owners and not self._homeless
            pause = PAUSE if complete else min(2 * pause, LONGEST_PAUSE)
            if not complete:
                self._outdated.set()
            await asyncio.sleep(pause)

    async def _ask_around(self) -> list[Address | None] | None:
        """By bucket, who has it; ``None`` if no node says so."""
        trouble: Exception = ConnectionError("no node of the cluster")
        for address in dict.fromkeys((*self._links, *self._server.addresses)):
            try:
                async with asyncio.timeout(ASK_TIMEOUT):
                    return await self._ask_node(address)
            except TimeoutError:
                trouble = ConnectionError(f"{address[0]}:{address[1]} does not answer")
            except (OSError, Error, ValueError, TypeError) as error:  # whatever it says
                trouble = error
        if not self._links:
            self._owner.down(None, str(trouble))
        return None

    async def _ask_node(self, address: Address) -> list[Address | None]:
        def make() -> Wire:
            return Wire(self._loop, lambda pushed: None, lambda: None)

        wire = await open_wire(self._server, address, make, any_role=True)
        try:
            found = cast("list[list[Any]]", await wire.ask("CLUSTER", "SLOTS"))
        finally:
            wire.abort("answered")
        owners: list[Address | None] = [None] * BUCKETS
        for first, last, (host, port, *_), *_ in found:
            # An empty host is that of the node that was asked.
            node = (host.decode() if host else address[0], int(port))
            for bucket, number in enumerate(SLOTS):
                if first <= number <= last:
                    owners[bucket] = node
        return owners

    def _adopt(self, owners: list[Address | None]) -> None:
        """Go by this from now on."""
        before, self._owners = self._owners, owners
        for address in sorted({each for each in owners if each is not None} - set(self._links)):
            dial = partial(open_wire, self._server, address, probes=self._probes)
            self._links[address] = Link(dial, self, self._loop)
        moved = [bucket for bucket in range(BUCKETS) if before[bucket] != owners[bucket]]
        for bucket in moved:
            self._move(bucket, before[bucket])
        homeless, self._homeless = self._homeless, []
        for operation in homeless:
            self._place(operation)
        for address in set(self._links) - set(owners):
            self._links.pop(address).close()
        # With a node that is not connected yet they come up later.
        here = [bucket for bucket in moved if (link := self._link(bucket)) and link.connected]
        if here:
            self._owner.gained(frozenset(here))

    def _move(self, bucket: int, before: Address | None) -> None:
        """Take along what belongs to a bucket."""
        old = None if before is None else self._links.get(before)
        new = self._link(bucket)
        for channel in self._channels[bucket]:
            if old is not None:
                old.forget(channel)
            if new is not None:
                new.subscribe(channel)
        if old is not None:
            self._homeless += old.give_back(bucket)

    def _place(self, operation: Operation) -> None:
        link = self._link(operation.call.bucket)
        if link is not None:
            link.take(operation)
        else:
            self._keep(operation)

    def _keep(self, operation: Operation) -> None:
        if self._closed or len(self._homeless) >= MAX_HOMELESS:
            operation.done(AWAY)
        else:
            self._homeless.append(operation)
            self._outdated.set()

    def _give_up_late(self) -> None:
        now = self._loop.time()
        late = [each for each in self._homeless if each.late(now)]
        self._homeless = [each for each in self._homeless if not each.late(now)]
        for operation in late:
            operation.done(AWAY)

    # ------------------------------------------------------------------ of links

    def up(self, link: Link) -> None:
        """See :class:`.link.Links`."""
        self._owner.up(link)

    def down(self, link: Link | None, reason: str) -> None:
        """See :class:`.link.Links`."""
        self._outdated.set()
        if link in self._links.values():
            self._owner.down(link, reason)

    def pushed(self, link: Link, message: list[Value]) -> None:
        """See :class:`.link.Links`."""
        if message and message[0] == b"sunsubscribe":  # another node has it now
            link.taken_away(cast("bytes", message[1]))
            self._outdated.set()
        else:
            self._owner.pushed(link, message)

    def read(self) -> None:
        """See :class:`.link.Links`."""
        self._owner.read()

    def moved(self, link: Link, operation: Operation | None, words: str) -> None:
        """See :class:`.link.Owner`."""
        if operation is None:
            self._outdated.set()
            return
        if operation.late(self._loop.time()):
            operation.done(Failure("engine_moved", words))
            return
        kind, _, place = words.split()[:3]
        host, _, port = place.rpartition(":")
        target = self._links.get((host, int(port)))
        if kind == "ASK" and target is not None:
            operation.asking = True
            target.take(operation)
        elif kind == "MOVED" and target is not None and target is not link:
            self._outdated.set()
            target.take(operation)
        else:
            self._keep(operation)
