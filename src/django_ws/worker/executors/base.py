"""The contract of executors and what they share."""

from __future__ import annotations

import abc
import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import ClassVar, Protocol

import msgspec

from ...base import WebSocketHandler
from ...group_patterns import lookup
from ...options import GroupConfig, NamespaceConfig
from ...wire.messages import Event, GroupSend, Joined, Refuse
from ..connection import Link, WorkerConnection
from ..request import HandshakeRequest, Source
from ..ways import Ways

__all__ = ["CannotStart", "EventSource", "Executor", "ExecutorConfig", "HookRunner"]

logger = logging.getLogger("django_ws.worker")

#: Polls of 5 ms without an event after which hooks that still run count as long.
SILENT_POLLS = 20


class CannotStart(Exception):
    """The project does something that the mode cannot work with; the words say what to do."""


@dataclass(frozen=True)
class ExecutorConfig:
    """What executors and their connections need of the configuration.

    Attributes:
        pool_size: threads whose hooks may block at a time.
        max_pending: bytes that may be on their way to one connection.
        max_outgoing: bytes of the largest message a handler may send.
        send_timeout: seconds ``send`` waits for a client that does not read; 0 for ever.
        namespaces: by name; for the deadlines of their hooks.
        groups: which groups have a history, by pattern.
        reload: put edited templates and the like in force, in every process.
        shared: gateways share an engine, so one of them is enough for a publication.
    """

    pool_size: int = 256
    max_pending: int = 1024 * 1024
    max_outgoing: int = 1024 * 1024
    send_timeout: float = 10.0
    namespaces: Mapping[str, NamespaceConfig] = field(default_factory=dict)
    reload: bool = False
    groups: Mapping[str, GroupConfig] = field(default_factory=dict)
    shared: bool = False


class EventSource(Protocol):
    """Where events come from; one thread at a time may poll."""

    def poll(self, timeout: float) -> list[tuple[WorkerConnection, Event]]:
        """Receive events in order, waiting at most ``timeout`` seconds for the first."""

    def flush(self) -> None:
        """Send what is in the outboxes."""

    def running(self) -> bool:
        """Whether an event that was handed out is not handled yet."""

    def connections(self) -> list[WorkerConnection]:
        """All connections, as a copy."""

    def fail(self, reason: str) -> None:
        """Nothing can be run any more, so the worker has to end."""


class HookRunner:
    """What connections need of whatever runs their hooks (:class:`..connection.Runner`).

    Attributes:
        stopping: hooks that loop are to come to an end; set once.
    """

    def __init__(self, config: ExecutorConfig) -> None:
        self.max_outgoing = config.max_outgoing
        self.send_timeout = config.send_timeout
        self.stopping = False
        self.links: Sequence[Link] = ()
        self.shared = config.shared
        self._ways = Ways()
        self._options = lookup(config.groups)
        self._told: set[type[WebSocketHandler]] = set()  # set.add is atomic; told twice is no harm

    def sent(self, link: Link) -> None:
        """Something was put into the outbox from a hook or another thread."""
        link.flush()

    def has_history(self, group: str) -> bool:
        """Whether publications of a group have offsets."""
        options = self._options(group)
        return options is not None and options.history_size > 0

    def enter(self, link: Link | None) -> None:
        """A hook begins, or has ended; see :meth:`.Ways.enter`."""
        self._ways.enter(link)

    def way(self) -> Link | None:
        """The link for what is published now, where gateways share an engine."""
        return self._ways.find(self.links)

    def publish(self, link: Link, message: GroupSend) -> None:
        """Hand a publication of a connection on ``link`` to every gateway, or to one if they share
        an engine."""
        if self.shared:
            way = self.way() or link
            if way is not link and message.exclude:
                left_out = f"{link.gateway}-{message.exclude}"
                message = msgspec.structs.replace(message, exclude=0, left_out=left_out)
            self.publish_on(way, message)
        else:
            self.publish_on(link, message)
            self.publish_elsewhere(link, message)

    def publish_on(self, link: Link, message: GroupSend) -> None:
        """Hand a publication to one gateway."""
        link.put(message)
        self.sent(link)
        if link.congested:
            link.flush_all()  # this has no window, so here it is held up

    def publish_elsewhere(self, link: Link, message: GroupSend) -> None:
        """Hand a publication to the gateways that ``link`` does not lead to."""
        if self.shared:
            return
        for other in self.links:
            if other is not link and other.up:
                self.publish_on(other, msgspec.structs.replace(message, exclude=0))

    @contextlib.contextmanager
    def parked(self) -> Iterator[None]:
        """Around what lets a hook wait for its browser or for time to pass."""
        yield

    def here(self) -> object:
        """What the running thread is called in ``WorkerConnection.thread``."""
        return threading.get_ident()

    def frame_of(self, thread: object) -> FrameType | None:
        """The innermost frame of the thread that runs a connection's hook."""
        return sys._current_frames().get(thread) if isinstance(thread, int) else None

    def cannot_move(self, handler_class: type[WebSocketHandler], reason: str) -> None:
        """Say once per class why its connections are closed when a worker is replaced."""
        if handler_class not in self._told:
            self._told.add(handler_class)
            logger.warning(
                "%s has no on_restore(), and no other worker can go on with it: %s. Its "
                "connections are closed with 1012 when their worker is replaced. Attributes of "
                "plain types move by themselves; make others, and take up loops, in on_restore().",
                handler_class.__qualname__,
                reason,
            )


class Executor(HookRunner, abc.ABC):
    """Runs the hooks of every connection: one at a time and in order for each, in parallel for all.

    Attributes:
        patient: nobody looks often at what waits in the outboxes; the receiving thread's.
    """

    name: ClassVar[str]

    def __init__(self, source: EventSource, config: ExecutorConfig) -> None:
        super().__init__(config)
        self.source = source
        self.config = config
        self.patient = True
        self._silent = 0  # polls in a row without an event; the receiving thread's

    # ------------------------------------------------------------------ for the worker

    @abc.abstractmethod
    def start(self) -> None:
        """Begin to receive and run; returns at once."""

    def saturated(self) -> bool:
        """Whether there is nothing left to run a new connection's hooks with."""
        return False

    def retire(self) -> None:
        """Ask hooks that loop to end."""
        self.stopping = True
        for connection in self.source.connections():
            connection.wake()

    @abc.abstractmethod
    def stop(self, timeout: float) -> bool:
        """End all threads.

        Args:
            timeout: seconds for hooks that still run.

        Returns:
            False if some still do.
        """

    def user_source(self, connection: WorkerConnection) -> Source:
        """What the user of a connection comes from. Any thread may ask."""
        request = connection.loaded_request
        if request is None:
            request = HandshakeRequest(connection.handshake, connection.handover.user)
        return request.source

    # ------------------------------------------------------------------ for subclasses

    def poll(self, timeout: float) -> list[tuple[WorkerConnection, Event]]:
        """Receive events; whatever goes wrong with that, its thread has to go on."""
        try:
            return self.source.poll(timeout)
        except Exception:
            logger.exception("receiving events failed")
            time.sleep(0.1)
            return []

    def receive(self, busy: bool) -> list[tuple[WorkerConnection, Event]]:
        """Receive events, looking often while hooks run, since bare acknowledgements leave from
        here. But not for ever because of one that loops: from then on whoever has run a hook sends
        them itself.

        Args:
            busy: hooks run.
        """
        # In this order: whoever still finds it False has put what the poll sends first.
        self.patient = not busy or self._silent >= SILENT_POLLS
        events = self.poll(0.2 if self.patient else 0.005)
        if events:
            self.patient = False  # the next look comes at once, behind what these events begin
            self._silent = 0
        else:
            self._silent += 1
        return events

    def guarded(self, loop: Callable[[], None]) -> None:
        """Run the loop of a thread that the worker cannot do without."""
        try:
            loop()
        except BaseException:
            name = threading.current_thread().name
            logger.exception("the thread %s came to grief", name)
            self.source.fail(f"its thread {name} came to grief")

    def give_up(self, connection: WorkerConnection) -> None:
        """An event could not be run, by no fault of its handler; call it where that was caught.

        The gateway closes the connection 1012, or refuses it, and lets another worker end it.
        """
        logger.exception("%s: connection %s failed", connection.namespace, connection.id)
        connection.turn_away(Refuse(connection.conn, 500, ""))

    # ------------------------------------------------------------------ for the receiver

    def joined(self, connection: WorkerConnection, event: Joined) -> None:
        """The gateway has made a connection a member of a group, as it asked."""
        connection.joined(event)

    def confirm(self, connection: WorkerConnection, size: int) -> None:
        """The client has read: open the connection's send window by ``size`` bytes."""
        connection.confirmed(size)
