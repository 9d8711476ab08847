"""One greenlet per connection: the threaded executor in a monkey-patched process."""

from __future__ import annotations

from types import FrameType
from typing import ClassVar

import gevent
from gevent import monkey

from ..connection import Link, WorkerConnection
from .base import EventSource, ExecutorConfig
from .threaded import ThreadedExecutor

__all__ = ["GeventExecutor"]

#: The thread of the operating system, of which all greenlets of a hub have the same one.
_this_thread = monkey.get_original("_thread", "get_ident")


class GeventExecutor(ThreadedExecutor):
    """Threads are greenlets here, and what they send in one turn of the hub leaves together."""

    name: ClassVar[str] = "gevent"

    def __init__(self, source: EventSource, config: ExecutorConfig) -> None:
        super().__init__(source, config)
        self._hub_thread = _this_thread()

    def sent(self, link: Link) -> None:
        if _this_thread() != self._hub_thread:
            link.flush()  # gevent's threadpool, say: nothing that it spawned would run
        elif not link.flushing:
            link.flushing = True
            # Runs after the greenlets that are ready now, so it takes their replies along.
            gevent.spawn(self._flush, link)

    def here(self) -> object:
        return gevent.getcurrent()

    def frame_of(self, thread: object) -> FrameType | None:
        return getattr(thread, "gr_frame", None)

    def _handled(self, connection: WorkerConnection) -> None:
        self.sent(connection.link)

    @staticmethod
    def _flush(link: Link) -> None:
        link.flushing = False
        link.flush()
