"""What comes in: bytes to frames to messages, and when not to read.

Plain frames take the short path of :mod:`.framing`, all others the sans-I/O core of the websockets
package, which exists only while it is needed: it is bigger than the rest of a connection.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from abc import abstractmethod

from websockets.extensions import Extension
from websockets.frames import Frame
from websockets.protocol import State as CoreState
from websockets.server import ServerProtocol

from .context import MAX_CONTROL, Context, Recipient
from .framing import CLOSE, Assembly, TooManyFragments, extent, is_utf8, unmask

__all__ = ["CLOSED", "CLOSING", "OPEN", "Receiver", "State"]

#: What one connection may parse in one turn of the loop; the rest waits for the next.
TURN_FRAMES = 64
TURN_BYTES = 64 * 1024

#: Seconds at least that a connection over its message rate is not read, so that many messages
#: share a timer.
_THROTTLE = 0.02

#: Keeps a whole number of messages from becoming one less.
_ROUNDING = 1e-6

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


class Receiver(asyncio.Protocol):
    """The receiving half of a connection.

    Args:
        context: shared by all.
        session: where the messages go.
        transport: where the bytes come from.
        early: what the peer has already sent.
        extensions: negotiated extensions.
    """

    __slots__ = (
        "_buffer",
        "_context",
        "_core",
        "_due",
        "_hold",
        "_message",
        "_need",
        "_position",
        "_session",
        "_transport",
        "heard",
        "state",
        "writable",
    )

    def __init__(
        self,
        context: Context,
        session: Recipient,
        transport: asyncio.Transport,
        early: bytes,
        extensions: list[Extension],
    ) -> None:
        self.state = OPEN
        self.heard = True
        self.writable = True
        self._context = context
        self._session = session
        self._transport = transport
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

    @abstractmethod
    def _fail(self, code: int, reason: str) -> None:
        """The peer broke the rules (RFC 6455 §7.1.7): say so and end the connection."""

    @abstractmethod
    def _peer_closed(self, code: int, reason: str, echo: bytes) -> None:
        """The peer's close frame came; answer with ``echo`` unless we closed first."""

    @abstractmethod
    def _rest_delivered(self) -> None:
        """Reading was resumed, and nothing is left from before."""

    @property
    def held(self) -> bool:
        """Whether we do not read at the moment."""
        return self._hold != 0

    def data_received(self, data: bytes) -> None:
        self.heard = True
        if self._buffer or self._hold:
            data = self._join(data)
            if not data:
                return
        size = len(data) - 6
        context = self._context
        # Nearly every read brings exactly one short plain frame, which needs no parsing.
        if (
            0 <= size <= context.small
            and data[1] == 0x80 | size
            and data[0] in _PLAIN
            and self.state is OPEN
            and self._message is None
        ):
            now = context.loop.time()
            due = self._due
            if due < now:
                due = now
            if due - now <= context.ahead:
                self._due = due + context.interval
                self._plain(data[0], unmask(data, 6, size + 6))
                return
        self._feed(data, 0)

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
        small = context.small
        size = len(data)
        turn_ends = pos + TURN_BYTES
        turn = self._allowance() if context.interval else TURN_FRAMES
        frames = messages = 0
        while pos < size and self.state is OPEN and not self._hold:
            if frames == turn or pos > turn_ends:
                self._wait_for_turn(turn)
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
                messages += 1
                self._plain(first, unmask(data, start, stop))
            elif first & 0x08:
                if first != _PONG or not masked:
                    self._control(data[pos:stop])
            else:
                messages += self._fragment(data[pos:stop])
            pos = stop
        if self.state is CLOSING:
            self._await_close(data, pos)
        elif self.state is OPEN:
            self._due += messages * context.interval
            if pos < size:
                self._keep(data, pos)

    def _plain(self, first: int, payload: bytes) -> None:
        """An unfragmented, uncompressed message."""
        if first == _TEXT and not payload.isascii() and not is_utf8(payload):
            self._fail(1007, "invalid UTF-8")
        elif not self._session.receive(first & 0x0F, payload):
            self._window_is_full()

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
            close = core.close_rcvd
            assert close is not None
            self._peer_closed(close.code, close.reason, writes[0])
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
                self._peer_closed(1005, "", b"")
                return
            pos = stop

    def _fail_as(self, core: ServerProtocol) -> None:
        close = core.close_sent
        assert close is not None
        self._fail(close.code, close.reason)

    # ------------------------------------------------------------------ holding back

    def resume(self) -> None:
        """Go on reading: the window is open again."""
        self._release(_WINDOW)

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
        self._rest_delivered()

    def _window_is_full(self) -> None:
        if self.state is OPEN:
            self._context.counters["window_full"] += 1
            self._pause(_WINDOW)

    def _allowance(self) -> int:
        """How many frames this turn may take: what the message rate has left of a turn."""
        context = self._context
        now = context.loop.time()
        due = self._due = max(self._due, now)
        return min(TURN_FRAMES, int((context.burst + now - due) / context.interval + _ROUNDING))

    def _wait_for_turn(self, turn: int) -> None:
        loop = self._context.loop
        if turn:
            self._pause(_TURN)
            loop.call_soon(self._release, _TURN)
        else:
            self._context.counters["throttled"] += 1
            self._pause(_RATE)
            loop.call_later(max(self._context.interval, _THROTTLE), self._release, _RATE)
