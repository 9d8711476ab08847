"""A connection's own process as its worker sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator

from ...wire.codec import Batch, decode_replies, encode
from ...wire.messages import (
    WIRE_VERSION,
    Accept,
    Disconnect,
    Event,
    Identity,
    Refuse,
    Released,
    Restore,
    SaveSnapshot,
    Snapshot,
    WorkerMessage,
)
from ..connection import WorkerConnection
from .frames import Frames

__all__ = ["ConnectionProcess", "in_words"]

#: Bytes to read and to write at a time.
READ, WRITE = 262144, 65536

#: What a process says at a time: messages, and acknowledgements by connection.
Words = tuple[list[WorkerMessage], dict[int, int]]


class ConnectionProcess:
    """See the module. Two threads use it: one writes, one reads.

    Attributes:
        lock: guards ``dead``, ``disconnect``, ``replaced``, and the socket's writing side.
        dead: it has ended, or never began; nothing is written any more.
        disconnect: the connection's last event, once it has come.
        replaced: another one was started to run ``on_close`` in its place.
        last: it is such a one; there will be no other.
        pid: 0 until the template has told it; the reading thread's, as all that follows.
        finished: it has said its last word, so its end is no accident.
        accepted: ``on_connect`` has said yes.
        snapshot: the last one it sent.
    """

    def __init__(
        self,
        key: int,
        connection: WorkerConnection,
        sock: socket.socket,
        last: Disconnect | None,
    ) -> None:
        self.key = key
        self.connection = connection
        self.socket = sock
        self.last = last is not None
        self.lock = threading.Lock()
        self.dead = False
        self.disconnect = last
        self.replaced = False
        self.pid = 0
        self.finished = False
        self.accepted = False
        self.snapshot = Snapshot()
        self._frames = Frames()
        # What its socket did not take yet; bounded by the connection's window.
        self._outgoing = bytearray()

    # ------------------------------------------------------------------ with the lock held

    @property
    def blocked(self) -> bool:
        """Whether its socket took less than there was to write."""
        return bool(self._outgoing)

    def post(self, event: Event | None) -> None:
        """Send an event; ``None`` asks looping hooks to end."""
        messages = [] if event is None else [event]
        gateway = self.connection.link.gateway
        data = encode(Batch(WIRE_VERSION, "", gateway, "", 0, 0, messages))
        waiting = self.blocked
        self._outgoing += Frames.wrap(data)
        if not waiting:
            self.write()

    def write(self) -> None:
        """Write what the socket takes."""
        try:
            while self._outgoing:
                sent = self.socket.send(self._outgoing[:WRITE])
                del self._outgoing[:sent]
        except BlockingIOError:
            return
        except OSError:
            self._outgoing.clear()  # its end is seen by the reader

    def continuation(self) -> tuple[Restore, Disconnect] | None:
        """What another process needs to run ``on_close``, if it is dead and that is still to be
        done; once only."""
        event = self.disconnect
        if event is None or not self.dead or self.replaced:
            return None
        if self.finished or self.last or not self.accepted:
            return None
        self.replaced = True
        connection = self.connection
        return (
            Restore(
                connection.conn,
                event.seq - 1,
                connection.namespace,
                encode(connection.handshake),
                connection.subprotocol or "",
                [],
                self.snapshot,
                0,
                True,
            ),
            event,
        )

    # ------------------------------------------------------------------ any thread

    def hang_up(self) -> None:
        """Let it end at once, whatever it does; what it has said can still be read."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    # ------------------------------------------------------------------ reading thread

    def read(self) -> bytes | None:
        """What it has written; ``None`` if there is nothing now, nothing at all at its end."""
        try:
            return self.socket.recv(READ)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def understand(self, data: bytes) -> Iterator[Words]:
        """What the bytes mean that :meth:`read` gave.

        Raises:
            WireError: Nothing that a process of this release says.
        """
        for piece in self._frames.feed(data):
            batch = decode_replies(piece)
            messages = [each for each in batch.messages if isinstance(each, WorkerMessage)]
            for message in messages:
                self._note(message)
            for seq in batch.acks.values():
                if self.disconnect is not None and seq >= self.disconnect.seq:
                    self.finished = True
            yield messages, batch.acks

    def _note(self, message: WorkerMessage) -> None:
        if isinstance(message, SaveSnapshot):
            self.snapshot = message.snapshot
        elif isinstance(message, Accept):
            self.accepted = True
            self.connection.owner = (message.user, message.session)
        elif isinstance(message, Identity):
            self.connection.owner = (message.user, message.session)
        elif isinstance(message, (Refuse, Released)):
            self.finished = True


def in_words(status: int) -> str:
    """How a process ended, by its wait status."""
    if not os.WIFSIGNALED(status):
        return f"exit status {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    try:
        return f"killed by {signal.Signals(number).name}"
    except ValueError:  # real-time signals have no names of their own
        return f"killed by signal {number}"
