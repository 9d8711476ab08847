"""One thread per connection, from handshake to close."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import ClassVar

from ...wire.messages import Event, Refuse
from .. import hygiene
from ..connection import WorkerConnection
from ..turn import handle
from .base import EventSource, Executor, ExecutorConfig

__all__ = ["ThreadedExecutor"]

logger = logging.getLogger("django_ws.worker")

Inbox = SimpleQueue[Event | None]


class ThreadedExecutor(Executor):
    """Each connection has a thread with an inbox, which its window at the gateway bounds.

    ``_inboxes`` belongs to the receiving thread; ``_threads`` to it and :meth:`stop`, under
    ``_lock``.
    """

    name: ClassVar[str] = "threaded"

    def __init__(self, source: EventSource, config: ExecutorConfig) -> None:
        super().__init__(source, config)
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()  # guarded by _lock
        self._ended = False
        self._refusing_until = 0.0  # receiving thread
        self._receiver = threading.Thread(
            target=self.guarded, args=(self._receive,), name="ws-receive", daemon=True
        )

    def start(self) -> None:
        self._receiver.start()

    def saturated(self) -> bool:
        return time.monotonic() < self._refusing_until

    def stop(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        self._ended = True
        with self._lock:
            threads = [self._receiver, *self._threads]
        for connection in self.source.connections():
            if isinstance(connection.runner, SimpleQueue):
                connection.runner.put(None)
            connection.wake()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    # ------------------------------------------------------------------ receiving thread

    def _receive(self) -> None:
        source = self.source
        while not self._ended:
            for connection, event in self.receive(source.running()):
                try:
                    self._pass_on(connection, event)
                except Exception:
                    self.give_up(connection)

    def _pass_on(self, connection: WorkerConnection, event: Event) -> None:
        inbox = connection.runner
        if not isinstance(inbox, SimpleQueue):
            inbox = self._open(connection)
            if connection.over:
                return  # turned away
        inbox.put(event)
        if connection.over:
            self._discard(connection, inbox)

    def _open(self, connection: WorkerConnection) -> Inbox:
        """Start the connection's thread."""
        inbox: Inbox = SimpleQueue()
        connection.runner = inbox
        thread = threading.Thread(
            target=self._run, args=(connection, inbox), name=f"ws-{connection.conn}", daemon=True
        )
        with self._lock:
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:
            with self._lock:
                self._threads.discard(thread)
            self._refusing_until = time.monotonic() + 1.0
            logger.error("no thread for a new connection (%s): refusing upgrades with 503", error)
            connection.turn_away(Refuse(connection.conn, 503, "out of threads"))
        return inbox

    @staticmethod
    def _discard(connection: WorkerConnection, inbox: Inbox) -> None:
        """Count off what came after the last hook: both threads look, each event is taken once."""
        with contextlib.suppress(Empty):
            while True:
                event = inbox.get_nowait()
                if event is not None:
                    handle(connection, event)

    # ------------------------------------------------------------------ a connection's thread

    def _run(self, connection: WorkerConnection, inbox: Inbox) -> None:
        link = connection.link
        connection.thread = self.here()
        try:
            while True:
                event = inbox.get()
                if event is None or not handle(connection, event):
                    break
                self._handled(connection)
        finally:
            if connection.over:
                self._discard(connection, inbox)
            link.flush()
            hygiene.end_of_thread()
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _handled(self, connection: WorkerConnection) -> None:
        # A bare acknowledgement is in no hurry; the receiving thread sends it while it looks often.
        if connection.link.hurry or self.patient:
            connection.link.flush()
