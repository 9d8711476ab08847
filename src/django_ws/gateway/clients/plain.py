"""One WebSocket connection, from the upgrade to the end of its socket.

What it carries are the messages themselves. A kind of clients with messages of its own stands
between the two: to the connection it is a :class:`.context.Session`, whose ``receive`` takes what
comes in; to the session it is a :class:`~..session.Client`, which makes of ``send`` and
``send_shared`` what goes out, the latter with a :class:`Codec`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, cast

from websockets.extensions import Extension

from ...wire.messages import BINARY, TEXT
from ..outgoing import Membership
from ..shared import Shared
from .compression import Compression
from .context import PARTS, Context, Recipient
from .framing import (
    CLOSE,
    PING,
    PING_FRAME,
    Violation,
    apply_mask,
    close_frame,
    frame,
    is_utf8,
    parse_close,
    pong_frame,
)
from .named import as_message, plain_data
from .plain_state import CLOSED, CLOSING, LINGERING, OPEN, OPENING, State, entered
from .reading import PLAIN, PLAIN_TEXT, Reader

__all__ = ["Codec", "Connection"]

#: What one connection may read in one turn of the loop; the rest waits for the next.
TURN_MESSAGES = 64
TURN_BYTES = 64 * 1024

#: Frames that one connection may skip in one turn after our close frame.
TURN_SKIPPED = 1024

#: Seconds at least that a connection over its message rate is not read, so that many messages
#: share a timer.
_THROTTLE = 0.02

# Why a connection is not read at the moment.
_WINDOW, _TURN, _RATE = 1, 2, 4


class Codec(Protocol):
    """How clients of one kind get what many get."""

    def encode(self, message: Shared) -> tuple[int, bytes]:
        """Opcode and payload; called once for all of them."""


class Connection(asyncio.Protocol):
    """Passes whole messages to its session and frames what the session sends.

    What carries its bytes is uvloop's TCP transport or, under TLS, a transport over the stream
    that served the upgrade.

    Args:
        context: shared by all.
        session: where the messages go.
        address: the peer's IP address.
        opening: the response that accepts the upgrade; written first.
        early: what the peer had sent before that.
        extensions: negotiated extensions.
        label: names it in logs; empty if it is not to be logged.

    Attributes:
        heard: True since something came in; reset with each ping.
        writable: the queued bytes are below ``max_pending``.
        slot: kept for the timer of pings.
    """

    __slots__ = (
        "_code",
        "_compression",
        "_context",
        "_due",
        "_hold",
        "_opening",
        "_reader",
        "_reason",
        "_session",
        "_timer",
        "_transport",
        "address",
        "heard",
        "label",
        "slot",
        "state",
        "writable",
    )

    #: Deleted when it is lost: only a live connection may use it.
    _transport: asyncio.Transport

    def __init__(
        self,
        context: Context,
        session: Recipient,
        address: str,
        opening: bytes,
        early: bytes,
        extensions: Sequence[Extension],
        label: str = "",
    ) -> None:
        self.state = OPENING
        self.heard = True
        self.writable = True
        self.address = address
        self.label = label
        self.slot = 0
        self._context = context
        self._session = session
        self._compression = Compression(extensions) if extensions else None
        self._reader = Reader(context.max_size, self._compression)
        if early:
            self._reader.feed(early)
        self._hold = 0
        #: Loop time until which the messages so far use up the message rate.
        self._due = 0.0
        self._opening = opening
        self._timer: asyncio.TimerHandle | None = None
        self._code = 1006
        self._reason = ""

    # ------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        context = self._context
        self._transport = cast(asyncio.Transport, transport)
        self._enter(OPEN)
        self._transport.set_write_buffer_limits(high=context.high_water)
        self._transport.write(self._opening)
        self._opening = b""
        context.counters["connections_opened"] += 1
        context.connections.add(self)
        context.pings.add(self)
        self._session.attach(self)
        if not self._reader.idle and not self._hold:
            self._read()

    def data_received(self, data: bytes) -> None:
        self.heard = True
        size = len(data) - 6
        context = self._context
        # Nearly every read brings exactly one short plain frame, which needs no reader.
        if (
            0 <= size <= context.small
            and data[1] == 0x80 | size
            and (first := data[0]) in PLAIN
            and self._reader.idle
            and not self._hold
            and self.state is OPEN
        ):
            now = context.loop.time()
            due = self._due
            if due < now:
                due = now
            if due - now <= context.ahead:
                self._due = due + context.interval
                payload = apply_mask(data[6:], data[2:6])
                if first == PLAIN_TEXT and not payload.isascii() and not is_utf8(payload):
                    self._fail(1007, "invalid UTF-8")
                elif not self._session.receive(first & 0x0F, payload):
                    self._window_is_full()
                return
        # A closed connection only waits for the end of its socket.
        if self.state is not CLOSED:
            self._reader.feed(data)
            if not self._hold:
                self._read()

    def eof_received(self) -> None:
        # Half-closing without a close frame is leaving; the transport closes itself.
        return

    def pause_writing(self) -> None:
        self.writable = False
        self._context.stalls.add(self)

    def resume_writing(self) -> None:
        # It took what was queued, which is a sign of life.
        self.heard = True
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
        context.counters["connections_closed"] += 1
        if self.state is OPEN and self._hold and self._reader.pending:
            # What its hooks still send goes nowhere, so none of them need wait until it is read.
            self.resume_writing()
            self._enter(LINGERING)
        else:
            self._finish(1006, "")
            context.released(self)
        del self._transport

    # ------------------------------------------------------------------ for the session

    def send(self, opcode: int, data: bytes) -> None:
        """Send a message, unless the connection is closing."""
        if self.state is OPEN:
            if self._compression is None:
                self._transport.write(frame(opcode, data))
            else:
                self._transport.write(self._compression.frame(opcode, data))

    def send_shared(self, message: Shared, codec: Codec | None = None) -> None:
        """Send a message that many get; made once for all that get the same bytes.

        Args:
            codec: makes something else of it, the same for all who bring this codec.
        """
        if self.state is not OPEN:
            return
        compression = self._compression
        if compression is None and codec is None:
            self._transport.write(message.encoded(Connection, _frame))
            return

        def encode(message: Shared) -> bytes:
            if codec is None:
                opcode, data = message.opcode, plain_data(message)
            else:
                opcode, data = codec.encode(message)
            return frame(opcode, data) if compression is None else compression.frame(opcode, data)

        kind = codec, compression and compression.kind
        self._transport.write(message.encoded(kind, encode))

    def emit(self, name: str, data: bytes, attachments: list[bytes]) -> None:
        """Send a named event as JSON; the worker lets none with attachments pass."""
        self.send(TEXT, as_message(name, data))

    def reply(self, seq: int, code: int, data: bytes, attachments: list[bytes]) -> None:
        """Plain clients ask nothing."""

    def tell(self, news: Membership) -> None:
        """These clients hear nothing of groups but their messages."""

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake; what was sent before still goes out."""
        if self.state is LINGERING:
            self._finish(code, reason)
        if self.state is not OPEN:
            return
        self._enter(CLOSING)
        self._code, self._reason = code, reason
        self._reader.drop_message()
        self._transport.write(close_frame(code, reason))
        self._abort_later()
        if self._hold:
            # Nothing is delivered any more, so nothing holds up the peer's close frame.
            self._hold = 0
            self._transport.resume_reading()
            self._await_close()

    def resume(self) -> None:
        """Go on reading: the window is open again."""
        self._release(_WINDOW)

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
    def held(self) -> bool:
        """Whether silence means nothing: we do not read, or our ping waits behind a backlog."""
        return self._hold != 0 or not self.writable

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
        lost = self.state is LINGERING
        self._finish(code, reason)
        if not lost:
            self._transport.abort()

    # ------------------------------------------------------------------ reading

    def _read(self) -> None:
        """Handle what has come, as much as this turn allows."""
        if self.state is CLOSING:
            self._await_close()
            return
        context, reader = self._context, self._reader
        messages = self._allowance() if context.interval else TURN_MESSAGES
        limit = (messages - 1) * PARTS
        spent = 0
        left = TURN_BYTES
        try:
            while not self._hold and (self.state is OPEN or self.state is LINGERING):
                if spent > limit or left < 0:
                    if reader.pending:
                        self._wait_for_turn(messages)
                    break
                event = reader.read()
                if event is None:
                    break
                opcode, data = event
                left -= len(data)
                if 0 < opcode <= BINARY:
                    spent += PARTS
                    if not self._session.receive(opcode, data):
                        self._window_is_full()
                else:
                    spent += 1
                    if opcode >= CLOSE:
                        self._control(opcode, data)
        except Violation as violation:
            self._fail(violation.code, violation.reason)
        self._due += spent * context.interval / PARTS
        if self.state is CLOSING and not self._hold:
            self._await_close()

    def _control(self, opcode: int, data: bytes) -> None:
        if opcode == CLOSE:
            self._peer_closed(*parse_close(data))
        elif opcode == PING and self.writable and self.state is OPEN:
            # To a client that does not read, pongs would only pile up.
            self._transport.write(pong_frame(data))

    def _await_close(self) -> None:
        """Skip what comes before the peer's close frame, after ours."""
        try:
            for _ in range(TURN_SKIPPED):
                opcode = self._reader.skip()
                if opcode is None:
                    return
                if opcode == CLOSE:
                    self._peer_closed(1005, "")
                    return
        except Violation:
            self._transport.abort()
            return
        self._wait_for_turn(1)

    # ------------------------------------------------------------------ holding back

    def _pause(self, why: int) -> None:
        if not self._hold and self.state is not LINGERING:
            self._transport.pause_reading()
        self._hold |= why

    def _release(self, why: int) -> None:
        """One reason not to read is gone."""
        if not self._hold & why:
            return
        self._hold &= ~why
        if self._hold:
            return
        # What the peer sent meanwhile has not been looked at.
        self.heard = True
        lost = self.state is LINGERING
        self._read()
        if self._hold:
            return
        if lost:
            self._finish(1006, "")
        else:
            self._transport.resume_reading()

    def _window_is_full(self) -> None:
        if self.state is OPEN or self.state is LINGERING:
            self._context.counters["window_full"] += 1
            self._pause(_WINDOW)

    def _allowance(self) -> int:
        """How many messages this turn may take: what the message rate has left of a turn."""
        context = self._context
        now = context.loop.time()
        due = self._due = max(self._due, now)
        return min(TURN_MESSAGES, context.allowance(due, now))

    def _wait_for_turn(self, messages: int) -> None:
        loop = self._context.loop
        if messages:
            self._pause(_TURN)
            loop.call_soon(self._release, _TURN)
        else:
            self._context.counters["throttled"] += 1
            self._pause(_RATE)
            loop.call_later(max(self._context.interval, _THROTTLE), self._release, _RATE)

    # ------------------------------------------------------------------ ending

    def _fail(self, code: int, reason: str) -> None:
        """The peer broke the rules (RFC 6455 §7.1.7): say so and end the connection."""
        counter = "closed_too_big" if code == 1009 else "closed_protocol"
        self._context.counters[counter] += 1
        if self.state is LINGERING:
            self._finish(code, reason)
            return
        self._transport.write(close_frame(code, reason))
        self._finish(code, reason)
        # It may still be sending. Closing the socket on unread data would reset the connection,
        # and the close frame would be lost.
        self._abort_later()
        if not self._transport.is_closing() and self._transport.can_write_eof():
            self._transport.write_eof()

    def _peer_closed(self, code: int, reason: str) -> None:
        """The peer's close frame came; it is answered unless we closed first."""
        if self.state is LINGERING:
            self._finish(code, reason)
            return
        if self.state is OPEN:
            self._transport.write(close_frame(code, reason))
        self._finish(code, reason)
        # Closes the socket once everything is written.
        self._abort_later()
        self._transport.close()

    def _finish(self, code: int, reason: str) -> None:
        """Tell the session, once; it hears our own code if we closed first."""
        before = self.state
        if before is CLOSED:
            return
        self._enter(CLOSED)
        if before is not CLOSING:
            self._code, self._reason = code, reason
        self._hold = 0
        self._reader.clear()
        self._session.disconnected(self._code, self._reason)
        if before is LINGERING:
            self._context.released(self)

    def _abort_later(self) -> None:
        if self._timer is None and self._context.close_timeout:
            self._timer = self._context.loop.call_later(
                self._context.close_timeout, self.abort, self._code, self._reason
            )

    def _enter(self, state: State) -> None:
        self.state = entered(self.state, state)


def _frame(message: Shared) -> bytes:
    return frame(message.opcode, plain_data(message))
