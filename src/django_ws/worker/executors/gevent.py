"""One greenlet per connection: the threaded executor in a monkey-patched process."""

from __future__ import annotations

from types import FrameType
from typing import ClassVar

import gevent

from ..connection import WorkerConnection
from ..link import GatewayLink
from .threaded import ThreadedExecutor

__all__ = ["GeventExecutor"]


class GeventExecutor(ThreadedExecutor):
    """Threads are greenlets here, and what they send in one turn of the hub leaves together."""

    name: ClassVar[str] = "gevent"

    def sent(self, link: GatewayLink) -> None:
        if not link.flushing:
            link.flushing = True
            # Runs after the greenlets that are ready now, so it takes their replies along.
            gevent.spawn(self._flush, link)

    @staticmethod
    def _here() -> object:
        return gevent.getcurrent()

    def frame_of(self, thread: object) -> FrameType | None:
        return getattr(thread, "gr_frame", None)

    def _handled(self, connection: WorkerConnection) -> None:
        self.sent(connection.link)

    @staticmethod
    def _flush(link: GatewayLink) -> None:
        link.flushing = False
        link.flush()
