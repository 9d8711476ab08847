"""One WebSocket connection, from the upgrade to the end of its socket.

:class:`Connection` is an :class:`asyncio.Protocol`; what carries its bytes is uvloop's TCP
transport or, under TLS, :class:`.streams.StreamTransport`. Plain frames take the short path of
:mod:`.framing`, all others the sans-I/O core of the websockets package, which exists only while it
is needed: it is bigger than the rest of a connection.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable
from typing import Protocol, cast

from websockets.extensions import Extension
from websockets.frames import Frame
from websockets.protocol import State as CoreState
from websockets.server import ServerProtocol

from ..options import Limits
from ..wire.messages import TEXT, Accept, Refuse
from .counters import Counters
from .framing import (
    CLOSE,
    PING_FRAME,
    Assembly,
    TooManyFragments,
    close_frame,
    extent,
    frame,
    is_utf8,
    unmask,
)
from .pings import Pings, Stalls

__all__ = ["Client", "Connection", "Context", "Session", "State"]

#: What one connection may parse in one turn of the loop; the rest waits for the next.
TURN_FRAMES = 64
TURN_BYTES = 64 * 1024

#: Stands for "no limit" where a number is needed.
UNLIMITED = 2**62

#: Bytes of the payload of a control frame (RFC 6455 §5.5).
MAX_CONTROL = 125

#: The core logs each closed connection; nobody wants to pay for that.
_QUIET = logging.Logger("websockets", logging.CRITICAL + 1)

# First bytes of unfragmented, uncompressed frames (RFC 6455 §5.2).
_TEXT, _PONG = 0x81, 0x8A
_PLAIN = (_TEXT, 0x82)

# Why a connection is not read at the moment.
_WINDOW, _TURN, _RATE = 1, 2, 4


class State(enum.Enum):
    """``OPEN`` to ``CLOSING`` when we close first; any to ``CLOSED``, which is final.

    ``CLOSED`` means that the session has been told; the transport may outlive that for a moment.
    """

    OPEN = enum.auto()
    CLOSING = enum.auto()
    CLOSED = enum.auto()


# Reading a member from its enum class costs more than parsing a byte.
OPEN, CLOSING, CLOSED = State.OPEN, State.CLOSING, State.CLOSED


class Client(Protocol):
    """What a session needs of a connection.

    Attributes:
        writable: the queued bytes are below ``max_pending``.
    """

    writable: bool

    def send(self, opcode: int, data: bytes) -> None: ...
    def send_frame(self, frame: bytes, opcode: int, data: bytes) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def resume(self) -> None: ...


class Session(Protocol):
    """What a connection needs of whatever takes its messages.

    Attributes:
        conn: its number.
        verdict: the worker's answer to the handshake.
    """

    @property
    def conn(self) -> int: ...
    @property
    def verdict(self) -> asyncio.Future[Accept | Refuse]: ...
    def attach(self, client: Client) -> None: ...
    def receive(self, opcode: int, data: bytes) -> bool: ...
    def writable(self) -> None: ...
    def disconnected(self, code: int, reason: str) -> None: ...


class Context:
    """What all connections of a gateway share.

    Args:
        released: called once for each connection, after its socket and its session are done.
    """

    __slots__ = (
        "burst",
        "close_timeout",
        "counters",
        "high_water",
        "interval",
        "loop",
        "max_size",
        "pings",
        "released",
        "small",
        "stalls",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        counters: Counters,
        pings: Pings,
        stalls: Stalls,
        released: Callable[[Connection], None],
    ) -> None:
        self.loop = loop
        self.counters = counters
        self.pings = pings
        self.stalls = stalls
        self.released = released
        self.max_size = limits.max_message_size or UNLIMITED
        #: Frames up to this size need no look at the limits.
        self.small = min(MAX_CONTROL, self.max_size)
        self.high_water = limits.max_pending or UNLIMITED
        self.close_timeout = limits.close_timeout
        #: Seconds that a message uses up of the message rate; 0 without a limit.
        self.interval = 1 / limits.message_rate if limits.message_rate else 0.0
        #: Seconds by which messages may be ahead of the rate.
        self.burst = 1.0


class _Gone:
    """Stands for the transport of a connection that is lost."""

    def ignore(self, *_: object) -> None:
        """Nobody is there."""

    write = abort = close = pause_reading = resume_reading = ignore

    def get_write_buffer_size(self) -> int:
        return 0


_GONE = cast(asyncio.Transport, _Gone())


class Connection(asyncio.Protocol):
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

    __slots__ = (
        "_buffer",
        "_code",
        "_context",
        "_core",
        "_due",
        "_hold",
        "_message",
        "_need",
        "_opening",
        "_position",
        "_reason",
        "_session",
        "_timer",
        "_transport",
        "address",
        "heard",
        "label",
        "state",
        "writable",
    )

    def __init__(
        self,
        context: Context,
        session: Session,
        address: str,
        opening: bytes,
        early: bytes = b"",
        extensions: list[Extension] | None = None,
        label: str = "",
    ) -> None:
        self.address = address
        self.label = label
        self.state = OPEN
        self.heard = True
        self.writable = True
        self._context = context
        self._session = session
        self._transport = _GONE
        self._opening = opening
        #: What is not parsed yet, from _position on; mutable only while a frame is incomplete.
        self._buffer: bytes | bytearray = early
        self._position = 0
        #: Bytes that complete the frame in the buffer, as far as known.
        self._need = 0
        self._hold = 0
        self._message: Assembly | None = None
        #: Keeps fragments and compression apart from plain frames; None if there are neither.
        self._core: ServerProtocol | None = None
        if extensions:
            self._core = self._new_core(context.max_size)
            self._core.extensions = extensions
        #: Loop time until which the messages so far use up the message rate.
        self._due = 0.0
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

    def data_received(self, data: bytes) -> None:
        self.heard = True
        if self._buffer or self._hold:
            data = self._join(data)
            if not data:
                return
        if self.state is OPEN:
            self._parse(data, 0)
        else:
            self._feed(data, 0)

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
        # Else what has been read is still delivered, as fast as the window allows.

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

    def send_frame(self, frame: bytes, opcode: int, data: bytes) -> None:
        """Send a message that many get and that is framed already."""
        if self._core is not None:
            self.send(opcode, data)
        elif self.state is OPEN:
            self._transport.write(frame)

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
        """Whether we do not read at the moment."""
        return self._hold != 0

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

    # ------------------------------------------------------------------ receiving

    def _join(self, data: bytes) -> bytes:
        """Put what is left from before in front of ``data``; empty if that must still wait."""
        buffer = self._buffer
        if type(buffer) is not bytearray:
            buffer = bytearray(memoryview(buffer)[self._position :])
            self._position = 0
        buffer += data
        if self._hold or len(buffer) < self._need:
            self._buffer = buffer
            return b""
        self._buffer = b""
        return bytes(buffer)

    def _take_rest(self) -> bytes:
        rest = bytes(memoryview(self._buffer)[self._position :])
        self._buffer, self._position = b"", 0
        return rest

    def _feed(self, data: bytes, pos: int) -> None:
        if self.state is OPEN:
            self._parse(data, pos)
        elif self.state is CLOSING:
            self._await_close(data, pos)
        # A closed connection only waits for the end of its socket.

    def _parse(self, data: bytes, pos: int) -> None:
        """Handle the frames in ``data`` from ``pos`` on, as many as this turn allows."""
        context = self._context
        receive = self._session.receive
        small = context.small
        size = len(data)
        turn_ends = pos + TURN_BYTES
        frames = messages = 0
        while pos < size and self.state is OPEN and not self._hold:
            if frames == TURN_FRAMES or pos > turn_ends:
                self._pause(_TURN)
                context.loop.call_soon(self._release, _TURN)
                break
            start, stop = extent(data, pos)
            first = data[pos]
            if stop - start > small and not self._fits(first, stop - start):
                break
            if stop > size or not start:
                break
            frames += 1
            masked = data[pos + 1] & 0x80
            if first in _PLAIN and masked and self._message is None:
                payload = unmask(data, start, stop)
                if first == _TEXT and not payload.isascii() and not is_utf8(payload):
                    self._fail(1007, "invalid UTF-8")
                    break
                messages += 1
                if not receive(first & 0x0F, payload):
                    self._window_is_full()
            elif first & 0x08:
                if first != _PONG or not masked:
                    self._control(data[pos:stop])
            else:
                messages += self._fragment(data[pos:stop])
            pos = stop
        if self.state is CLOSING:
            self._await_close(data, pos)
        elif self.state is OPEN:
            if pos < size:
                self._keep(data, pos)
            if context.interval and messages:
                self._spend(messages)

    def _fits(self, first: int, size: int) -> bool:
        """Whether a frame may be so long; decided before it has arrived, and fails if not."""
        if first & 0x08 and size > MAX_CONTROL:
            self._fail(1002, "control frame too long")
            return False
        if not first & 0x08 and size > self._context.max_size:
            self._fail(1009, "message too big")
            return False
        return True

    def _keep(self, data: bytes, pos: int) -> None:
        """Keep the rest for later: it must wait, or is the beginning of a frame."""
        if self._hold:
            self._buffer, self._position = data, pos
        else:
            self._buffer, self._position = bytearray(memoryview(data)[pos:]), 0
            self._need = extent(data, pos)[1] - pos

    def _new_core(self, max_size: int | None) -> ServerProtocol:
        return ServerProtocol(state=CoreState.OPEN, max_size=max_size, logger=_QUIET)

    def _control(self, data: bytes) -> None:
        """A ping, a close frame, or something that is none.

        It gets a core of its own: it may stand between the fragments of a message, and a close
        frame there is as good as anywhere.
        """
        core = self._new_core(None)
        core.receive_data(data)
        writes = core.data_to_send()
        if core.parser_exc is not None:
            self._fail_as(core)
        elif data[0] & 0x0F == CLOSE:
            # The echo of its code (RFC 6455 §5.5.1).
            self._transport.write(writes[0])
            close = core.close_rcvd
            assert close is not None
            self._finish(close.code, close.reason)
            self._hang_up()
        elif writes and self.writable:
            # To a client that does not read, pongs would only pile up.
            self._transport.write(writes[0])

    def _fragment(self, data: bytes) -> int:
        """A data frame that is not plain. Returns how many messages it completed."""
        core = self._core
        if core is None:
            core = self._core = self._new_core(self._context.max_size)
        core.receive_data(data)
        if core.parser_exc is not None:
            self._fail_as(core)
            return 0
        [event] = core.events_received()
        assert isinstance(event, Frame)
        message = self._message
        if message is None:
            message = self._message = Assembly(event.opcode, self._context.max_size)
        try:
            message.add(bytes(event.data), event.fin)
        except UnicodeDecodeError:
            self._fail(1007, "invalid UTF-8")
            return 0
        except TooManyFragments:
            self._fail(1008, "too many fragments")
            return 0
        if not event.fin:
            return 0
        self._message = None
        if not core.extensions:
            self._core = None
        if not self._session.receive(message.opcode, bytes(message.data)):
            self._window_is_full()
        return 1

    def _await_close(self, data: bytes, pos: int) -> None:
        """Skip what comes before the peer's close frame, after ours."""
        size = len(data)
        while pos < size:
            start, stop = extent(data, pos)
            if stop - start > max(self._context.max_size, MAX_CONTROL):
                self._transport.abort()
                return
            if not start or stop > size:
                self._keep(data, pos)
                return
            if data[pos] & 0x0F == CLOSE:
                self._finish(self._code, self._reason)
                self._hang_up()
                return
            pos = stop

    # ------------------------------------------------------------------ holding back

    def _pause(self, why: int) -> None:
        if not self._hold:
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
        data, pos = bytes(self._buffer), self._position
        self._buffer, self._position = b"", 0
        self._feed(data, pos)
        if self._hold:
            return
        if self._transport is _GONE:
            self._finish(1006, "")
        else:
            self._transport.resume_reading()

    def _window_is_full(self) -> None:
        if self.state is OPEN:
            self._context.counters["window_full"] += 1
            self._pause(_WINDOW)

    def _spend(self, messages: int) -> None:
        """Take messages off the rate; if they were too many, read on when it allows it."""
        context = self._context
        now = context.loop.time()
        self._due = max(self._due, now) + messages * context.interval
        ahead = self._due - now - context.burst
        if ahead > 0 and not self._hold & _RATE:
            context.counters["throttled"] += 1
            self._pause(_RATE)
            context.loop.call_later(ahead, self._release, _RATE)

    # ------------------------------------------------------------------ ending

    def _fail_as(self, core: ServerProtocol) -> None:
        close = core.close_sent
        assert close is not None
        self._fail(close.code, close.reason)

    def _fail(self, code: int, reason: str) -> None:
        """The peer broke the rules (RFC 6455 §7.1.7): say so and end the connection."""
        counter = "closed_too_big" if code == 1009 else "closed_protocol"
        self._context.counters[counter] += 1
        self._transport.write(close_frame(code, reason))
        self._finish(code, reason)
        # It may still be sending. Closing the socket on unread data would reset the connection,
        # and the close frame would be lost.
        self._abort_later()
        if self._transport is not _GONE and self._transport.can_write_eof():
            self._transport.write_eof()

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
            self._context.released(self)

    def _hang_up(self) -> None:
        """Close the socket once everything is written."""
        self._abort_later()
        self._transport.close()

    def _abort_later(self) -> None:
        if self._timer is None and self._context.close_timeout:
            self._timer = self._context.loop.call_later(
                self._context.close_timeout, self.abort, self._code, self._reason
            )
