"""Looks again whether connections may stay: when a gateway asks, and every so often by itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from django.db.models import Model

from .. import auth
from ..base import WebSocketHandler
from ..staying import LOGGED_OUT
from . import hygiene
from .connection import WorkerConnection
from .looks import Look
from .request import Source

__all__ = ["Revalidation"]

logger = logging.getLogger("django_ws.worker")

#: Parts of the interval in which all connections are looked at once.
PARTS = 64

#: Seconds after which what could not be looked at is tried again.
AGAIN = 1.0


class Connections(Protocol):
    """Where connections are, and where a hook of theirs is asked for."""

    def connections(self) -> list[WorkerConnection]:
        """All connections, as a copy."""

    def user_changed(self, connection: WorkerConnection) -> None:
        """Let ``on_user_changed`` run in its turn. Any thread may call."""


class Revalidation:
    """A thread (a greenlet with gevent) of its own, since it reads sessions and users.

    What waits for it is a set: a connection that is in it already is not put in again, so it is
    bounded by the connections.

    Args:
        interval: seconds in which each connection is looked at once, whether or not anything is
            known to have changed; 0 for never.
        source: what the user of a connection comes from.
        now: seconds of some clock that goes on evenly.
    """

    def __init__(
        self,
        interval: float,
        connections: Connections,
        source: Callable[[WorkerConnection], Source],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval = interval
        self._connections = connections
        self._source = source
        self._now = now
        self._lock = threading.Lock()
        self._asked: dict[WorkerConnection, None] = {}  # guarded by _lock
        self._turn = now() / interval if interval else 0.0
        self._failing = False
        self._ended = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ws-revalidate", daemon=True)

    # ------------------------------------------------------------------ any thread

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End the thread.

        Args:
            timeout: seconds for a look that is at hand.
        """
        self._ended = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def ask(self, connection: WorkerConnection) -> None:
        """The user of a connection may have changed."""
        with self._lock:
            self._asked[connection] = None
        self._wake.set()

    # ------------------------------------------------------------------ its thread

    def _run(self) -> None:
        pause = self._interval / PARTS if self._interval else None
        while not self._ended:
            self._wake.wait(AGAIN if self._failing else pause)
            self._wake.clear()
            try:
                self.look()
            except Exception:
                logger.exception("looking who may stay failed")
        hygiene.end_of_thread()

    def look(self) -> None:
        """Look at those whose users may have changed, and at those whose turn it is."""
        with self._lock:
            asked, self._asked = self._asked, {}
        turn = [each for each in self._whose_turn() if each not in asked]
        if not asked and not turn:
            return
        if not hygiene.thread.begun:
            hygiene.begin()
        try:
            self._look_at([*asked, *turn], asked)
        finally:
            if self._interval:
                hygiene.tidy()
            else:
                hygiene.give_back()

    def _whose_turn(self) -> Sequence[WorkerConnection]:
        """Each has its moment in the interval, so that it is never many at once."""
        if not self._interval:
            return ()
        begin, self._turn = self._turn, self._now() / self._interval
        passed = self._turn - begin
        return [
            connection
            for connection in self._connections.connections()
            if (_moment(connection.conn) - begin) % 1.0 < passed
        ]

    def _look_at(
        self, connections: Sequence[WorkerConnection], asked: dict[WorkerConnection, None]
    ) -> None:
        look = Look()
        failed: list[WorkerConnection] = []
        for connection in connections:
            if connection.closing or not connection.owner[0] or self._ended:
                continue
            try:
                self._look_at_one(look, connection, connection in asked)
            except Exception as error:
                if not failed:
                    (logger.debug if self._failing else logger.error)(
                        "cannot look who may stay; trying again: %s", error, exc_info=error
                    )
                    hygiene.tidy()
                failed.append(connection)
                if len(failed) >= 10:  # it is not this one's affair
                    break
        self._failing = bool(failed)
        if failed:
            with self._lock:
                rest = connections[connections.index(failed[0]) :]
                self._asked.update(dict.fromkeys(each for each in rest if each in asked))

    def _look_at_one(self, look: Look, connection: WorkerConnection, asked: bool) -> None:
        user = look.find(self._source(connection))
        if user is None:
            connection.close(*LOGGED_OUT)
            return
        seen, connection.user_seen = connection.user_seen, _print(user, connection.handler_class)
        if asked or seen != connection.user_seen or not self._may_go_on(connection, user):
            self._connections.user_changed(connection)

    def _may_go_on(self, connection: WorkerConnection, user: Any) -> bool:
        """Whether the user passes the tests of decorators still: no signal tells of what these may
        ask. If not, the same check in the connection's turn closes it."""
        return not isinstance(user, Model) or auth.passes(
            connection.handler_class, connection.namespace, user
        )


def _moment(conn: int) -> float:
    """From 0 to 1; those of any successive numbers are spread evenly (by the golden ratio)."""
    return conn * 0.6180339887498949 % 1.0


def _print(user: Any, handler_class: type[WebSocketHandler]) -> int:
    """Differs between two states of a user, as far as its own fields tell, and its permissions if
    the handler wants to hear of them; 0 without fields."""
    if not isinstance(user, Model):
        return 0
    permissions: frozenset[str] = frozenset()
    if handler_class.on_user_changed is not WebSocketHandler.on_user_changed and hasattr(
        user, "get_all_permissions"
    ):
        permissions = frozenset(user.get_all_permissions())
    fields = (field.attname for field in user._meta.concrete_fields if field.name != "last_login")
    return hash((permissions, *(repr(getattr(user, name, None)) for name in fields))) or 1
