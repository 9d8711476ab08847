"""Who is to hear what workers and publishers say."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from ..wire.codec import ReplyBatch
from ..wire.messages import (
    Accept,
    Close,
    Emit,
    Failed,
    GatewayAnswer,
    GroupSend,
    Heartbeat,
    Hello,
    Identity,
    Info,
    Join,
    Leave,
    PublisherMessage,
    Refuse,
    Released,
    Reply,
    Resumed,
    Retiring,
    SaveSnapshot,
    Unknown,
)
from .counters import Counters
from .replies import Batch, Said
from .session import Session
from .sessions import Sessions
from .worker import Worker

__all__ = ["Dispatch", "Publishers", "Workers"]

logger = logging.getLogger("django_ws.gateway")

#: Foreign projects whose publications are logged as refused, each once.
MAX_LOGGED = 20

_ADVICE = 'give both the same DJANGO_WS["PROJECT"], or each project sockets of its own'


class Publishers(Protocol):
    """What serves publications and the requests of publishers."""

    def publish(self, message: GroupSend) -> None:
        """A handler publishes something."""

    def serve(self, identity: bytes, message: PublisherMessage) -> None:
        """Do what a message from the DEALER ``identity`` asks, and answer it."""


class Workers(Protocol):
    """What hears of a worker what concerns the whole of it."""

    def beat(self, worker: Worker, beat: Heartbeat) -> None: ...
    def retire(self, worker: Worker) -> None: ...


class Dispatch:
    """See the module.

    Args:
        project: of this gateway; publishers of others are refused.
        answer: sends an answer to a DEALER.
    """

    def __init__(
        self,
        project: str,
        sessions: Sessions,
        workers: Workers,
        publishers: Publishers,
        answer: Callable[[bytes, GatewayAnswer], None],
        counters: Counters,
    ) -> None:
        self._project = project
        self._sessions = sessions
        self._workers = workers
        self._publishers = publishers
        self._answer = answer
        self._counters = counters
        #: Foreign projects that were logged.
        self._foreign: set[str] = set()

    def worker_said(self, worker: Worker, message: Said) -> None:
        """Any message but :class:`.Send`."""
        # The frequent ones, before the others are told apart.
        if type(message) is SaveSnapshot:
            session = worker.sessions.get(message.conn)
            if session is not None:
                session.snapshot = message.snapshot
            return
        if type(message) is Emit:
            session = worker.sessions.get(message.conn)
            if session is not None:
                session.emit(message)
            return
        match message:
            case Unknown():
                self._counters["messages_unknown"] += 1
            case Heartbeat():
                self._workers.beat(worker, message)
            case GroupSend():
                self._publishers.publish(message)
            case Retiring():
                self._workers.retire(worker)
            case Hello():
                return
            case _ if isinstance(message, PublisherMessage):
                self._counters["replies_misplaced"] += 1
            case _:
                session = worker.sessions.get(message.conn)
                if session is not None:
                    self._said_of(worker, session, message)

    def _said_of(self, worker: Worker, session: Session, message: Said) -> None:
        """A worker's message about one of its connections."""
        match message:
            case Accept():
                self._sessions.accept(worker, session, message)
            case Refuse():
                session.refuse(message)
            case Close():
                session.close(message)
            case Join():
                self._sessions.join(session, message)
            case Leave():
                self._sessions.leave(session, message.group)
            case Released():
                session.given_back(message.snapshot)
            case Identity():
                self._sessions.identify(session, message.user, message.session)
            case Info():
                self._sessions.show(session, message.info)
            case Reply():
                session.reply(message)
            case Resumed():
                session.resumed(message)

    def from_publisher(self, identity: bytes, batch: ReplyBatch) -> Batch:
        """How a publisher's batch is worked off."""
        serve = self._serve
        if batch.project != self._project:
            serve = self._serve_nobody
            self._refuse(batch.project)
        return Batch(iter(batch.messages), {}, partial(serve, identity))

    def _serve(self, identity: bytes, message: Said) -> None:
        if isinstance(message, PublisherMessage):
            self._publishers.serve(identity, message)
        elif isinstance(message, Unknown):
            self._counters["messages_unknown"] += 1
        else:
            self._counters["replies_misplaced"] += 1

    def _refuse(self, project: str) -> None:
        """Say once that a project's publications go nowhere: who publishes need not ask."""
        if project not in self._foreign and len(self._foreign) < MAX_LOGGED:
            self._foreign.add(project)
            logger.error(
                "refused what the project %.100r publishes at this gateway of %r: %s",
                project,
                self._project,
                _ADVICE,
            )

    def _serve_nobody(self, identity: bytes, message: Said) -> None:
        """A publisher of another project."""
        self._counters["replies_misplaced"] += 1
        if isinstance(message, PublisherMessage) and message.request:
            words = f"this gateway serves the project {self._project!r}: {_ADVICE}"
            self._answer(identity, Failed(message.request, "wrong_project", words))
