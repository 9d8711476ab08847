"""One server for everything: a single one, or the primary that Sentinels name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from ...store.calls import Call
from ...store.urls import Server
from .base import Failure
from .dialing import Probes, dial
from .link import Link, Links
from .operations import Operation
from .resp import Value

__all__ = ["Servers"]


class Servers:
    """See the module.

    Args:
        owner: hears what connections tell.
        probes: see :func:`.dialing.open_wire`.
    """

    def __init__(
        self,
        server: Server,
        owner: Links,
        loop: asyncio.AbstractEventLoop,
        probes: Probes = (),
    ) -> None:
        self._owner = owner
        self._link = Link(partial(dial, server, probes=probes), self, loop)

    def call(self, call: Call[Any], done: Callable[[Any], None]) -> None:
        """See :meth:`.Link.call`."""
        self._link.call(call, done)

    def subscribe(self, bucket: int, channel: bytes) -> None:
        """See :meth:`.Link.subscribe`."""
        self._link.subscribe(channel)

    def unsubscribe(self, bucket: int, channel: bytes) -> None:
        """See :meth:`.Link.unsubscribe`."""
        self._link.unsubscribe(channel)

    def when_subscribed(self, bucket: int, channel: bytes, done: Callable[[], None]) -> None:
        """See :meth:`.Link.when_subscribed`."""
        self._link.when_subscribed(channel, done)

    def has(self, link: Link, bucket: int) -> bool:
        """Whether a bucket is at the server of a link."""
        return True

    def there(self, bucket: int) -> bool:
        """Whether what is said of a bucket leaves at once."""
        return self._link.connected

    def hopeless(self, bucket: int) -> bool:
        """See :attr:`.Link.hopeless`."""
        return self._link.hopeless

    @property
    def all_up(self) -> bool:
        """Whether everything can be said."""
        return self._link.connected

    @property
    def idle(self) -> bool:
        """Whether nothing waits for an answer."""
        return self._link.idle

    @property
    def load(self) -> float:
        """See :attr:`.Link.load`."""
        return self._link.load

    def close(self) -> None:
        """Close all connections."""
        self._link.close()

    # ------------------------------------------------------------------ of links

    def up(self, link: Link) -> None:
        """See :class:`.link.Links`."""
        self._owner.up(link)

    def down(self, link: Link | None, reason: str) -> None:
        """See :class:`.link.Links`."""
        self._owner.down(link, reason)

    def pushed(self, link: Link, message: list[Value]) -> None:
        """See :class:`.link.Links`."""
        self._owner.pushed(link, message)

    def read(self) -> None:
        """See :class:`.link.Links`."""
        self._owner.read()

    def moved(self, link: Link, operation: Operation | None, words: str) -> None:
        """See :class:`.link.Owner`."""
        words = f"it is a node of a cluster, so ENGINE has to begin with redis+cluster://: {words}"
        self._owner.down(link, words)
        if operation is not None:
            operation.done(Failure("engine_refused", words))
