"""One WebSocket connection, from the upgrade to the end of its socket.

What carries its bytes is uvloop's TCP transport or, under TLS, :class:`.streams.StreamTransport`.
"""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec
from websockets.extensions import Extension

from ...wire.messages import TEXT
from ..shared import Shared
from .context import Context, Recipient
from .framing import PING_FRAME, close_frame, frame
from .receiving import CLOSED, CLOSING, OPEN, Receiver

__all__ = ["Connection"]

to_json = msgspec.json.Encoder().encode


class _Gone:
    """Stands for the transport of a connection that is lost."""

    def ignore(self, *_: object) -> None:
        """Nobody is there."""

    write = abort = close = pause_reading = resume_reading = ignore

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return True


_GONE = cast(asyncio.Transport, _Gone())


def _frame(message: Shared) -> bytes:
    return frame(message.opcode, message.data)


class Connection(Receiver):
    """Passes whole messages to its session and frames what the session sends.

    Args:
        context: shared by all.
        session: where the messages go.
        address: the peer's IP address.
        opening: the response that accepts the upgrade; written first.
        early: what the peer had sent before that.
        extensions: negotiated extensions.
        label: names it in logs; empty if it is not to be logged.
    """

    __slots__ = ("_code", "_opening", "_reason", "_timer", "address", "label", "slot")

    def __init__(
        self,
        context: Context,
        session: Recipient,
        address: str,
        opening: bytes,
        early: bytes,
        extensions: list[Extension],
        label: str = "",
    ) -> None:
        super().__init__(context, session, _GONE, early, extensions)
        self.address = address
        self.label = label
        self.slot = 0
        self._opening = opening
        self._timer: asyncio.TimerHandle | None = None
        self._code = 1006
        self._reason = ""

    # ------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        context = self._context
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=context.high_water)
        self._transport.write(self._opening)
        self._opening = b""
        context.counters["connections_opened"] += 1
        context.pings.add(self)
        self._session.attach(self)
        if early := self._take_rest():
            self._feed(early, 0)

    def eof_received(self) -> None:
        # Half-closing without a close frame is leaving; the transport closes itself.
        return

    def pause_writing(self) -> None:
        self.writable = False
        self._context.stalls.add(self)

    def resume_writing(self) -> None:
        self.writable = True
        self._context.stalls.discard(self)
        if self.state is OPEN:
            self._session.writable()

    def connection_lost(self, exc: Exception | None) -> None:
        context = self._context
        context.pings.discard(self)
        context.stalls.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._transport = _GONE
        context.counters["connections_closed"] += 1
        if self.state is CLOSED:
            context.released(self)
        elif not (self._hold and self._buffer and self.state is OPEN):
            self._finish(1006, "")
        else:
            # What has been read is still delivered, as fast as window and rate allow.
            context.lingering.add(self)
            # What its hooks still send goes nowhere, so none of them need wait until it is read.
            self.resume_writing()

    # ------------------------------------------------------------------ for the session

    def send(self, opcode: int, data: bytes) -> None:
        """Send a message, unless the connection is closing."""
        if self.state is OPEN:
            core = self._core
            if core is not None and core.extensions:
                (core.send_text if opcode == TEXT else core.send_binary)(data)
                self._transport.write(b"".join(core.data_to_send()))
            else:
                self._transport.write(frame(opcode, data))

    def send_shared(self, message: Shared) -> None:
        """Send a message that many get; framed once for all of them."""
        if self._core is not None:
            self.send(message.opcode, message.data)
        elif self.state is OPEN:
            self._transport.write(message.encoded(Connection, _frame))

    def emit(self, name: str, data: bytes, attachments: list[bytes]) -> None:
        """Send a named event as JSON; the worker lets none with attachments pass."""
        self.send(TEXT, b'{"event":%s,"args":%s}' % (to_json(name), data))

    def reply(self, seq: int, code: int, data: bytes, attachments: list[bytes]) -> None:
        """Plain clients ask nothing."""

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake; what was sent before still goes out."""
        if self.state is not OPEN:
            return
        self.state = CLOSING
        self._code, self._reason = code, reason
        self._core = self._message = None
        if self._transport is _GONE:
            self._finish(code, reason)
            return
        self._transport.write(close_frame(code, reason))
        self._abort_later()
        if self._hold:
            # Nothing is delivered any more, so nothing holds up the peer's close frame.
            self._hold = 0
            self._transport.resume_reading()
            self._await_close(self._take_rest(), 0)

    # ------------------------------------------------------------------ for the timer

    @property
    def number(self) -> int:
        """Counts up from connection to connection."""
        return self._session.conn

    @property
    def code(self) -> int:
        """What it was closed with, once it is."""
        return self._code

    @property
    def backlog(self) -> int:
        """Bytes that wait for the client."""
        return self._transport.get_write_buffer_size()

    def ping(self) -> None:
        """Ask for a sign of life."""
        if self.state is OPEN and self.writable:
            self._transport.write(PING_FRAME)

    def no_pong(self) -> None:
        """Give up a dead peer."""
        self._context.counters["closed_no_pong"] += 1
        self.abort(1006, "no pong")

    def too_slow(self) -> None:
        """Give up a client that does not read."""
        self._context.counters["closed_slow"] += 1
        self.abort(3008, "too slow")

    def abort(self, code: int, reason: str) -> None:
        """End the connection at once, without a closing handshake."""
        self._finish(code, reason)
        self._transport.abort()

    # ------------------------------------------------------------------ ending

    def _fail(self, code: int, reason: str) -> None:
        counter = "closed_too_big" if code == 1009 else "closed_protocol"
        self._context.counters[counter] += 1
        self._transport.write(close_frame(code, reason))
        self._finish(code, reason)
        # It may still be sending. Closing the socket on unread data would reset the connection,
        # and the close frame would be lost.
        self._abort_later()
        if not self._transport.is_closing() and self._transport.can_write_eof():
            self._transport.write_eof()

    def _peer_closed(self, code: int, reason: str, echo: bytes) -> None:
        self._transport.write(echo)
        self._finish(code, reason)
        # Closes the socket once everything is written.
        self._abort_later()
        self._transport.close()

    def _rest_delivered(self) -> None:
        if self._transport is _GONE:
            self._finish(1006, "")
        else:
            self._transport.resume_reading()

    def _finish(self, code: int, reason: str) -> None:
        """Tell the session, once; it hears our own code if we closed first."""
        if self.state is CLOSED:
            return
        if self.state is CLOSING:
            code, reason = self._code, self._reason
        self.state = CLOSED
        self._code, self._reason = code, reason
        self._hold = 0
        self._buffer = b""
        self._core = self._message = None
        self._session.disconnected(code, reason)
        if self._transport is _GONE:
            self._context.lingering.discard(self)
            self._context.released(self)

    def _abort_later(self) -> None:
        if self._timer is None and self._context.close_timeout:
            self._timer = self._context.loop.call_later(
                self._context.close_timeout, self.abort, self._code, self._reason
            )
