"""One connection's dealings with its worker: sequence, window, and what to do if the worker goes.

The session outlives both its browser (until ``on_close`` is acknowledged) and its worker. Its
states and what leads from one to the next are in :mod:`.session_state`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, MutableSet
from dataclasses import dataclass
from typing import Protocol

from ..wire.messages import (
    Accept,
    Call,
    Close,
    Confirm,
    Connect,
    Disconnect,
    Emit,
    Event,
    Message,
    Position,
    Refuse,
    Release,
    Reply,
    Restore,
    Resume,
    Resumed,
    Send,
    Sequenced,
    Snapshot,
    size_of,
)
from .close_codes import of_status
from .outgoing import Item, Membership, Outgoing
from .returning import GONE, Returning
from .session_state import (
    ACCEPTED,
    DEAF,
    ENDING,
    MOVING,
    UNSETTLED,
    State,
    Step,
    after,
)
from .shared import Shared
from .wanted import Wanted

__all__ = ["Client", "Owner", "Session", "Windows", "Worker"]

_NO_SNAPSHOT = Snapshot()
# Reading a member from its enum class costs more than comparing it.
_OPEN, _CLOSING = State.OPEN, State.CLOSING


class Client(Protocol):
    """What a session needs of a browser's connection.

    Attributes:
        writable: the queued bytes are below ``max_pending``.
        backlog: bytes that wait for the browser; sinks while it reads.
    """

    @property
    def writable(self) -> bool: ...
    @property
    def backlog(self) -> int: ...
    def send(self, opcode: int, data: bytes) -> None: ...
    def send_shared(self, message: Shared) -> None: ...
    def emit(self, name: str, data: bytes, attachments: list[bytes]) -> None: ...
    def reply(self, seq: int, code: int, data: bytes, attachments: list[bytes]) -> None: ...
    def tell(self, news: Membership) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def resume(self) -> None: ...


class Worker(Protocol):
    """What a session needs of the worker that it is pinned to.

    Attributes:
        blocked: it takes nothing at the moment.
        resumes: it can be asked whether a browser that is back may go on.
        stalled: sessions to :meth:`Session.resume` when it takes something again.
    """

    blocked: bool

    @property
    def resumes(self) -> bool: ...
    @property
    def stalled(self) -> MutableSet[Session]: ...
    def post(self, event: Event) -> None: ...
    def pin(self, session: Session) -> None: ...
    def unpin(self, session: Session) -> None: ...


class Owner(Protocol):
    """What a session tells whoever keeps all of them. None of it may call the session back."""

    def changed(self, session: Session) -> None:
        """It is over, or without a worker, or its browser has gone."""

    def lag_changed(self, session: Session) -> None:
        """Group messages wait for its browser, or too many do, or no longer."""


@dataclass(frozen=True, slots=True)
class Windows:
    """The bounds of every session, in bytes unless said otherwise.

    Attributes:
        messages, size: that may be unhandled at a time, as a number and in bytes.
        confirm_step: of messages from the worker that are confirmed together.
        max_pending: of group messages that may wait for the browser.
    """

    messages: int
    size: int
    confirm_step: int
    max_pending: int


class Session:
    """One connection. Everything here runs on the event loop.

    Args:
        conn: its number.
        namespace: of its handler.
        handshake: encoded, as it goes to workers.
        address: the peer's, by which handshakes take turns.
        verdict: gets the worker's answer to the handshake.

    Attributes:
        state: see :mod:`.session_state`.
        worker: where it is pinned; ``None`` while it waits for one.
        seq: of the last event.
        unacked: events that no worker has acknowledged, in order; bounded by the window.
        groups: of which it is a member; ``None`` for none. Kept for ``on_close``.
        snapshot: what a new instance needs; as of the last acknowledgement.
        subprotocol: what was agreed; empty for none.
        user, key: as in :class:`.Accept`, whose ``session`` is the key.
        wanted: from where on its client wants to hear its groups; ``None`` for one that hears
            nothing about groups but their messages.
        restoring: loop time at which a worker was asked to continue it; 0 once it has answered.
        attempts: workers that died over it since one of them handled something of it.
        refused: a worker could not take it over, and no other one has been asked since.
        adrift_since: loop time at which it was first without a worker, since one has had it; 0 if
            it was not. For whoever places it.
    """

    __slots__ = (
        "_at_close",
        "_client",
        "_confirm_due",
        "_deaf",
        "_direct",
        "_full",
        "_held_from",
        "_line",
        "_outgoing",
        "_owner",
        "_received",
        "_returning",
        "_window",
        "_windows",
        "address",
        "adrift_since",
        "attempts",
        "conn",
        "groups",
        "handshake",
        "info",
        "key",
        "namespace",
        "refused",
        "restoring",
        "seq",
        "snapshot",
        "state",
        "subprotocol",
        "unacked",
        "user",
        "verdict",
        "wanted",
        "worker",
    )

    def __init__(
        self,
        conn: int,
        namespace: str,
        handshake: bytes,
        address: str,
        verdict: asyncio.Future[Accept | Refuse],
        windows: Windows,
        owner: Owner,
    ) -> None:
        self.conn = conn
        self.namespace = namespace
        self.handshake = handshake
        self.address = address
        self.verdict = verdict
        self.state = State.WAITING
        self.worker: Worker | None = None
        self.seq = 1
        self.unacked: list[Sequenced] = [Connect(conn, 1, namespace, handshake)]
        self.groups: Collection[str] | None = None
        self.info = b""
        self.snapshot = _NO_SNAPSHOT
        self.subprotocol = ""
        self.user = ""
        self.key = ""
        self.restoring = 0.0
        self.attempts = 0
        self.refused = False
        self.adrift_since = 0.0
        self.wanted: Wanted | None = None
        self._returning: Returning | None = None
        self._at_close = 0
        self._windows = windows
        self._owner = owner
        self._deaf = True
        self._line: Worker | None = None  # where new events go; None while they are held
        self._held_from = 0  # seq of the first event that the moving-out worker does not get
        self._client: Client | None = None
        self._direct: Client | None = None  # the client, while nothing waits for it
        # What waits for the client; None if nothing has to, or there will never be one.
        self._outgoing: Outgoing | None = None
        self._window = 0  # bytes of unacked messages
        self._full = False
        self._received = 0  # bytes from the worker that are not confirmed yet
        self._confirm_due = False

    def _step(self, step: Step) -> None:
        state = self.state = after(self.state, step)
        self._deaf = state in DEAF
        if state in UNSETTLED:
            self._owner.changed(self)

    @property
    def accepted(self) -> bool:
        """Whether ``on_connect`` has said yes, and it is not over."""
        return self.state in ACCEPTED

    @property
    def live(self) -> bool:
        """Whether it is open, and nobody has closed it yet."""
        return not self._deaf

    @property
    def ending(self) -> bool:
        """Whether the browser is gone."""
        return self.state in ENDING

    @property
    def returning(self) -> bool:
        """Whether a worker is asked if its browser may come back."""
        return self._returning is not None

    @property
    def handled_seq(self) -> int:
        """Seq of the last event that is handled; once it is closed, as far as that was before."""
        if self._deaf:
            return self._at_close  # what was in flight is dropped then, and not handled
        return self.unacked[0].seq - 1 if self.unacked else self.seq

    @property
    def acknowledges(self) -> bool:
        """Whether its client says what it has."""
        return self.wanted is not None

    @property
    def lag(self) -> int:
        """Bytes of group messages that wait for the browser."""
        return self._outgoing.group_bytes if self._outgoing is not None else 0

    @property
    def behind(self) -> bool:
        """Whether these are more than may be."""
        return self.lag > self._windows.max_pending

    @property
    def backlog(self) -> int:
        """Bytes that the browser's connection has for it."""
        return self._client.backlog if self._client is not None else 0

    # ------------------------------------------------------------------ from the browser's side

    def attach(self, client: Client) -> None:
        """The upgrade is done: deliver what came since, then live."""
        self._client = client
        self._drain(client)

    def receive(self, opcode: int, data: bytes) -> bool:
        """Take one whole message.

        Returns:
            False if the window is full: read on after :meth:`Client.resume`.
        """
        if self._deaf:
            return True
        self.seq += 1
        return self._take(Message(self.conn, self.seq, opcode, data), len(data))

    def call(
        self, kind: int, name: str, data: bytes, attachments: list[bytes], answer: bool
    ) -> tuple[int, bool]:
        """Take an event or a request.

        Args:
            kind, name, data, attachments, answer: as of :class:`.Call`.

        Returns:
            Its number, which :meth:`Client.reply` names, and what :meth:`receive` returns.
        """
        if self._deaf:
            return 0, True
        self.seq += 1
        call = Call(self.conn, self.seq, kind, name, data, attachments, answer)
        return self.seq, self._take(call, len(name) + size_of(call))

    def _take(self, event: Message | Call, size: int) -> bool:
        unacked = self.unacked
        unacked.append(event)
        self._window += size
        worker = self._line
        if worker is not None:
            worker.post(event)
            if worker.blocked:
                worker.stalled.add(self)
                return False
        windows = self._windows
        if len(unacked) < windows.messages and self._window < windows.size:
            return True
        self._full = True
        return False

    def writable(self) -> None:
        """The client's queue fell below ``max_pending`` again."""
        if self._client is not None:
            self._drain(self._client)

    def disconnected(self, code: int, reason: str) -> None:
        """The browser is gone. The last call from its side."""
        was = self.state
        self._step(Step.GONE)
        self._client = self._direct = self._outgoing = None
        if self._returning is not None:
            self._returning.lapse()
            self._returning = None
        if was is State.WAITING or was is State.OVER:
            return
        self.seq += 1
        event = Disconnect(self.conn, self.seq, code, reason)
        self.unacked.append(event)
        if self._line is not None:
            self._line.post(event)

    # ------------------------------------------------------------------ a browser that is back

    def ask_to_resume(self, question: Returning) -> None:
        """Let the handler decide whether a new connection may go on with this session."""
        if self._returning is not None:
            self._returning.lapse(replaced=True)
        self._returning = question
        if self._line is not None:
            self._ask(self._line)

    def withdraw(self, question: Returning) -> None:
        """Nobody waits for the answer any more."""
        if self._returning is question:
            self._returning = None

    def _ask(self, worker: Worker) -> None:
        question = self._returning
        if question is None:
            return
        if worker.resumes:
            worker.post(Resume(self.conn, question.number, question.handshake, self.user))
        else:
            self._returning = None
            question.lapse()

    def resumed(self, message: Resumed) -> None:
        """The handler has decided."""
        question = self._returning
        if question is not None and question.number == message.request:
            self._returning = None
            if message.status == GONE and not message.over:
                question.lapse()
            else:
                if not message.status:
                    self.handshake = question.handshake
                question.answered(message)
        if message.over and not self._deaf:
            self.give_up(of_status(message.status), message.reason)

    # ------------------------------------------------------------------ towards the browser

    def send(self, message: Send) -> None:
        """A message for the browser."""
        client = self._direct
        size = self._received = self._received + len(message.data)
        if client is not None:
            client.send(message.opcode, message.data)
        elif self._outgoing is not None:
            self._outgoing.add(message)
        if size >= self._windows.confirm_step:
            if self._outgoing is None if client is None else client.writable:
                self._confirm()
            else:
                self._confirm_due = True

    def emit(self, message: Emit) -> None:
        """A named event for the browser."""
        self._pass(message)

    def reply(self, message: Reply) -> None:
        """The answer to a call."""
        self._pass(message)

    def tell(self, news: Membership) -> None:
        """Tell a client that wants to know in which groups it is."""
        if self._direct is not None:
            self._direct.tell(news)
        elif self._outgoing is not None:
            self._outgoing.add(news)

    def missed(self, group: str, position: Position) -> None:
        """See :class:`.groups.Member`."""
        if self.wanted is not None:
            self.tell(Membership(group, position, recovered=False))

    def _pass(self, message: Emit | Reply) -> None:
        """As :meth:`send`, which is not to pay for what is rarer."""
        client = self._direct
        size = self._received = self._received + size_of(message)
        if client is not None:
            _pass_on(message, client)
        elif self._outgoing is not None:
            self._outgoing.add(message)
        if size >= self._windows.confirm_step:
            if self._outgoing is None if client is None else client.writable:
                self._confirm()
            else:
                self._confirm_due = True

    def send_shared(self, message: Shared) -> None:
        """A group's message. It waits here while the browser does not read."""
        client = self._direct
        if client is not None:
            if client.writable:
                client.send_shared(message)
                return
            self._direct = None
            self._outgoing = Outgoing()
        outgoing = self._outgoing
        if outgoing is not None:
            before = outgoing.group_bytes
            outgoing.add_shared(message)
            if self.state is State.ASKED:
                return  # what lets it in may be among the replies that would wait
            if not before or self.behind is not (before > self._windows.max_pending):
                self._owner.lag_changed(self)

    def _drain(self, client: Client) -> None:
        """Send what waits, as far as the client takes it."""
        outgoing = self._outgoing
        if outgoing is not None:
            lagged = outgoing.group_bytes
            while outgoing and (client.writable or outgoing.close):
                _pass_on(outgoing.take(), client)
            if lagged:
                self._owner.lag_changed(self)
            if outgoing:
                return
            self._outgoing = None
        self._direct = client
        if self._confirm_due and client.writable:
            self._confirm()
        if outgoing is not None and outgoing.close:
            client.close(*outgoing.close)

    def _confirm(self) -> None:
        self._confirm_due = False
        if self.worker is not None:
            self.worker.post(Confirm(self.conn, self._received))
        self._received = 0

    def _close_client(self, code: int, reason: str) -> None:
        """Close the browser's side, behind what was sent before."""
        client, outgoing = self._client, self._outgoing
        if outgoing is not None:
            outgoing.close = outgoing.close or (code, reason)
            if client is not None:
                self._drain(client)
        elif client is not None:
            client.close(code, reason)

    def resume(self) -> None:
        """Let the browser's side read on."""
        if self._client is not None and not self._full:
            self._client.resume()

    # ------------------------------------------------------------------ from the worker

    def handled(self, seq: int) -> None:
        """The worker has handled every event up to ``seq``."""
        unacked = self.unacked
        if unacked and unacked[-1].seq <= seq:
            unacked.clear()
            self._window = 0
            self.attempts = 0
        elif unacked and unacked[0].seq <= seq:
            self._forget_up_to(seq)
            self.attempts = 0
        # Else it is the answer to a Restore. It says nothing of the event that comes next, which
        # may be what kills workers.
        self.restoring = 0.0
        if self._deaf and not unacked and self.state in ENDING:
            self.detach()
            self._step(Step.FINISHED)
        elif self._full:
            self._full = False
            self.resume()

    def _forget_up_to(self, seq: int) -> None:
        count = 0
        for event in self.unacked:
            if event.seq > seq:
                break
            if type(event) is Message:
                self._window -= len(event.data)
            elif type(event) is Call:
                self._window -= len(event.name) + size_of(event)
            count += 1
        del self.unacked[:count]

    def accept(self, accept: Accept) -> None:
        """``on_connect`` said yes."""
        self._step(Step.ACCEPTED)
        # The acknowledgement follows; but if the worker dies before, nobody may ask again.
        self._forget_up_to(1)
        self.attempts = 0
        self.subprotocol = accept.subprotocol
        if self.ending:
            return
        self.expect()
        if not self.verdict.done():
            self.verdict.set_result(accept)

    def expect(self) -> None:
        """Something comes for a browser that is not there yet, and shall wait for it."""
        if self._client is None and self._outgoing is None and not self.ending:
            self._outgoing = Outgoing()

    def forget_groups(self) -> None:
        """Its ``on_connect`` runs once more, in another worker, and joins them again."""
        self.groups = self._outgoing = None
        self.info = b""
        if self.wanted is not None:
            self.wanted.again()

    def refuse(self, refuse: Refuse) -> None:
        """``on_connect`` said no, or nobody could ask it, or take the connection over."""
        accepted = self.accepted
        self.detach()
        self._step(Step.REFUSED)
        if self.ending:
            self.refused = True  # it has handled nothing, so nothing is in doubt: to be tried anew
        elif accepted:
            self.give_up(1012, "service restart")
        elif not self.verdict.done():
            self.verdict.set_result(refuse)

    def close(self, close: Close) -> None:
        """The handler closes the connection; what it has not had yet is not for it any more."""
        moving, at_close = self.state in MOVING, self.handled_seq
        self._step(Step.CLOSED)
        self._at_close = at_close
        if moving:
            self._stay()
        self._close_client(close.code, close.reason)

    def _stay(self) -> None:
        """The worker does not give the connection back after all: it runs ``on_close``, too."""
        first, self._held_from = self._held_from, 0
        worker = self._line = self.worker
        for event in [event for event in self.unacked if event.seq >= first]:
            if type(event) is Disconnect and worker is not None:
                worker.post(event)
            else:
                self.unacked.remove(event)

    # ------------------------------------------------------------------ change of worker

    def place(self, worker: Worker, now: float) -> None:
        """Belong to ``worker``, and let it continue where the last one was.

        Args:
            now: loop time.
        """
        accepted = self.accepted
        self._step(Step.PLACED)
        self.worker = self._line = worker
        worker.pin(self)
        if accepted:
            self.restoring = now
            worker.post(self._restore())
        for event in self.unacked:
            worker.post(event)
        self._ask(worker)
        self.resume()

    def _restore(self) -> Restore:
        first = self.unacked[0].seq if self.unacked else self.seq + 1
        return Restore(
            self.conn,
            first - 1,
            self.namespace,
            self.handshake,
            self.subprotocol,
            sorted(self.groups or ()),
            self.snapshot,
            self._received,
            self.ending and type(self.unacked[0]) is Disconnect,
            self.info,
            self.user,
            self.key,
        )

    def ask_back(self) -> None:
        """The worker retires: hold new events, and ask for the connection back.

        One that is about to end, or asked about, ends or is answered where it is.
        """
        worker = self._line
        if worker is not None and (self.state is _OPEN or self.state is _CLOSING):
            self._step(Step.ASKED_BACK)
            self._held_from = self.seq + 1
            self._line = None
            worker.post(Release(self.conn))

    def given_back(self, snapshot: Snapshot) -> None:
        """The worker gave the connection back; what is unacknowledged was never sent."""
        self._step(Step.GIVEN_BACK)
        self.snapshot = snapshot
        self.adrift_since = 0.0
        self.detach()

    def lost(self, first_unsent: int) -> bool:
        """The worker died.

        Args:
            first_unsent: seq of the first event that had not left this gateway.

        Returns:
            Whether some event was in flight.
        """
        if self._held_from:
            first_unsent = min(first_unsent, self._held_from)
        self.adrift_since = 0.0
        self.detach()
        self._step(Step.LOST)
        return bool(self.unacked) and self.unacked[0].seq < first_unsent

    def detach(self) -> None:
        """Belong to no worker."""
        if self.worker is not None:
            self.worker.unpin(self)
        self.worker = self._line = None
        self._held_from = 0

    # ------------------------------------------------------------------ from the gateway

    def give_up(self, code: int, reason: str) -> None:
        """Close, since what is in flight cannot be resolved otherwise; the client knows by it."""
        if self.ending:
            self._drop_messages()
            return
        self._step(Step.GIVEN_UP)
        self._drop_messages()
        self._close_client(code, reason)

    def too_slow(self) -> None:
        """The browser does not read what its groups are sent."""
        if self._outgoing is not None:
            self._outgoing = Outgoing()  # nothing of it would arrive
            self.give_up(3008, "too slow")

    def abandon(self) -> None:
        """No worker could run ``on_close``."""
        self._step(Step.ABANDONED)

    def _drop_messages(self) -> None:
        self.unacked = [event for event in self.unacked if type(event) is Disconnect]
        self._window = 0


def _pass_on(item: Item, client: Client) -> None:
    if isinstance(item, Shared):
        client.send_shared(item)
    elif isinstance(item, Send):
        client.send(item.opcode, item.data)
    elif isinstance(item, Emit):
        client.emit(item.name, item.data, item.attachments)
    elif isinstance(item, Membership):
        client.tell(item)
    else:
        client.reply(item.seq, item.code, item.data, item.attachments)
