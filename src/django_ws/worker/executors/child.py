"""What a connection's own process runs."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Mapping
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ...outlet import set_outlet
from ...supervisor import edits
from ...wire.codec import decode_events
from ...wire.messages import (
    WIRE_VERSION,
    Confirm,
    Connect,
    Disconnect,
    Event,
    Joined,
    Restore,
    Revalidate,
    Unknown,
)
from .. import hygiene
from ..connection import Link, WorkerConnection
from ..hangs import HangWatch
from ..link import GatewayLink
from ..outlet import WorkerOutlet
from ..turn import handle
from .base import ExecutorConfig, HookRunner
from .frames import Frames

if TYPE_CHECKING:
    from ...base import WebSocketHandler

__all__ = ["child_main"]


class _Stream:
    """Stands for the replies link's DEALER: batches go to the worker instead."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def send(self, data: bytes, timeout: float = 0.0) -> bool:
        # The worker always reads; if it is gone, so are we, by the reading thread.
        self._socket.sendall(Frames.wrap(data))
        return True

    def receive(self) -> bytes | None:
        return None

    def connect(self, *, lost: bool = False) -> None:
        """A stream is connected from its beginning."""

    def close(self) -> None:
        self._socket.close()


def child_main(
    sock: socket.socket, handlers: Mapping[str, type[WebSocketHandler]], config: ExecutorConfig
) -> None:
    """Run one connection until it ends; then, or when the worker is gone, return or exit.

    Args:
        sock: the stream from and to the worker: batches of events in, batches of replies out. The
            first event is Connect or Restore; an empty batch asks looping hooks to end.
    """
    if config.reload:
        edits.watch(None)  # the worker itself tells the supervisor
    inbox: SimpleQueue[tuple[WorkerConnection, Event]] = SimpleQueue()
    main_thread = threading.get_ident()
    thread = threading.Thread(
        target=_read, args=(sock, handlers, config, inbox), name="ws-read", daemon=True
    )
    thread.start()
    while True:
        connection, event = inbox.get()
        connection.thread = main_thread
        alive = handle(connection, event)
        connection.link.flush_all()
        if not alive:
            hygiene.end_of_process()
            return


def _read(
    sock: socket.socket,
    handlers: Mapping[str, type[WebSocketHandler]],
    config: ExecutorConfig,
    inbox: SimpleQueue[tuple[WorkerConnection, Event]],
) -> None:
    frames = Frames()
    watch = HangWatch(config.namespaces)
    connection: WorkerConnection | None = None
    while True:
        # After its end it has 1 s at a time, so as to report a hook that runs on.
        ended = connection is not None and connection.closing
        patience = 0.25 if watch.wanted else 1.0 if ended else None
        if not select.select([sock], [], [], patience)[0]:
            if connection is not None and watch.look([connection], time.monotonic()):
                connection.link.flush_all()
                logging.shutdown()
                os.kill(os.getpid(), signal.SIGKILL)
            continue
        try:
            data = sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            os._exit(1)  # nobody is left to reply to
        for piece in frames.feed(data):
            batch = decode_events(piece)
            if connection is not None and not batch.messages:
                connection.executor.stopping = True
                connection.wake()
            for event in batch.messages:
                if connection is None:
                    assert isinstance(event, (Connect, Restore))
                    connection = _open(sock, batch.sender, event, handlers, config)
                if isinstance(event, Confirm):
                    connection.confirmed(event.size)
                    continue
                if isinstance(event, Joined):
                    connection.joined(event)
                    continue
                if isinstance(event, Revalidate):
                    if connection.user_changes:
                        continue
                    connection.user_changes = True
                if isinstance(event, Disconnect):
                    connection.ended(event)
                if not isinstance(event, Unknown):  # both ends are of one release
                    inbox.put((connection, event))


def _open(
    sock: socket.socket,
    gateway: str,
    event: Connect | Restore,
    handlers: Mapping[str, type[WebSocketHandler]],
    config: ExecutorConfig,
) -> WorkerConnection:
    link: Link = GatewayLink(0, _Stream(sock), "", "")
    link.welcome(gateway, config.max_pending, WIRE_VERSION)
    runner = HookRunner(config)
    runner.links = [link]
    set_outlet(WorkerOutlet(runner))
    connection = WorkerConnection(
        event.conn,
        event.namespace,
        event.handshake,
        handlers[event.namespace],
        link,
        runner,
    )
    if isinstance(event, Restore):
        connection.restored(event)
    link.connections[event.conn] = connection
    return connection
