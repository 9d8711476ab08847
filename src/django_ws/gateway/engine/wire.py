"""One connection to a server: commands, their replies in order, and what is pushed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

from .resp import Error, Parser, ProtocolError, Pushed, Value, pack

__all__ = ["Reply", "Wire"]

#: Takes a reply; an :class:`.resp.Error` if the server refuses.
Reply = Callable[[Any], None]

#: Bytes of a reply without end, and of what may wait to be written before nothing more is sent.
MAX_UNWRITTEN = 4 * 1024 * 1024

#: Pushed in reply to a subscription; the latter also when a cluster moves a channel elsewhere.
CONFIRMATIONS = (b"ssubscribe", b"sunsubscribe")


class _Waiting(NamedTuple):
    """A command without its reply.

    Attributes:
        reply: takes it.
        since: loop time at which it was sent.
        channel: which it (un)subscribes: its reply is pushed, unless it is an error.
    """

    reply: Reply
    since: float
    channel: bytes


class Wire(asyncio.Protocol):
    """See the module.

    Args:
        on_push: takes what belongs to no command.
        on_read: called behind everything that came in one piece.

    Attributes:
        lost: done when the connection is gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_push: Callable[[list[Value]], None],
        on_read: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._on_push = on_push
        self._on_read = on_read
        self._parser = Parser()
        self._waiting: deque[_Waiting] = deque()  # bounded by whoever sends
        self._transport: asyncio.Transport | None = None
        self._reason = ""
        self._heard = loop.time()
        self.writable = True
        self.lost: asyncio.Future[str] = loop.create_future()

    # ------------------------------------------------------------------ commands

    def send(self, commands: Iterable[tuple[bytes, Reply, bytes]]) -> None:
        """Send commands in one piece.

        Args:
            commands: packed, with what takes the reply, and the channel that they (un)subscribe.
        """
        now, pieces = self._loop.time(), []
        for data, reply, channel in commands:
            pieces.append(data)
            self._waiting.append(_Waiting(reply, now, channel))
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(pieces))

    async def ask(self, *parts: bytes | str | int) -> Value:
        """One command and its reply.

        Raises:
            Error: The server refuses.
            ConnectionError: The connection is gone.
        """
        answer: asyncio.Future[Value] = self._loop.create_future()

        def take(value: Value) -> None:
            if not answer.done():
                answer.set_result(value)

        self.send([(pack(parts), take, b"")])
        await asyncio.wait((answer, self.lost), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            raise ConnectionError(self.lost.result())
        value = answer.result()
        if isinstance(value, Error):
            raise value
        return value

    @property
    def in_flight(self) -> int:
        """Commands without a reply."""
        return len(self._waiting)

    def silent_since(self) -> float:
        """Loop time since which nothing has come though one of these is owed; now without one."""
        if not self._waiting:
            return self._loop.time()
        return max(self._waiting[0].since, self._heard)

    def abandon(self) -> list[Reply]:
        """Who waits in vain for a reply on a connection that is gone."""
        waiting, self._waiting = self._waiting, deque()
        return [each.reply for each in waiting]

    def abort(self, reason: str) -> None:
        """Cut the connection."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close the connection, once all is written."""
        if self._transport is not None:
            self._transport.close()

    # ------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        # uvloop's are no asyncio.Transport.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(MAX_UNWRITTEN)

    def pause_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self.writable = False

    def resume_writing(self) -> None:
        """See :class:`asyncio.Protocol`."""
        self.writable = True

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        self._heard = self._loop.time()
        try:
            values = self._parser.feed(data)
            for value in values:
                self._take(value)
        except ProtocolError as error:
            self.abort(f"it does not speak RESP3: {error}")
            return
        if values:
            self._on_read()

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        if not self.lost.done():
            self.lost.set_result(self._reason or str(exc or "it closed the connection"))

    def _take(self, value: Value) -> None:
        waiting = self._waiting
        if not isinstance(value, Pushed):
            if not waiting:
                raise ProtocolError("a reply to nothing")
            waiting.popleft().reply(value)
        elif value[0] in CONFIRMATIONS and waiting and waiting[0].channel == value[1]:
            waiting.popleft().reply(value)
        else:
            self._on_push(value)
