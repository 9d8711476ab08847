"""What the gateway says itself: one response, then the end of the connection.

The socket is not closed with the last byte. If the client were still sending (a body, say), the
kernel would reset the connection, and the response would be lost.
"""

from __future__ import annotations

import asyncio
import socket

from tornado.iostream import IOStream

from ..logs import Journal
from .refusals import Refusal

__all__ = ["Answers"]

#: Seconds that a client has to read the response and to close.
LINGER = 1.0

#: Bytes that are read and thrown away meanwhile, and how many at a time.
DISCARD = 1024 * 1024
_CHUNK = 64 * 1024


class Answers:
    """Answers clients, and parts with them.

    Args:
        journal: hears of refusals.
        debug: clients are told what to do about a refusal.
    """

    def __init__(self, journal: Journal, debug: bool) -> None:
        self._journal = journal
        self._debug = debug
        self._tasks: set[asyncio.Task[None]] = set()

    def refuse(self, stream: IOStream, label: str, refusal: Refusal, *, head: bool = False) -> None:
        """Say no, count it and tell the log.

        Args:
            stream: the client's; nobody else uses it any more.
            label: names the request in logs.
            head: it was a HEAD request.
        """
        self.note(label, refusal)
        self.part(stream, refusal.response(self._debug, head))

    def note(self, label: str, refusal: Refusal) -> None:
        """Count a refusal and tell the log, but not the client."""
        if refusal.counter:
            why = refusal.why(self._debug)
            self._journal.refused(refusal.counter, label, refusal.status, why)

    def part(self, stream: IOStream, response: bytes) -> None:
        """Send a response, and end the connection once the client has it, or time is up."""
        task = asyncio.create_task(self._part(stream, response))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _part(self, stream: IOStream, response: bytes) -> None:
        try:
            async with asyncio.timeout(LINGER):
                await stream.write(response)
                if stream.socket is not None:
                    # Under TLS, too: what comes now is thrown away anyhow.
                    stream.socket.shutdown(socket.SHUT_WR)
                for _ in range(0, DISCARD, _CHUNK):
                    await stream.read_bytes(_CHUNK, partial=True)
        except (OSError, TimeoutError):  # it has closed (StreamClosedError is one), or won't
            pass
        finally:
            stream.close()
