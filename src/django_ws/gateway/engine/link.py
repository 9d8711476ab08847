"""One server as a gateway sees it: it connects again and again, and remembers what is subscribed.

Commands of one turn of the loop leave together, and so do subscriptions: those first, so that
whatever is asked about a group afterwards is said when its publications already come. A server
pushes on the same connection on which it answers, so one order holds for everything.
"""

from __future__ import annotations

import asyncio
import enum
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from ...store.calls import Call
from ...store.forms import FormError
from .base import Failure
from .operations import AWAY, UNKNOWN, Operation, Queue, too_long
from .resp import Error, Value, pack
from .subscriptions import Subscriptions
from .wire import Reply, Wire

__all__ = ["Link", "Links", "Owner"]

#: Seconds to connect, and until a connection on which nothing of a reply comes counts as dead.
CONNECT_TIMEOUT = 2.0
REPLY_TIMEOUT = 3.0

#: Seconds in which nothing comes after which nobody is to wait until the server has taken more.
SILENT = 0.5

#: Seconds between attempts to connect: the first and the longest, each made random.
FIRST_DELAY = 0.05
LONGEST_DELAY = 1.0

#: Commands at most without a reply, and bytes of replies that may be large. A server cuts off a
#: listener that has not read 32 MB (``client-output-buffer-limit``), replies among them, and the
#: same would be asked of the next connection, and so for ever.
MAX_IN_FLIGHT = 2_000
MAX_ANSWERS = 16 * 1024 * 1024

#: Seconds between looks for what has waited too long.
LOOK = 0.25

#: Errors by which a server says that it is not the right one at the moment: nothing was done.
ELSEWHERE = ("LOADING", "READONLY", "MASTERDOWN")

#: Errors of a cluster that is about to be well again, and seconds until the next try.
SOON = ("CLUSTERDOWN", "TRYAGAIN")
SOON_DELAY = 0.05


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

    def down(self, link: Link | None, reason: str) -> None:
        """It is not connected, or no server is known; called for each attempt."""

    def pushed(self, link: Link, message: list[Value]) -> None:
        """Something came that belongs to no command."""

    def read(self) -> None:
        """Everything that came in one piece has been told."""


class Owner(Links, Protocol):
    """What a link needs of whoever has it."""

    def moved(self, link: Link, operation: Operation | None, words: str) -> None:
        """Another server has these keys now, or those of a channel (``MOVED``, ``ASK``)."""


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
        self._down_since = loop.time()
        self._wire: Wire | None = None
        self._queue = Queue()
        self._answers = 0  # bytes that the server may owe
        self._subscriptions = Subscriptions()
        self._flushing = False
        self._look_timer = loop.call_later(LOOK, self._look)
        self._task = loop.create_task(self._run())

    # ------------------------------------------------------------------ commands

    @property
    def connected(self) -> bool:
        """Whether what is said now leaves at once."""
        return self._state is State.UP

    @property
    def hopeless(self) -> bool:
        """Whether it has been away for longer than anybody waits."""
        return self._state is State.DOWN and too_long(self._down_since, self._loop.time())

    @property
    def idle(self) -> bool:
        """Whether nothing waits for the server."""
        return not self._queue and (self._wire is None or not self._wire.in_flight)

    @property
    def load(self) -> float:
        """How full the queue of a server is that takes what it can, from 0 to 1."""
        wire = self._wire
        if self._state is not State.UP or wire is None:
            return 0.0
        silent = self._loop.time() - wire.silent_since() > SILENT
        return 0.0 if silent else self._queue.load

    def call(self, call: Call[Any], done: Callable[[Any], None]) -> None:
        """Send a command.

        Args:
            done: gets what ``call.read`` makes of the reply, or a :class:`.Failure`.
        """
        self.take(Operation(call, done, self._loop.time()))

    def take(self, operation: Operation) -> None:
        """Send a command that another link may have had before."""
        if self._state is State.CLOSED:
            operation.done(AWAY)
        else:
            self._queue.add(operation)
            self._flush_soon()

    def give_back(self, bucket: int) -> list[Operation]:
        """What waits here for a bucket that another server has now."""
        return self._queue.take_of(bucket)

    def subscribe(self, channel: bytes) -> None:
        """Let what goes through a channel be pushed."""
        self._subscriptions.add(channel)
        self._flush_soon()

    def unsubscribe(self, channel: bytes) -> None:
        """Don't any more."""
        self._subscriptions.discard(channel)
        self._flush_soon()

    def taken_away(self, channel: bytes) -> None:
        """See :meth:`.Subscriptions.taken_away`."""
        self._subscriptions.taken_away(channel)

    def forget(self, channel: bytes) -> None:
        """See :meth:`.Subscriptions.forget`."""
        self._subscriptions.forget(channel)

    def when_subscribed(self, channel: bytes, done: Callable[[], None]) -> None:
        """Call once a channel's messages come; it may be that they never do, but not for long."""
        self._subscriptions.when_confirmed(channel, done)

    def close(self) -> None:
        """Say what is queued if that goes at once, and close the connection."""
        if self._state is State.UP:
            self._flush()
        self._state = State.CLOSED
        self._look_timer.cancel()
        self._task.cancel()
        if self._wire is not None:
            self._wire.close()
        for operation in self._queue.take_all():
            operation.done(AWAY)

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
        self._subscriptions.anew()
        self._owner.up(self)
        self._flush_soon()

    def _end(self, wire: Wire) -> None:
        self._state = State.DOWN
        self._down_since = self._loop.time()
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
        changes = self._subscriptions.take()
        for channel in changes.on:
            take = partial(self._subscribed, channel)
            batch.append((pack(("SSUBSCRIBE", channel)), take, channel))
        if not self._subscriptions.changed:
            room = MAX_IN_FLIGHT - wire.in_flight
            while self._queue and room > 0:
                if self._answers and self._answers + self._queue.answer > MAX_ANSWERS:
                    break
                operation = self._queue.take()
                self._answers += operation.call.answer
                if operation.asking:
                    batch.append((b"", _ignore, b""))  # the reply to ASKING
                batch.append((operation.pack(), partial(self._replied, operation), b""))
                room -= 1
        for channel in changes.off:
            batch.append((pack(("SUNSUBSCRIBE", channel)), _ignore, channel))
        if batch:
            wire.send(batch)
        if self._subscriptions.changed:
            self._flush_soon()

    # ------------------------------------------------------------------ what comes

    def _subscribed(self, channel: bytes, value: Value | Failure) -> None:
        if isinstance(value, Failure):
            return  # it is asked for again with the next connection
        if not isinstance(value, Error):
            self._subscriptions.confirm(channel)
            return
        self._subscriptions.taken_away(channel)
        if value.code == "MOVED":
            self._owner.moved(self, None, str(value))
        else:
            self._owner.down(self, str(value))
            self._leave()

    def _replied(self, operation: Operation, value: Value | Failure) -> None:
        self._answers -= operation.call.answer
        if self._queue:
            self._flush_soon()
        if isinstance(value, Failure):
            operation.done(value)
        elif not isinstance(value, Error):
            operation.done(self._read(operation, value))
        elif value.code == "NOSCRIPT" and not operation.in_full:
            operation.in_full = True
            self._again(operation)
        elif value.code in ("MOVED", "ASK"):
            self._owner.moved(self, operation, str(value))
        elif value.code in SOON and operation.late(self._loop.time()):
            operation.done(AWAY)
        elif value.code in SOON:
            self._loop.call_later(SOON_DELAY, self._again, operation)
        elif value.code in ELSEWHERE:
            self._again(operation)
            self._leave()
        else:
            operation.done(Failure("engine_refused", str(value)))

    def _read(self, operation: Operation, value: Value) -> Any:
        try:
            return operation.call.read(value)
        except FormError as error:  # somebody else has written there
            return Failure("engine_garbled", f"what stands in the engine is not ours: {error}")
        except (TypeError, ValueError) as error:
            self.abort("it answers something else than it was asked")
            return Failure("engine_garbled", f"the engine said something else: {error}")

    def _again(self, operation: Operation) -> None:
        """It was refused, so nothing of it was done."""
        self._queue.add_again(operation)
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
            for operation in self._queue.take_late(now):
                operation.done(AWAY)
            self._subscriptions.confirm_all()
        elif self._queue or self._subscriptions.changed:
            self._flush_soon()  # writing may have been held up
        wire = self._wire
        if wire is None:
            return
        if now - wire.silent_since() > REPLY_TIMEOUT:  # large ones may take longer
            wire.abort(f"no answer within {REPLY_TIMEOUT:g} s")
        elif self._state is State.LEAVING and not wire.in_flight:
            wire.abort("it is not the one to write to")


def _ignore(value: Value) -> None:
    """Of no interest."""
