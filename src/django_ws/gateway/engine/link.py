"""One server as a gateway sees it: it connects again and again, and remembers what is subscribed.

Commands of one turn of the loop leave together, and so do subscriptions: those first, so that
whatever is asked about a group afterwards is said when its publications already come. A server
pushes on the same connection on which it answers, so one order holds for everything.
"""

from __future__ import annotations

import asyncio
import enum
import random
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from ...store.calls import Call
from .base import Failure
from .resp import Error, Value, pack
from .wire import Reply, Wire

__all__ = ["UNKNOWN", "Link", "Links", "Operation"]

#: Seconds to connect, and for a reply until the connection counts as dead.
CONNECT_TIMEOUT = 2.0
REPLY_TIMEOUT = 3.0

#: Seconds that a command may wait for the server to be there.
PATIENCE = 2.0

#: Seconds between attempts to connect: the first and the longest, each made random.
FIRST_DELAY = 0.05
LONGEST_DELAY = 1.0

#: Commands that wait to be sent, and bytes of them. Policy: the newest is refused.
MAX_QUEUED = 20_000
MAX_QUEUED_BYTES = 64 * 1024 * 1024

#: Commands at most without a reply, and (un)subscriptions sent in one turn of the loop.
MAX_IN_FLIGHT = 2_000
TURN_SUBSCRIPTIONS = 1_000

#: Seconds between looks for what has waited too long.
LOOK = 0.25

#: Errors by which a server says that it is not the right one at the moment: nothing was done.
ELSEWHERE = ("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")

AWAY = Failure("engine_away", "the engine is away")
UNKNOWN = Failure("engine_unknown", "the engine went away before it answered")
BUSY = Failure("engine_busy", "too much waits for the engine")


class State(enum.Enum):
    """Of a link. ``DOWN → UP → LEAVING → DOWN``, and ``CLOSED`` from each."""

    DOWN = "down"
    UP = "up"
    #: What was reached is not the right server any more: only what it still owes is waited for.
    LEAVING = "leaving"
    CLOSED = "closed"


class Links(Protocol):
    """What a link tells; see :class:`Link`."""

    def up(self, link: Link) -> None:
        """It is connected, and everything is subscribed to anew."""

    def down(self, link: Link, reason: str) -> None:
        """It is not connected; called for each attempt."""

    def pushed(self, link: Link, message: list[Value]) -> None:
        """Something came that belongs to no command."""

    def read(self) -> None:
        """Everything that came in one piece has been told."""


class Owner(Links, Protocol):
    """What a link needs of whoever has it."""

    def moved(self, link: Link, operation: Operation, words: str) -> None:
        """Another server has these keys now (``MOVED``, ``ASK``)."""


class Operation:
    """A command on its way.

    Attributes:
        done: called exactly once, with the value or a failure.
        began: loop time.
        asking: a server that does not have the keys yet is to answer.
    """

    __slots__ = ("asking", "began", "call", "done", "in_full", "size")

    def __init__(
        self, call: Call[Any], done: Callable[[Any], None], began: float, size: int
    ) -> None:
        self.call = call
        self.done = done
        self.began = began
        self.size = size
        self.in_full = False
        self.asking = False

    def pack(self) -> bytes:
        """As bytes."""
        data = pack(self.call.command(in_full=self.in_full))
        return pack((b"ASKING",)) + data if self.asking else data


class Link:
    """See the module.

    Args:
        dial: connects; its argument makes the wire.
        owner: hears of everything.
    """

    def __init__(
        self,
        dial: Callable[[Callable[[], Wire]], Awaitable[Wire]],
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._dial = dial
        self._owner = owner
        self._loop = loop
        self._state = State.DOWN
        self._wire: Wire | None = None
        self._queue: deque[Operation] = deque()
        self._queued_bytes = 0
        self._wanted: set[bytes] = set()  # channels
        self._there: set[bytes] = set()  # of these those that were asked for on this wire
        self._changed: dict[bytes, None] = {}  # channels, in order; bounded by those there are
        self._confirming: dict[bytes, list[Callable[[], None]]] = {}
        self._flushing = False
        self._look_timer = loop.call_later(LOOK, self._look)
        self._task = loop.create_task(self._run())

    # ------------------------------------------------------------------ commands

    @property
    def connected(self) -> bool:
        """Whether what is said now leaves at once."""
        return self._state is State.UP

    @property
    def idle(self) -> bool:
        """Whether nothing waits for the server."""
        return not self._queue and (self._wire is None or not self._wire.in_flight)

    def call(self, call: Call[Any], done: Callable[[Any], None]) -> None:
        """Send a command.

        Args:
            done: gets what ``call.read`` makes of the reply, or a :class:`.Failure`.
        """
        size = sum(len(part) if isinstance(part, (bytes, str)) else 8 for part in call.parts)
        self.take(Operation(call, done, self._loop.time(), size))

    def take(self, operation: Operation, *, first: bool = False) -> None:
        """Send a command that another link may have had before.

        Args:
            first: before all that wait.
        """
        if self._state is State.CLOSED:
            operation.done(AWAY)
            return
        full = len(self._queue) >= MAX_QUEUED or self._queued_bytes >= MAX_QUEUED_BYTES
        if full and not first:
            operation.done(BUSY)
            return
        (self._queue.appendleft if first else self._queue.append)(operation)
        self._queued_bytes += operation.size
        self._flush_soon()

    def subscribe(self, channel: bytes) -> None:
        """Let what goes through a channel be pushed."""
        self._wanted.add(channel)
        self._changed[channel] = None
        self._flush_soon()

    def unsubscribe(self, channel: bytes) -> None:
        """Don't any more."""
        self._wanted.discard(channel)
        self._changed[channel] = None
        self._confirm(channel)
        self._flush_soon()

    def when_subscribed(self, channel: bytes, done: Callable[[], None]) -> None:
        """Call once a channel's messages come; it may be that they never do, but not for long."""
        if self._state is State.UP and channel in self._there and channel not in self._confirming:
            done()
        else:
            self._confirming.setdefault(channel, []).append(done)

    def close(self) -> None:
        """Say what is queued if that goes at once, and close the connection."""
        if self._state is State.UP:
            self._flush()
        self._state = State.CLOSED
        self._look_timer.cancel()
        self._task.cancel()
        if self._wire is not None:
            self._wire.close()
        self._fail_queue(AWAY)

    def abort(self, reason: str) -> None:
        """Cut the connection, and make another one."""
        if self._wire is not None:
            self._wire.abort(reason)

    # ------------------------------------------------------------------ the connection

    async def _run(self) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    wire = await self._dial(self._make_wire)
            except TimeoutError:
                self._owner.down(self, f"no answer within {CONNECT_TIMEOUT:g} s")
            except (OSError, Error, ValueError) as error:
                self._owner.down(self, str(error) or type(error).__name__)
            else:
                delay = FIRST_DELAY
                self._begin(wire)
                reason = await asyncio.shield(wire.lost)
                self._end(wire)
                self._owner.down(self, reason)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(2 * delay, LONGEST_DELAY)

    def _make_wire(self) -> Wire:
        return Wire(self._loop, partial(self._owner.pushed, self), self._owner.read)

    def _begin(self, wire: Wire) -> None:
        self._wire = wire
        self._state = State.UP
        self._there.clear()
        self._changed = dict.fromkeys(self._wanted)
        self._owner.up(self)
        self._flush_soon()

    def _end(self, wire: Wire) -> None:
        self._state = State.DOWN
        self._wire = None
        for waiting in wire.abandon():
            waiting(UNKNOWN)

    # ------------------------------------------------------------------ what leaves

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        wire = self._wire
        if self._state is not State.UP or wire is None or not wire.writable:
            return
        batch: list[tuple[bytes, Reply, bytes]] = []
        off = self._subscriptions(batch)
        if not self._changed:
            room = MAX_IN_FLIGHT - wire.in_flight
            while self._queue and room > 0:
                operation = self._queue.popleft()
                self._queued_bytes -= operation.size
                if operation.asking:
                    batch.append((b"", _ignore, b""))  # the reply to ASKING
                batch.append((operation.pack(), partial(self._replied, operation), b""))
                room -= 1
        batch += off  # who has said something and left may have said it to itself
        if batch:
            wire.send(batch)
        if self._changed:
            self._flush_soon()

    def _subscriptions(
        self, batch: list[tuple[bytes, Reply, bytes]]
    ) -> list[tuple[bytes, Reply, bytes]]:
        """Put what is to be subscribed to into the batch; returns what is not wanted any more."""
        off: list[tuple[bytes, Reply, bytes]] = []
        changed = self._changed
        for channel in list(changed)[:TURN_SUBSCRIPTIONS]:
            del changed[channel]
            wanted = channel in self._wanted
            if wanted == (channel in self._there):
                continue
            command = b"SSUBSCRIBE" if wanted else b"SUNSUBSCRIBE"
            item = (pack((command, channel)), partial(self._subscribed, channel, wanted), channel)
            if wanted:
                self._there.add(channel)
                self._confirming.setdefault(channel, [])
                batch.append(item)
            else:
                self._there.discard(channel)
                off.append(item)
        return off

    # ------------------------------------------------------------------ what comes

    def _subscribed(self, channel: bytes, wanted: bool, value: Value | Failure) -> None:
        if isinstance(value, Failure):
            return  # it is asked for again with the next connection
        if isinstance(value, Error):
            self._there.discard(channel)
            self._owner.down(self, str(value))
            self._leave()
        elif wanted:
            self._confirm(channel)

    def _confirm(self, channel: bytes) -> None:
        for done in self._confirming.pop(channel, ()):
            done()

    def _replied(self, operation: Operation, value: Value | Failure) -> None:
        self._more()
        if isinstance(value, Failure):
            operation.done(value)
        elif not isinstance(value, Error):
            operation.done(self._read(operation, value))
        elif value.code == "NOSCRIPT" and not operation.in_full:
            operation.in_full = True
            self.take(operation, first=True)
        elif value.code in ("MOVED", "ASK"):
            self._owner.moved(self, operation, str(value))
        elif value.code in ELSEWHERE:
            self._again(operation)
            self._leave()
        else:
            operation.done(Failure("engine_refused", str(value)))

    def _read(self, operation: Operation, value: Value) -> Any:
        try:
            return operation.call.read(value)
        except (TypeError, ValueError) as error:
            return Failure("engine_garbled", f"the engine said something else: {error}")

    def _again(self, operation: Operation) -> None:
        """Behind others that were refused before it, which is why order is kept by ``began``."""
        index = 0
        while index < len(self._queue) and self._queue[index].began <= operation.began:
            index += 1
        self._queue.insert(index, operation)
        self._queued_bytes += operation.size

    def _more(self) -> None:
        if self._queue:
            self._flush_soon()

    def _leave(self) -> None:
        """Look for the right server, once this one owes nothing more."""
        if self._state is State.UP:
            self._state = State.LEAVING
        if self._wire is not None and not self._wire.in_flight:
            self._wire.abort("it is not the one to write to")

    # ------------------------------------------------------------------ what takes too long

    def _look(self) -> None:
        now = self._loop.time()
        self._look_timer = self._loop.call_later(LOOK, self._look)
        if self._state is not State.UP or self._wire is None:
            queue = self._queue
            while queue and now - queue[0].began > PATIENCE:
                operation = queue.popleft()
                self._queued_bytes -= operation.size
                operation.done(AWAY)
            self._confirm_all()
        elif self._queue or self._changed:
            self._flush_soon()  # writing may have been held up
        wire = self._wire
        if wire is None:
            return
        if now - wire.waits_since() > REPLY_TIMEOUT:
            wire.abort(f"no answer within {REPLY_TIMEOUT:g} s")
        elif self._state is State.LEAVING and not wire.in_flight:
            wire.abort("it is not the one to write to")

    def _confirm_all(self) -> None:
        for channel in list(self._confirming):
            self._confirm(channel)

    def _fail_queue(self, failure: Failure) -> None:
        queue, self._queue = self._queue, deque()
        self._queued_bytes = 0
        for operation in queue:
            operation.done(failure)


def _ignore(value: Value) -> None:
    """Of no interest."""
