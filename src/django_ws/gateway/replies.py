"""Reads the replies link, a part of what is there in each turn of the loop.

Everything is worked off in the order it came, group messages included. So each connection gets its
own messages and those of its groups in the order in which they were said, and what cannot be
delivered yet stays with the workers: their queues fill, and they wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Protocol

from ..transport.replies import RepliesReceiver
from ..wire.codec import ReplyBatch, WireError, decode_replies
from ..wire.messages import PublisherMessage, Send, Unknown, WorkerMessage
from .counters import Counters
from .deliveries import Turn
from .session import Session

__all__ = ["Batch", "Fanout", "Replies", "Said"]

logger = logging.getLogger("django_ws.gateway.workers")

Said = WorkerMessage | PublisherMessage | Unknown

#: Of one turn of the loop: batches, messages and deliveries, bytes.
TURN_BATCHES = 32
TURN_DELIVERIES = 1000
TURN_BYTES = 1024 * 1024
#: Batches to read at most before what was to happen after them does.
LAST_BATCHES = 2048


class Fanout(Protocol):
    """What group messages leave through.

    Attributes:
        published: those that have not all left yet.
        held_up: nothing more is to be taken on at the moment.
    """

    @property
    def published(self) -> Sized: ...
    @property
    def held_up(self) -> bool: ...
    def deliver(self, turn: Turn) -> bool:
        """Deliver as much as the turn allows. False if something is left."""


@dataclass(slots=True)
class Batch:
    """One that is being worked off.

    Attributes:
        messages: the rest of them.
        sessions: whose :class:`.Send` it may have, by number.
        handle: takes all other messages.
    """

    messages: Iterator[Said]
    sessions: Mapping[int, Session]
    handle: Callable[[Said], None]


class Replies:
    """Reads one replies link.

    Args:
        receiver: the link.
        begin: called with each batch and the identity of its DEALER; tells how to work it off, or
            ``None`` if there is nothing to it.
    """

    def __init__(
        self,
        receiver: RepliesReceiver,
        begin: Callable[[bytes, ReplyBatch], Batch | None],
        fanout: Fanout,
        loop: asyncio.AbstractEventLoop,
        counters: Counters,
    ) -> None:
        self._receiver = receiver
        self._begin = begin
        self._fanout = fanout
        self._loop = loop
        self._counters = counters
        self._batch: Batch | None = None
        self._scheduled = False
        self._running = False
        self._closed = False
        self._held = False
        # What is to happen behind everything that is there now, and how long that may take.
        self._afterwards: list[Callable[[], None]] = []
        self._last = 0
        loop.add_reader(receiver.fileno(), self.turn)
        self.go_on()

    def go_on(self) -> None:
        """Look in the next turn of the loop.

        The descriptor is edge-triggered: it does not fire for what is already there, and whatever
        else is done with the socket may have used the edge up.
        """
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self._loop.call_soon(self.turn)

    def afterwards(self, callback: Callable[[], None]) -> None:
        """Call once all that has come is worked off: now, unless that takes a while."""
        self._afterwards.append(callback)
        self._last = LAST_BATCHES
        self.turn()

    def turn(self) -> None:
        """Work off a part of what is there."""
        self._scheduled = False
        if self._running or self._closed:
            return
        self._running = True
        try:
            done = self._work(Turn(TURN_DELIVERIES, TURN_BYTES))
        finally:
            self._running = False
        if done or (self._afterwards and self._last <= 0):
            afterwards, self._afterwards = self._afterwards, []
            for callback in afterwards:
                callback()
        idle = self._held and not self._fanout.published
        if not done and not idle and not self._fanout.held_up:
            self.go_on()

    def hold(self, held: bool) -> None:
        """Take nothing more on, but deliver, or go on."""
        self._held = held
        if not held:
            self.go_on()

    @property
    def held(self) -> bool:
        """See :meth:`hold`."""
        return self._held

    def close(self) -> None:
        """Read no more, and close the link."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._receiver.fileno())
            self._receiver.close()

    # ------------------------------------------------------------------ one turn

    def _work(self, turn: Turn) -> bool:
        """Whether everything that is there is worked off."""
        for _ in range(TURN_BATCHES):
            if self._fanout.held_up or not self._finish(turn) or turn.over:
                return False
            item = self._receiver.receive()
            if item is None:
                return True
            self._last -= 1
            self._batch = self._read(*item, turn)
        return False

    def _read(self, identity: bytes, data: bytes, turn: Turn) -> Batch | None:
        try:
            batch = decode_replies(data)
            turn.spend(len(batch.messages), len(data))
            return self._begin(identity, batch)
        except WireError as error:
            self._counters["replies_undecodable"] += 1
            logger.error("dropped what came on the replies link: %s", error)
        except Exception:
            self._failed()
        return None

    def _finish(self, turn: Turn) -> bool:
        """Work off the batch at hand. False if some of it is left."""
        fanout, batch = self._fanout, self._batch
        if not fanout.deliver(turn) or self._held:
            return False
        published = fanout.published
        while batch is not None:
            sessions, handle = batch.sessions, batch.handle
            try:
                for message in batch.messages:
                    if type(message) is Send:
                        session = sessions.get(message.conn)
                        if session is not None:
                            session.send(message)
                    else:
                        handle(message)
                        if self._held or (
                            published and (not fanout.deliver(turn) or fanout.held_up)
                        ):
                            return False
                batch = self._batch = None
            except Exception:
                self._failed()  # the others in the batch are none the worse for it
        return True

    def _failed(self) -> None:
        self._counters["replies_failed"] += 1
        logger.exception("something that came on the replies link failed")
