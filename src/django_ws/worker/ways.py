"""By which gateway a publication leaves, where gateways share an engine and one of them is enough.

Each writes to the engine by itself, so the order of the calls lasts as long as the gateway is the
same: a hook's is that of its connection, whatever publishes in it. So its publications stay in
order with its joins and sends, too, and ahead of its acknowledgement. All other threads of a worker
have one gateway, each worker another one.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextvars import ContextVar
from zlib import crc32

from .connection import Link

__all__ = ["Ways"]

#: Of the hook that runs; a context's, so that what it awaits (``apublish``) finds it, too.
_of_hook: ContextVar[Link | None] = ContextVar("django_ws_way", default=None)


class Ways:
    """Chooses among the links of one process. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chosen: Link | None = None  # guarded by _lock

    @staticmethod
    def enter(link: Link | None) -> None:
        """A hook of a connection on this link begins in this context, or (``None``) has ended."""
        _of_hook.set(link)

    def find(self, links: Sequence[Link]) -> Link | None:
        """The link for what is published here and now; ``None``: there is no gateway.

        Args:
            links: all there are; one that goes down is passed over from then on, so what it still
                had may come after what another one takes.
        """
        link = _of_hook.get()
        if link is not None and link.up:
            return link
        with self._lock:
            link = self._chosen
            # Kept although others come: each change of it costs the order.
            if link is None or not link.up:
                start = crc32(links[0].incarnation.encode()) % len(links) if links else 0
                around = (*links[start:], *links[:start])
                link = self._chosen = next((each for each in around if each.up), None)
            return link
