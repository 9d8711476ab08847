"""One connection's dealings with its worker: sequence, window, and what to do if the worker goes.

The session outlives both its browser (until ``on_close`` is acknowledged) and its worker.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from ..wire.messages import (
    Accept,
    Close,
    Confirm,
    Connect,
    Disconnect,
    Message,
    Refuse,
    Release,
    Restore,
    Send,
    Sequenced,
    Snapshot,
)
from .shared import Shared

if TYPE_CHECKING:
    from .sessions import Sessions
    from .worker_link import WorkerLink

__all__ = ["Client", "Session"]

_NO_SNAPSHOT = Snapshot()


class Client(Protocol):
    """What a session needs of a browser's connection.

    Attributes:
        writable: the queued bytes are below ``max_pending``.
    """

    writable: bool

    def send(self, opcode: int, data: bytes) -> None: ...
    def send_shared(self, message: Shared) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def resume(self) -> None: ...


class Session:
    """See the module. Everything here runs on the event loop.

    Attributes:
        worker: where it is pinned; ``None`` while it waits for one.
        seq: of the last event.
        unacked: events that no worker has acknowledged, in order; bounded by the window.
        held_from: seq from which on events wait here, because the worker is about to give the
            connection back; 0 while they go out.
        accepted: ``on_connect`` has said yes.
        closing: the worker closed it, or had to be given up: nothing but a Disconnect follows.
        ended: the browser is gone; the Disconnect is among the events.
        snapshot: what a new instance needs; as of the last acknowledgement.
        restoring: loop time at which a worker was asked to continue it; 0 once it has answered.
        attempts: workers that died over it since one of them handled something of it.
    """

    __slots__ = (
        "_backlog",
        "_client",
        "_confirm_due",
        "_full",
        "_group_backlog",
        "_received",
        "_sessions",
        "_window",
        "accepted",
        "attempts",
        "closing",
        "conn",
        "ended",
        "groups",
        "handshake",
        "held_from",
        "namespace",
        "restoring",
        "seq",
        "snapshot",
        "subprotocol",
        "unacked",
        "user",
        "verdict",
        "worker",
    )

    def __init__(
        self,
        conn: int,
        namespace: str,
        handshake: bytes,
        sessions: Sessions,
        verdict: asyncio.Future[Accept | Refuse],
    ) -> None:
        self.conn = conn
        self.namespace = namespace
        self.handshake = handshake
        self.verdict = verdict
        self.worker: WorkerLink | None = None
        self.seq = 1
        self.unacked: list[Sequenced] = [Connect(conn, 1, namespace, handshake)]
        self.held_from = 0
        self.accepted = False
        self.closing = False
        self.ended = False
        self.groups: set[str] | None = None
        self.snapshot = _NO_SNAPSHOT
        self.subprotocol = ""
        self.user = ""
        self.restoring = 0.0
        self.attempts = 0
        self._sessions = sessions
        self._client: Client | None = None
        # Between Accept and the hand-off of the socket; bounded by the worker's send window.
        self._backlog: list[Send | Close | Shared] | None = None
        self._window = 0  # bytes of unacked messages
        self._full = False
        self._received = 0  # bytes from the worker that are not confirmed yet
        self._confirm_due = False
        self._group_backlog = 0  # bytes of group messages since the client's queue was full

    # ------------------------------------------------------------------ from the browser's side

    def attach(self, client: Client) -> None:
        """The upgrade is done: deliver what came since, then live."""
        self._client = client
        backlog, self._backlog = self._backlog, None
        for item in backlog or ():
            if isinstance(item, Send):
                client.send(item.opcode, item.data)
            elif isinstance(item, Close):
                client.close(item.code, item.reason)
            else:
                client.send_shared(item)
        if self._confirm_due and client.writable:
            self._confirm()

    def receive(self, opcode: int, data: bytes) -> bool:
        """Take one whole message.

        Returns:
            False if the window is full: read on after :meth:`Client.resume`.
        """
        if self.closing:
            return True
        self.seq += 1
        event = Message(self.conn, self.seq, opcode, data)
        unacked = self.unacked
        unacked.append(event)
        self._window += len(data)
        worker = self.worker
        if worker is not None and not self.held_from:
            worker.post(event)
            if worker.blocked:
                worker.stalled.add(self)
                return False
        sessions = self._sessions
        if len(unacked) < sessions.window_messages and self._window < sessions.window_bytes:
            return True
        self._full = True
        return False

    def writable(self) -> None:
        """The client's queue fell below ``max_pending`` again."""
        self._group_backlog = 0
        if self._confirm_due:
            self._confirm()

    def disconnected(self, code: int, reason: str) -> None:
        """The browser is gone. The last call from its side."""
        self.ended = True
        self._client = None
        self._backlog = None
        sessions = self._sessions
        sessions.hub.leave_all(self)
        if not self.accepted and self.worker is None:
            sessions.forget(self)  # no worker ever heard of it
            return
        self.seq += 1
        event = Disconnect(self.conn, self.seq, code, reason)
        self.unacked.append(event)
        worker = self.worker
        if worker is None:
            sessions.place(self)
        elif not self.held_from:
            worker.post(event)

    # ------------------------------------------------------------------ from the worker

    def handled(self, seq: int) -> None:
        """The worker has handled every event up to ``seq``."""
        unacked = self.unacked
        if unacked and unacked[-1].seq <= seq:
            unacked.clear()
            self._window = 0
        else:
            count = 0
            for event in unacked:
                if event.seq > seq:
                    break
                if type(event) is Message:
                    self._window -= len(event.data)
                count += 1
            del unacked[:count]
        if self.restoring or self.attempts:
            self.restoring = 0.0
            self.attempts = 0
        if self.ended and not unacked:
            self._sessions.forget(self)
        elif self._full:
            self._full = False
            self.resume()

    def resume(self) -> None:
        """Let the browser's side read on."""
        if self._client is not None and not self._full:
            self._client.resume()

    def accept(self, accept: Accept) -> None:
        """``on_connect`` said yes."""
        self.accepted = True
        # The acknowledgement follows; but if the worker dies before, nobody may ask again.
        self.handled(1)
        self.subprotocol = accept.subprotocol
        self.user = accept.user
        if self.ended:
            return
        self._backlog = []
        if not self.verdict.done():
            self.verdict.set_result(accept)

    def refuse(self, refuse: Refuse) -> None:
        """``on_connect`` said no, or nobody could ask it."""
        if self.accepted:
            # A worker that could not take the connection over.
            self.give_up(1012, "service restart")
            self.detach()
            if self.ended:
                self._sessions.shelter(self)
            return
        if not self.verdict.done():
            self.verdict.set_result(refuse)
        self._sessions.forget(self)

    def send(self, message: Send) -> None:
        """A message for the browser."""
        client = self._client
        size = self._received = self._received + len(message.data)
        if client is not None:
            client.send(message.opcode, message.data)
        elif self._backlog is not None:
            self._backlog.append(message)
        if size >= self._sessions.confirm_step:
            if self._backlog is None and (client is None or client.writable):
                self._confirm()
            else:
                self._confirm_due = True

    def _confirm(self) -> None:
        self._confirm_due = False
        if self.worker is not None:
            self.worker.post(Confirm(self.conn, self._received))
        self._received = 0

    def send_shared(self, message: Shared) -> None:
        """A group's message. A member that does not read is closed 3008."""
        client = self._client
        if client is None:
            if self._backlog is not None:
                self._backlog.append(message)
            return
        if not client.writable:
            # What its own handler sent is bounded by the send window; this is on top of it.
            self._group_backlog += len(message.data)
            if self._group_backlog > self._sessions.max_pending:
                self._sessions.counters["closed_slow"] += 1
                client.close(3008, "too slow")
                return
        client.send_shared(message)

    def close(self, close: Close) -> None:
        """The worker closes the connection; what it has not had yet is not for it any more."""
        self.closing = True
        if self.held_from:
            self._keep_with(self.worker)
        if self._client is not None:
            self._client.close(close.code, close.reason)
        elif self._backlog is not None:
            self._backlog.append(close)

    def _keep_with(self, worker: WorkerLink | None) -> None:
        """The worker does not give the connection back after all: it runs ``on_close``, too."""
        first, self.held_from = self.held_from, 0
        held = [event for event in self.unacked if event.seq >= first]
        for event in held:
            if type(event) is Disconnect and worker is not None:
                worker.post(event)
            else:
                self.unacked.remove(event)

    # ------------------------------------------------------------------ change of worker

    def release(self) -> None:
        """The worker retires: hold new events, and ask for the connection back."""
        worker = self.worker
        if worker is not None and self.accepted and not self.ended and not self.held_from:
            self.held_from = self.seq + 1
            worker.post(Release(self.conn))

    def released(self, snapshot: Snapshot) -> None:
        """The worker gave the connection back; what is unacknowledged was never sent."""
        self.snapshot = snapshot
        self.detach()
        self._sessions.place(self)

    def detach(self) -> None:
        """Belong to no worker."""
        if self.worker is not None:
            self.worker.sessions.pop(self.conn, None)
            self.worker = None
        self.held_from = 0

    def settle(self, worker: WorkerLink) -> None:
        """Belong to ``worker``, and let it continue where the last one was."""
        self.worker = worker
        worker.sessions[self.conn] = self
        if self.accepted:
            self.restoring = self._sessions.now()
            first = self.unacked[0].seq if self.unacked else self.seq + 1
            worker.post(
                Restore(
                    self.conn,
                    first - 1,
                    self.namespace,
                    self.handshake,
                    self.subprotocol,
                    sorted(self.groups or ()),
                    self.snapshot,
                    self._received,
                    self.ended and type(self.unacked[0]) is Disconnect,
                )
            )
        for event in self.unacked:
            worker.post(event)

    def give_up(self, code: int, reason: str) -> None:
        """Close, since what is in flight cannot be resolved otherwise; the client knows by it."""
        self.closing = True
        self.unacked = [event for event in self.unacked if type(event) is Disconnect]
        self._window = 0
        if self._client is not None:
            self._client.close(code, reason)
        elif self._backlog is not None:
            self._backlog.append(Close(self.conn, code, reason))
