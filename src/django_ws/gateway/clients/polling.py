"""Long polling: what waits for the next poll, and who is gone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from ...wire.messages import TEXT
from .context import Context
from .engine import PROBING, Engine
from .engineio import AGAIN, CLOSE, NOOP, Packet, encode_payload
from .intake import Answer, Intake

__all__ = ["Poll", "Poller"]

#: Seconds by which an answer waits for more that may come with it.
GATHER = 0.01

#: Packets of an answer: python-engineio's client breaks off over more (its ``max_decode_packets``).
MAX_ANSWER = 16


class Poll(Protocol):
    """A request that waits for packets.

    Attributes:
        unwritten: bytes of its answer that the kernel has not taken yet.
        gone: its client has hung up.
    """

    @property
    def unwritten(self) -> int: ...
    @property
    def gone(self) -> bool: ...
    def answer(self, body: bytes | None) -> None: ...


class Poller:
    """Carries an engine by requests.

    Args:
        context: shared by all.
        engine: what it carries; its ``carrier`` from now on.
        address: the peer's IP address.
        label: names it in logs; empty if it is not to be logged.
        gone: called once, when no request can find it any more.

    Attributes:
        code: what it was closed with, once it is.
    """

    def __init__(
        self,
        context: Context,
        engine: Engine,
        address: str,
        label: str,
        gone: Callable[[], None],
    ) -> None:
        self.heard = True
        self.writable = True
        self.slot = 0
        self.address = address
        self.label = label
        self.code = 1006
        self._context = context
        self._engine = engine
        self._gone = gone
        self._closing = False
        #: It ends at once, since the client broke a rule.
        self._broken = False
        self._released = False
        #: Bounded as what waits for a WebSocket: above ``max_pending`` its senders are paused.
        self._packets: deque[Packet] = deque()
        self._size = 0
        self._poll: Poll | None = None
        #: The one that was answered last, until its client has the answer.
        self._answered: Poll | None = None
        #: Bytes that it had not taken when it was pinged.
        self._left = 0
        self._intake = Intake(context, engine, self.too_big)
        self._answering: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        context.counters["connections_opened"] += 1
        context.pings.add(self)
        context.connections.add(self)

    # ------------------------------------------------------------------ requests

    def poll(self, poll: Poll) -> None:
        """A client asks for what there is, which costs as much of the rate as a message."""
        if self._poll is not None or self._unwritten:
            # One that was cancelled may be read after the next one, which must fail then.
            self.drop(1006 if poll.gone else 1008, "two polls at once")
            poll.answer(None)
            return
        self.heard = True
        self._poll = poll
        context = self._context
        early = self._intake.charge()
        if early > 0 and not self._closing:
            context.counters["throttled"] += 1
            self._answering = context.loop.call_later(early, self._serve)
        else:
            self._serve()

    def _serve(self) -> None:
        self._answering = None
        if self._packets or self._closing:
            self._flush()
        elif self._engine.state is PROBING:
            self.make_way()

    def abandoned(self) -> None:
        """The client of the poll that waits is gone."""
        self._poll = None
        self.drop(1006, "")

    def answered(self, poll: Poll, done: bool) -> None:
        """A poll's answer is out; what one that failed had is lost, so the session is, too."""
        if poll is not self._answered:
            return
        self._answered = None
        if done:
            self._look()
        else:
            self.drop(1006, "")

    def too_big(self) -> None:
        """The client sends a body, or a packet in it, that is over the limit."""
        if not self._closing:
            self._context.counters["closed_too_big"] += 1
            self.drop(1009, "message too big")

    def post(self, body: bytes, done: Answer) -> None:
        """A client sends packets; the answer comes once they are taken."""
        if self._intake.busy:
            self._engine.fail("two bodies at once")
            done(None)
            return
        self.heard = True
        self._intake.take(body, done)

    # ------------------------------------------------------------------ as a carrier

    def send(self, opcode: int, data: bytes) -> None:
        """Keep a packet for the next poll."""
        if self._closing:
            return
        self._keep(opcode, data)
        if self.writable and self.backlog > self._context.high_water:
            self.writable = False
            self._context.stalls.add(self)
        if self._poll is not None and self._answering is None:
            self._answering = self._context.loop.call_later(GATHER, self._flush)

    def _keep(self, opcode: int, data: bytes) -> None:
        self._packets.append((opcode, data))
        self._size += len(data)

    def _flush(self) -> None:
        """Answer the poll that waits."""
        if self._answering is not None:
            self._answering.cancel()
            self._answering = None
        poll = self._poll
        if poll is None or not self._packets:
            return
        self._poll, self._answered = None, poll
        most = MAX_ANSWER
        if len(self._packets) > 1 and self._packets[-1] == (TEXT, CLOSE) and not self._broken:
            # socket.io-client loses what comes in one answer with it: it ends at once, and hands
            # over events a tick later.
            most = min(most, len(self._packets) - 1)
        poll.answer(encode_payload(self._take(most)))
        self._look()
        if self._closing and not self._packets:
            self._release()

    def _take(self, most: int) -> list[Packet]:
        packets = [self._packets.popleft() for _ in range(min(most, len(self._packets)))]
        self._size -= sum(len(data) for _, data in packets)
        return packets

    def _look(self) -> None:
        """Let senders go on if there is room again."""
        if not self.writable and self.backlog <= self._context.high_water:
            self.heard = True  # it took what was queued
            self.writable = True
            self._context.stalls.discard(self)
            if not self._closing:
                self._engine.writable()

    def close(self, code: int, reason: str) -> None:
        """End the session; what waits, and that it ends, goes out with the next poll.

        Who is to come again is told by the failure of a poll: to python-engineio's client the
        packet ``CLOSE`` is final.
        """
        if self._closing:
            return
        by_client = code == 1000 and self._intake.busy
        broken = self._broken = code in (1002, 1008)
        if by_client or code not in AGAIN:
            self._keep(TEXT, NOOP if by_client else CLOSE)
        self._end(code, reason)
        self._intake.answer(None if broken else b"ok")
        self._flush()
        if by_client or broken or not self._packets:
            self._release()
        elif not self._released:
            self._timer = self._context.loop.call_later(
                self._context.close_timeout or 1.0, self._release
            )

    def drop(self, code: int, reason: str) -> None:
        """End the session at once."""
        if not self._closing:
            self._packets = deque() if code in AGAIN else deque([(TEXT, CLOSE)])
            self._end(code, reason)
            self._intake.answer(None)
            self._flush()
        self._release()

    abort = drop

    def _end(self, code: int, reason: str) -> None:
        self._closing = True
        self.code = code
        self._context.pings.discard(self)
        self._context.stalls.discard(self)
        self._engine.disconnected(code, reason)

    def resume(self) -> None:
        """Go on with the body."""
        self._intake.resume()

    def upgrade(self) -> list[Packet]:
        """A WebSocket carries the engine from now on; returns what is left to be sent."""
        self._closing = True
        packets = self._take(len(self._packets))
        self._context.stalls.discard(self)
        self._keep(TEXT, NOOP)
        self._flush()
        self._release()
        return packets

    @property
    def busy(self) -> bool:
        """Whether a body is in hand, which must come before anything on another way."""
        return self._intake.busy

    def make_way(self) -> None:
        """End the poll that waits: the client tries a WebSocket."""
        if self._poll is not None:
            self._keep(TEXT, NOOP)
            self._flush()

    def _release(self) -> None:
        if self._released:
            return
        self._released = True
        if self._timer is not None:
            self._timer.cancel()
        poll, self._poll = self._poll, None
        if poll is not None:
            poll.answer(None)
        if self._answering is not None:
            self._answering.cancel()
        self._packets.clear()
        self._context.pings.discard(self)
        self._context.stalls.discard(self)
        self._context.counters["connections_closed"] += 1
        self._gone()
        self._context.released(self)

    # ------------------------------------------------------------------ for the timer

    @property
    def number(self) -> int:
        """Counts up from session to session."""
        return self._engine.conn

    @property
    def held(self) -> bool:
        """Whether silence means nothing: we do not go on, or it still takes the last answer."""
        return self.busy or self._unwritten < self._left

    @property
    def backlog(self) -> int:
        """Bytes that wait for the client."""
        return self._size + self._unwritten

    @property
    def _unwritten(self) -> int:
        return 0 if self._answered is None else self._answered.unwritten

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._left = self._unwritten
        self._engine.ping()

    def no_pong(self) -> None:
        """Give up a client that is gone."""
        self._context.counters["closed_no_pong"] += 1
        self.drop(1006, "no pong")

    def too_slow(self) -> None:
        """Give up a client that does not poll."""
        self._context.counters["closed_slow"] += 1
        self.drop(3008, "too slow")
