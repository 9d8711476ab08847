"""The process that serves the project's pages, as the gateway connects to it."""

from __future__ import annotations

import asyncio
import socket

from tornado.iostream import IOStream

from .bodies import Unacceptable

__all__ = ["ABSENT", "Upstream"]

ABSENT = Unacceptable(502, "The process that serves the pages is not there. See its log.\n")
_BUSY = Unacceptable(503, "The process that serves the pages has too much to do.\n")

#: Seconds to wait for a process that is being replaced.
PATIENCE = 5.0
_RETRY_AFTER = 0.05

#: Seconds to wait until it has fewer requests.
QUEUE = 30.0


class Upstream:
    """Opens connections to the process, so many at a time: it spends a thread on each.

    Args:
        port: where it listens, on loopback.
        limit: connections at a time; who wants more waits, and is served in order.
    """

    def __init__(self, port: int, limit: int) -> None:
        self._port = port
        self._slots = asyncio.Semaphore(limit)

    async def open(self) -> IOStream:
        """A new connection, which :meth:`close` gives back.

        Raises:
            Unacceptable: There was none in time.
        """
        try:
            async with asyncio.timeout(QUEUE):
                await self._slots.acquire()
        except TimeoutError:
            raise _BUSY from None
        try:
            return await self._connect()
        except BaseException:
            self._slots.release()
            raise

    def close(self, stream: IOStream) -> None:
        """End a connection; once for each."""
        stream.close()
        self._slots.release()

    async def _connect(self) -> IOStream:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while True:
            stream = None
            try:
                stream = IOStream(socket.socket())
                return await stream.connect(("127.0.0.1", self._port))
            except OSError:  # nobody is there, or no descriptor
                if stream is not None:
                    stream.close()
                if loop.time() > deadline:
                    raise ABSENT from None
            await asyncio.sleep(_RETRY_AFTER)
