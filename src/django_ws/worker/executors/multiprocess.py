"""One process per connection, forked from a warm template.

The worker only passes batches on: two threads, one for what comes from the gateways, one for what
comes from the processes. One that dies takes nobody else along.
"""

from __future__ import annotations

import logging
import resource
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import ClassVar

from ...base import WebSocketHandler
from ...wire.messages import (
    Close,
    Confirm,
    Connect,
    Disconnect,
    Event,
    GroupSend,
    Joined,
    Refuse,
    Restore,
    Revalidate,
)
from ..connection import WorkerConnection
from ..request import HandshakeRequest, Source
from .base import EventSource, Executor, ExecutorConfig
from .child import child_main
from .process import ConnectionProcess, in_words
from .process_table import ProcessTable
from .template import Template

__all__ = ["MultiprocessExecutor"]

logger = logging.getLogger("django_ws.worker")

#: Seconds for what processes have said at the end of their worker.
LAST_WORDS = 1.0


class MultiprocessExecutor(Executor):
    """See the module."""

    name: ClassVar[str] = "multiprocess"

    def __init__(self, source: EventSource, config: ExecutorConfig, template: Template) -> None:
        super().__init__(source, config)
        self._template = template
        self._processes = ProcessTable()
        self._ended = False
        self._refusing_until = 0.0
        self._receiver = threading.Thread(
            target=self.guarded, args=(self._receive,), name="ws-receive", daemon=True
        )
        self._reader = threading.Thread(
            target=self.guarded, args=(self._read,), name="ws-children", daemon=True
        )

    @classmethod
    def prepare(
        cls,
        handlers: Mapping[str, type[WebSocketHandler]],
        config: ExecutorConfig,
        close: list[int],
    ) -> Callable[[EventSource], Executor]:
        """Fork the template; returns what makes an executor that uses it.

        Raises:
            CannotStart: There are threads, which a fork does not take along.
        """
        template = Template.fork(lambda sock: child_main(sock, handlers, config), close)
        return lambda source: cls(source, config, template)

    def start(self) -> None:
        self._processes.selector.register(self._template.fileno(), selectors.EVENT_READ, None)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:  # each connection takes a descriptor
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self._receiver.start()
        self._reader.start()

    def saturated(self) -> bool:
        return time.monotonic() < self._refusing_until

    def retire(self) -> None:
        super().retire()
        for process in self._processes.all():
            self._processes.post(process, None)

    def stop(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        self._ended = True
        for process in self._processes.all():
            process.hang_up()
        for thread in (self._receiver, self._reader):
            thread.join(max(0.1, deadline - time.monotonic()))
        self._hear_the_last(time.monotonic() + LAST_WORDS)
        for process in self._processes.all():
            process.socket.close()
        self._template.close()
        self._processes.selector.close()
        return True  # the template has ended whatever still ran

    def _hear_the_last(self, deadline: float) -> None:
        """Pass on what was said before the end: what has been handled, ``on_close`` above all, must
        not be done again elsewhere."""
        processes = self._processes.all()
        for process in processes:
            process.hang_up()  # those that came meanwhile, too
        with selectors.DefaultSelector() as selector:
            for process in processes:
                selector.register(process.socket, selectors.EVENT_READ, process)
            while selector.get_map() and time.monotonic() < deadline:
                for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                    data = key.data.read()
                    if data is None:
                        continue
                    if not data or not self._pass_on(key.data, data):
                        selector.unregister(key.fileobj)

    def confirm(self, connection: WorkerConnection, size: int) -> None:
        if isinstance(connection.runner, ConnectionProcess):
            self._processes.post(connection.runner, Confirm(connection.conn, size))

    def joined(self, connection: WorkerConnection, event: Joined) -> None:
        if isinstance(connection.runner, ConnectionProcess):
            self._processes.post(connection.runner, event)

    def user_source(self, connection: WorkerConnection) -> Source:
        process = connection.runner
        user = process.snapshot.user if isinstance(process, ConnectionProcess) else ""
        source = HandshakeRequest(connection.handshake, user).source
        # One that is no model does not show in the snapshot.
        kind = connection.handler_class
        given = not user and kind.authenticate is not WebSocketHandler.authenticate
        return source._replace(given=source.given or given)

    # ------------------------------------------------------------------ towards the processes

    def _receive(self) -> None:
        while not self._ended:
            for connection, event in self.poll(0.2):
                try:
                    self._hand_out(connection, event)
                except Exception:
                    self.give_up(connection)

    def _hand_out(self, connection: WorkerConnection, event: Event) -> None:
        process = connection.runner
        if not isinstance(process, ConnectionProcess):
            if isinstance(event, (Connect, Restore)):
                self._spawn(connection, event)
            return  # else it was turned away
        if isinstance(event, Revalidate):
            connection.user_changes = False
        if isinstance(event, Disconnect):
            with process.lock:
                if process.disconnect is not None:
                    return  # the browser had gone before the gateway went
                process.disconnect = event
        self._processes.post(process, event)
        self._close_for(process)

    def _spawn(
        self,
        connection: WorkerConnection,
        event: Connect | Restore,
        disconnect: Disconnect | None = None,
    ) -> None:
        """Start a process; with ``disconnect`` one that only runs ``on_close``."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self._turn_away(connection, str(error))
            return
        process = self._processes.add(connection, ours, disconnect)
        if isinstance(event, Restore):
            process.accepted = True
            process.snapshot = event.snapshot
        connection.runner = process
        try:
            self._template.request(process.key, theirs)
        except ConnectionError:
            self._processes.drop(
                process
            )  # without a template this worker ends, and others go on with it
            return
        except OSError as error:
            self._processes.drop(process)
            self._turn_away(connection, str(error))
            return
        finally:
            theirs.close()
        self._processes.post(process, event)
        if disconnect is not None:
            self._processes.post(process, disconnect)
        if self.stopping:
            self._processes.post(process, None)  # it came too late for retire()

    def _turn_away(self, connection: WorkerConnection, reason: str) -> None:
        self._refusing_until = time.monotonic() + 1.0
        logger.error("no process for a new connection (%s): refusing upgrades with 503", reason)
        connection.turn_away(Refuse(connection.conn, 503, "out of processes"))

    def _close_for(self, process: ConnectionProcess) -> None:
        """Run ``on_close`` in a new process once the old one is dead and the last event is there.

        Both threads ask, each when its half has come.
        """
        with process.lock:
            rest = process.continuation()
        if rest is not None:
            self._spawn(process.connection, *rest)

    # ------------------------------------------------------------------ from the processes

    def _read(self) -> None:
        while not self._ended:
            table = self._processes
            for key, events in table.selector.select(0.01 if table.held else 0.2):
                process = key.data
                if process is None:
                    self._report()
                    continue
                if events & selectors.EVENT_WRITE:
                    table.write(process)
                if events & selectors.EVENT_READ:
                    self._hear(process)
                    if process.connection.link.congested:
                        table.hold(process)
            if table.held:
                table.read_held()

    def _hear(self, process: ConnectionProcess) -> bool:
        """Take what a process says. False if nothing came."""
        data = process.read()
        if data is None:
            return False
        if data:
            return self._pass_on(process, data)
        self._processes.deafen(process)
        if process.finished:
            self._gone(process)
        return False  # else the template tells how it ended

    def _pass_on(self, process: ConnectionProcess, data: bytes) -> bool:
        """Put into the outbox what a process says. False if that made no sense."""
        link = process.connection.link
        try:
            for messages, acks in process.understand(data):
                link.pass_on(messages, acks)
                for message in messages:
                    if isinstance(message, GroupSend):
                        self.publish_elsewhere(link, message)
        except Exception:
            # Only this one is broken; the thread has others to serve.
            logger.exception("process %d is ended for what it says", process.pid)
            process.hang_up()
            return False
        finally:
            link.flush()
        return True

    def _report(self) -> None:
        """The template tells what became of a process."""
        report = self._template.report()
        if report is None:
            self._processes.selector.unregister(self._template.fileno())
            if not self._ended:
                self.source.fail("its template process is gone, so it can start no more")
            return
        key, pid, status = report
        process = self._processes.get(key)
        if process is None:
            return
        if not pid:
            process.finished = True
            self._processes.drop(process)
            self._turn_away(process.connection, "fork failed")
        elif status < 0:
            process.pid = pid
        else:
            while self._hear(process):
                pass  # its last words: the report may have overtaken them
            self._gone(process, status)

    def _gone(self, process: ConnectionProcess, status: int | None = None) -> None:
        """A process has ended."""
        if not self._processes.drop(process):
            return
        connection = process.connection
        link = connection.link
        if process.finished:
            self._forget(connection)
            return
        if self._ended:
            return  # by our own hand; another worker decides what becomes of the connection
        logger.error(
            "%s: connection %s: its process %d died%s",
            connection.namespace,
            connection.id,
            process.pid,
            "" if status is None else f" ({in_words(status)})",
        )
        if not process.accepted:
            link.put(Refuse(connection.conn, 500, ""))
            self._forget(connection)
        elif process.last:
            # The handler's on_close kills processes; enough of that.
            if process.disconnect is not None:
                link.done(connection.conn, process.disconnect.seq, None)
            self._forget(connection)
        else:
            link.put(Close(connection.conn, 1011, "internal error"))
            self._close_for(process)
        link.flush()

    @staticmethod
    def _forget(connection: WorkerConnection) -> None:
        connections = connection.link.connections
        if connections.get(connection.conn) is connection:  # not of one that has come since
            del connections[connection.conn]
