"""One process per connection, forked from a warm template.

The worker only passes batches on: two threads, one for what comes from the gateways, one for what
comes from the children. A child that dies takes nobody else along.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import ClassVar

from ...base import WebSocketHandler
from ...wire.codec import Batch, decode_replies, encode
from ...wire.messages import (
    WIRE_VERSION,
    Accept,
    Close,
    Confirm,
    Connect,
    Disconnect,
    Event,
    Refuse,
    Released,
    Restore,
    SaveSnapshot,
    Snapshot,
    WorkerMessage,
)
from ..connection import WorkerConnection
from .base import EventSource, Executor, ExecutorConfig
from .child import Frames, child_main
from .template import Template

__all__ = ["MultiprocessExecutor"]

logger = logging.getLogger("django_ws.worker")


class Child:
    """A connection's process as its worker sees it; everything guarded by ``lock``.

    Attributes:
        outgoing: bytes that its socket did not take yet; bounded by the connection's window.
        finished: it has said its last word, so its end is no accident.
        dead: it has ended.
        accepted: ``on_connect`` has said yes.
        snapshot: the last one it sent.
        disconnect: the connection's last event, once it has come.
        second: it was started to run ``on_close`` after another one had died.
        replaced: such a one was started for it.
    """

    def __init__(self, key: int, connection: WorkerConnection, sock: socket.socket) -> None:
        self.key = key
        self.connection = connection
        self.socket = sock
        self.lock = threading.Lock()
        self.outgoing = bytearray()
        self.frames = Frames()
        self.pid = 0
        self.finished = False
        self.dead = False
        self.accepted = False
        self.snapshot = Snapshot()
        self.disconnect: Disconnect | None = None
        self.second = False
        self.replaced = False


class MultiprocessExecutor(Executor):
    """See the module. ``_children`` and ``_keys`` are guarded by ``_lock``."""

    name: ClassVar[str] = "multiprocess"

    def __init__(self, source: EventSource, config: ExecutorConfig) -> None:
        super().__init__(source, config)
        self._lock = threading.Lock()
        self._children: dict[int, Child] = {}  # by key
        self._keys = 0
        self._ended = False
        self._refusing_until = 0.0
        self._template: Template | None = None
        self._selector = selectors.DefaultSelector()
        self._held: list[Child] = []  # not read at the moment; the reader's
        self._receiver = threading.Thread(target=self._receive, name="ws-receive", daemon=True)
        self._reader = threading.Thread(target=self._read, name="ws-children", daemon=True)

    @classmethod
    def prepare(
        cls,
        handlers: Mapping[str, type[WebSocketHandler]],
        config: ExecutorConfig,
        close: list[int],
    ) -> Callable[[EventSource], Executor]:
        """Fork the template; returns what makes an executor that uses it."""
        template = Template.fork(lambda sock: child_main(sock, handlers, config), close)

        def make(source: EventSource) -> Executor:
            executor = cls(source, config)
            executor.use(template)
            return executor

        return make

    def use(self, template: Template) -> None:
        """Fork from ``template``; before :meth:`start`."""
        self._template = template
        self._selector.register(template.fileno(), selectors.EVENT_READ, None)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:  # each connection takes a descriptor
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def start(self) -> None:
        self._receiver.start()
        self._reader.start()

    def saturated(self) -> bool:
        return time.monotonic() < self._refusing_until

    def retire(self) -> None:
        super().retire()
        for child in self._all():
            self._post(child, None)

    def stop(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        self._ended = True
        for thread in (self._receiver, self._reader):
            thread.join(max(0.1, deadline - time.monotonic()))
        for child in self._all():
            child.socket.close()
        if self._template is not None:
            self._template.close()
        self._selector.close()
        return True  # the template has ended whatever still ran

    def confirm(self, connection: WorkerConnection, size: int) -> None:
        if isinstance(connection.runner, Child):
            self._post(connection.runner, Confirm(connection.conn, size))

    # ------------------------------------------------------------------ towards the children

    def _receive(self) -> None:
        while not self._ended:
            for connection, event in self.poll(0.2):
                child = connection.runner
                if not isinstance(child, Child):
                    assert isinstance(event, (Connect, Restore))
                    self._spawn(connection, event)
                    continue
                if isinstance(event, Disconnect):
                    with child.lock:
                        if child.disconnect is not None:
                            continue  # the browser had gone before the gateway went
                        child.disconnect = event
                self._post(child, event)
                self._close_if_dead(child)

    def _spawn(
        self,
        connection: WorkerConnection,
        event: Connect | Restore,
        disconnect: Disconnect | None = None,
    ) -> None:
        """Start a process; with ``disconnect`` one that only runs ``on_close``."""
        assert self._template is not None
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self._turn_away(connection, str(error))
            return
        ours.setblocking(False)
        with self._lock:
            self._keys += 1
            child = Child(self._keys, connection, ours)
            self._children[child.key] = child
        connection.runner = child
        if isinstance(event, Restore):
            child.accepted = True
            child.snapshot = event.snapshot
        child.disconnect = disconnect
        child.second = disconnect is not None
        # Before there is a process, whose end the other thread may notice at any time.
        self._selector.register(ours, selectors.EVENT_READ, child)
        try:
            self._template.request(child.key, theirs)
        except OSError as error:
            self._drop(child)
            self._turn_away(connection, str(error))
            return
        finally:
            theirs.close()
        self._post(child, event)
        if disconnect is not None:
            self._post(child, disconnect)
        if self.stopping:
            self._post(child, None)  # it came too late for retire()

    def _turn_away(self, connection: WorkerConnection, reason: str) -> None:
        self._refusing_until = time.monotonic() + 1.0
        logger.error("no process for a new connection (%s): refusing upgrades with 503", reason)
        connection.turn_away(Refuse(connection.conn, 503, "out of processes"))

    def _post(self, child: Child, event: Event | None) -> None:
        """Send an event; ``None`` asks looping hooks to end."""
        batch = Batch(
            WIRE_VERSION,
            "",
            child.connection.link.gateway,
            "",
            0,
            0,
            [] if event is None else [event],
        )
        with child.lock:
            if child.dead:
                return
            waiting = bool(child.outgoing)
            child.outgoing += Frames.wrap(encode(batch))
            if not waiting:
                self._write(child)

    def _write(self, child: Child) -> None:
        """Write what the socket takes; with the child's lock held."""
        with contextlib.suppress(OSError, KeyError, ValueError):  # its end is seen by the reader
            while child.outgoing:
                try:
                    sent = child.socket.send(child.outgoing[:65536])
                except BlockingIOError:
                    self._selector.modify(
                        child.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, child
                    )
                    return
                del child.outgoing[:sent]

    # ------------------------------------------------------------------ from the children

    def _read(self) -> None:
        while not self._ended:
            for key, events in self._selector.select(0.01 if self._held else 0.2):
                child = key.data
                if child is None:
                    self._report()
                    continue
                if events & selectors.EVENT_WRITE:
                    with child.lock:
                        if not child.dead:  # it may have been dropped in this very turn
                            self._selector.modify(child.socket, selectors.EVENT_READ, child)
                            self._write(child)
                if events & selectors.EVENT_READ:
                    self._from_child(child)
                    if child.connection.link.congested:
                        self._hold(child)
            if self._held:
                self._release()

    def _hold(self, child: Child) -> None:
        """Read no further: publications have no window, so this is what holds up a child whose
        gateway takes nothing."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(child.socket)
            self._held.append(child)

    def _release(self) -> None:
        """Read on what was held, as far as there is room again."""
        held, self._held = self._held, []
        for child in held:
            link = child.connection.link
            link.flush()
            with child.lock:
                if child.dead:
                    continue
                if link.congested:
                    self._held.append(child)
                    continue
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if child.outgoing else 0)
                self._selector.register(child.socket, events, child)

    def _from_child(self, child: Child) -> bool:
        """Take what a child says. False if nothing came."""
        try:
            data = child.socket.recv(262144)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(child.socket)
            if child.finished:
                self._gone(child)
            return False  # else the template tells how it ended
        connection = child.connection
        link = connection.link
        for piece in child.frames.feed(data):
            batch = decode_replies(piece)
            messages = [each for each in batch.messages if isinstance(each, WorkerMessage)]
            for message in messages:
                self._note(child, message)
            link.pass_on(messages, batch.acks)
            for seq in batch.acks.values():
                if child.disconnect is not None and seq >= child.disconnect.seq:
                    child.finished = True
        link.flush()
        return True

    def _note(self, child: Child, message: WorkerMessage) -> None:
        if isinstance(message, SaveSnapshot):
            child.snapshot = message.snapshot
        elif isinstance(message, Accept):
            child.accepted = True
        elif isinstance(message, (Refuse, Released)):
            child.finished = True

    def _report(self) -> None:
        """The template tells what became of a process."""
        assert self._template is not None
        report = self._template.report()
        if report is None:
            self._selector.unregister(self._template.fileno())
            if not self._ended:
                self.source.fail("its template process is gone, so it can start no more")
            return
        key, pid, status = report
        with self._lock:
            child = self._children.get(key)
        if child is None:
            return
        if not pid:
            child.finished = True
            self._drop(child)
            self._turn_away(child.connection, "fork failed")
        elif status < 0:
            child.pid = pid
        else:
            while self._from_child(child):
                pass  # its last words: the report may have overtaken them
            self._gone(child, status)

    def _gone(self, child: Child, status: int | None = None) -> None:
        """A child has ended."""
        if not self._drop(child):
            return
        connection = child.connection
        link = connection.link
        if child.finished:
            link.connections.pop(connection.conn, None)
            return
        logger.error(
            "%s: connection %s: its process %d died%s",
            connection.namespace,
            connection.id,
            child.pid,
            "" if status is None else f" ({_in_words(status)})",
        )
        if not child.accepted:
            link.put(Refuse(connection.conn, 500, ""))
            link.connections.pop(connection.conn, None)
        elif child.second:
            # The handler's on_close kills processes; enough of that.
            if child.disconnect is not None:
                link.done(connection.conn, child.disconnect.seq, None)
            link.connections.pop(connection.conn, None)
        else:
            link.put(Close(connection.conn, 1011, "internal error"))
            self._close_if_dead(child)
        link.flush()

    def _close_if_dead(self, child: Child) -> None:
        """Run ``on_close`` in a new process once the old one is dead and the last event is there.

        Both threads ask, each when its half has come.
        """
        with child.lock:
            event = child.disconnect
            if event is None or not child.dead or child.replaced:
                return
            if child.finished or child.second or not child.accepted:
                return
            child.replaced = True
        connection = child.connection
        self._spawn(
            connection,
            Restore(
                connection.conn,
                event.seq - 1,
                connection.namespace,
                encode(connection.handshake),
                connection.subprotocol or "",
                [],
                child.snapshot,
                0,
                True,
            ),
            event,
        )

    # ------------------------------------------------------------------ bookkeeping

    def _all(self) -> list[Child]:
        with self._lock:
            return list(self._children.values())

    def _drop(self, child: Child) -> bool:
        """Forget a child. False if that was done before."""
        with self._lock:
            if self._children.pop(child.key, None) is None:
                return False
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(child.socket)
        with child.lock:
            child.dead = True
            child.socket.close()
        return True


def _in_words(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit status {os.waitstatus_to_exitcode(status)}"
