"""Turns batches of events into (connection, event) pairs, and keeps track of the gateways."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from ..base import WebSocketHandler
from ..transport.events import EventsReceiver
from ..wire.codec import EventBatch, WireError, decode_events
from ..wire.messages import (
    Confirm,
    Connect,
    Disconnect,
    Event,
    Joined,
    Message,
    Refuse,
    Release,
    Restore,
    Revalidate,
    Unknown,
    Welcome,
)
from ..wire.projects import foreign_home
from .connection import Link, Runner, WorkerConnection

__all__ = ["LinkBroken", "Receiver"]

logger = logging.getLogger("django_ws.worker")


class Executor(Runner, Protocol):
    """What runs the hooks of the connections that arrive here."""

    def confirm(self, connection: WorkerConnection, size: int) -> None:
        """The client has read: open the connection's send window by ``size`` bytes."""

    def joined(self, connection: WorkerConnection, event: Joined) -> None:
        """The gateway has made a connection a member of a group."""


Pairs = list[tuple[WorkerConnection, Event]]

#: Seconds without a batch after a gateway's end, until all that it had passed on has come.
LOST_AFTER = 0.3

#: Behind whatever a gateway that is gone had sent.
LAST_SEQ = 2**62

#: Seconds for which replies may wait for those to events that have come meanwhile.
REPLY_AFTER = 0.0005

#: Seconds to wait for a gateway that takes no replies, before looking what others have sent.
ROOM_WITHIN = 0.002


class LinkBroken(Exception):
    """A batch of events is missing: this worker cannot know what it lost, so it must end."""


class Receiver:
    """The receiving side of a worker; one thread at a time polls.

    Args:
        events: the bound PULL.
        links: the gateways, by the index that :class:`.Hello` names.
        handlers: handler class by namespace.
        project: batches of another one are refused.
        home: likewise, of gateways that tell theirs.
        on_broken: called once, with the reason, when this worker has to end.

    Attributes:
        executor: set before the first poll.
        revalidate: told of a connection whose user may have changed; set before the first poll.
        messages: those of browsers given to the executor in all.
        unknown: messages of newer gateways that were skipped.
        links: the gateways; an item is replaced when a gateway is lost, by the receiving thread.
    """

    executor: Executor
    revalidate: Callable[[WorkerConnection], None]

    def __init__(
        self,
        events: EventsReceiver,
        links: list[Link],
        handlers: Mapping[str, type[WebSocketHandler]],
        project: str,
        on_broken: Callable[[str], None],
        home: str = "",
    ) -> None:
        self._events = events
        self.links = links
        self._handlers = handlers
        self._project = project
        self._home = home
        self._on_broken = on_broken
        self._by_gateway: dict[str, Link] = {}  # of the receiving thread
        self._refused: set[str] = set()  # of the receiving thread; bounded, see _refuse
        self._broken = False
        self.messages = 0
        self.unknown = 0
        self._unknown_tags: set[int] = set()  # of the receiving thread; bounded
        self._flushed = 0.0
        self._several = False  # events came in the last turn; of the receiving thread
        self._dying: list[Link] = []  # lost, but hooks still run; of the receiving thread
        # Hooks to be run; each connection once, so bounded by them. Appended to by any thread.
        self._user_changes: deque[WorkerConnection] = deque()

    # ------------------------------------------------------------------ for executors

    def poll(self, timeout: float) -> Pairs:
        """Receive events in order, waiting at most ``timeout`` seconds for the first."""
        pairs: Pairs = []
        for data in self._receive(timeout):
            try:
                self._batch(data, pairs)
            except LinkBroken as error:
                self._broken = True
                self._on_broken(str(error))
                break
        while self._user_changes:
            connection = self._user_changes.popleft()
            connection.link.handed_out += 1
            pairs.append((connection, Revalidate(connection.conn)))
        for index, link in enumerate(self.links):
            if link.gone and time.monotonic() - link.seen > LOST_AFTER:
                self._lost(link, pairs)
                self._dying = [old for old in self._dying if old.connections]
                self._dying.append(link)
                self.links[index] = link.successor()
        self._several = len(pairs) > 1
        return pairs

    def _receive(self, timeout: float) -> list[bytes]:
        """Take what has come meanwhile before replying to what came before: larger batches cost
        less. But replies never wait for long, and never while there is nothing else to do."""
        if self._broken:
            self.flush()
            time.sleep(min(timeout, 0.05))  # lets the others run that end this worker
            return []
        if self._several and time.monotonic() - self._flushed < REPLY_AFTER:
            batches = self._events.receive(0.0)
            if batches:
                return batches
        self.flush()
        full = [link for link in self.links if link.full]
        if not full:
            return self._events.receive(timeout)
        # Other gateways have something to say meanwhile. What this one says is bounded by its
        # credit, which does not return either.
        batches = self._events.receive(0.0)
        if not batches:
            for link in full:
                link.wait_for_room(ROOM_WITHIN)
        return batches or self._events.receive(0.0)

    def flush(self) -> None:
        """Send what is in the outboxes."""
        self._flushed = time.monotonic()
        for link in self.links:
            link.flush()

    def running(self) -> bool:
        """Whether an event that was handed out is not handled yet."""
        return any(link.handed_out != link.handled for link in self.links)

    def connections(self) -> list[WorkerConnection]:
        """All connections, as a copy."""
        # list() of a dict's values is one operation under the GIL.
        links = [*self.links, *self._dying]
        return [connection for link in links for connection in list(link.connections.values())]

    def user_changed(self, connection: WorkerConnection) -> None:
        """See :class:`.revalidation.Connections`."""
        if not connection.user_changes:
            connection.user_changes = True
            self._user_changes.append(connection)

    def fail(self, reason: str) -> None:
        """Nothing can be run any more, so the worker has to end."""
        self._on_broken(reason)

    # ------------------------------------------------------------------ batches

    def _batch(self, data: bytes, pairs: Pairs) -> None:
        try:
            batch = decode_events(data)
        except WireError as error:
            logger.error("dropped what came on the events link: %s", error)
            return
        if batch.receiver != self.links[0].incarnation:
            return  # for somebody else who had named this endpoint as its own
        link = self._by_gateway.get(batch.sender)
        if link is None:
            link = self._welcomed(batch)
            if link is None:
                return
        if batch.number != link.expected:
            raise LinkBroken(
                f"batch {link.expected} of gateway {batch.sender} is missing (got {batch.number})"
            )
        link.seen = time.monotonic()
        before = len(pairs)
        others = 0  # events that are no messages
        connections = link.connections
        for event in batch.messages:
            if type(event) is Message:
                connection = connections.get(event.conn)
                if connection is not None:
                    pairs.append((connection, event))
            else:
                size = len(pairs)
                self._other(link, event, pairs)
                others += len(pairs) - size
        link.handed_out += len(pairs) - before
        self.messages += len(pairs) - before - others
        link.arrived(batch.number, len(data))

    def _other(self, link: Link, event: Event | Unknown, pairs: Pairs) -> None:
        if isinstance(event, Unknown):
            self._unknown(event)
            return
        if isinstance(event, (Connect, Restore)):
            self._begin(link, event, pairs)
            return
        if isinstance(event, Welcome):
            return
        if isinstance(event, Release) and not event.conn:
            link.drained = True
            return
        connection = link.connections.get(event.conn)
        if connection is None:
            return  # refused or released meanwhile; the gateway knows by now, or soon
        if isinstance(event, Confirm):
            self.executor.confirm(connection, event.size)
            return
        if isinstance(event, Joined):
            self.executor.joined(connection, event)
            return
        if isinstance(event, Revalidate):
            self.revalidate(connection)
            return
        if isinstance(event, Disconnect):
            connection.ended(event)
        pairs.append((connection, event))

    def _begin(self, link: Link, event: Connect | Restore, pairs: Pairs) -> None:
        handler_class = self._handlers.get(event.namespace)
        if handler_class is None:
            # The gateway goes by the newest announcement, so this is a matter of a moment.
            link.put(Refuse(event.conn, 404, "unknown namespace"))
            return
        connection = WorkerConnection(
            event.conn, event.namespace, event.handshake, handler_class, link, self.executor
        )
        if isinstance(event, Restore):
            connection.restored(event)
        link.connections[event.conn] = connection
        pairs.append((connection, event))

    def _unknown(self, event: Unknown) -> None:
        """A newer gateway said what is new in its release."""
        self.unknown += 1
        if event.tag not in self._unknown_tags and len(self._unknown_tags) < 100:
            self._unknown_tags.add(event.tag)
            logger.warning(
                "skipped a message of a newer gateway (tag %d): this worker does not know it",
                event.tag,
            )

    # ------------------------------------------------------------------ gateways

    def _welcomed(self, batch: EventBatch) -> Link | None:
        project, gateway = batch.project, batch.sender
        first = batch.messages[0] if batch.messages else None
        if project != self._project:
            self._refuse(
                gateway,
                f"it serves the project {project!r}, not {self._project!r}; give each project "
                "sockets of its own, or both the same PROJECT",
            )
            return None
        if not isinstance(first, Welcome):
            self._refuse(gateway, "it did not introduce itself")
            return None
        if first.home and self._home and first.home != self._home:
            self._refuse(gateway, foreign_home(first.home, self._home))
            return None
        link = self.links[first.link % len(self.links)]
        if first.link != link.number:
            return None  # meant for a time before the link was down; another one will come
        if link.gateway:
            self._refuse(gateway, "another one is on its link")
            return None
        self._by_gateway[gateway] = link
        link.expected = batch.number
        link.welcome(gateway, first.max_pending, batch.version)
        if first.link != link.number:
            link.gone = True  # it went down meanwhile, which the main thread could not put here
        return link

    def _refuse(self, gateway: str, reason: str) -> None:
        if gateway not in self._refused and len(self._refused) < 100:
            self._refused.add(gateway)
            logger.error("ignoring gateway %s: %s", gateway, reason)

    def _lost(self, link: Link, pairs: Pairs) -> None:
        """A gateway is gone, and so are its browsers: close what it had."""
        level = logging.DEBUG if self.executor.stopping else logging.WARNING
        logger.log(level, "gateway %s is gone", link.gateway)
        self._by_gateway.pop(link.gateway, None)
        for connection in list(link.connections.values()):
            event = Disconnect(connection.conn, LAST_SEQ, 1006, "the gateway is gone")
            connection.ended(event)
            pairs.append((connection, event))
