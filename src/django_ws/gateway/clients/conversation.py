"""One session of django-ws.v1: what both sides have said, over one connection after another."""

from __future__ import annotations

from typing import Protocol

from ...wire.messages import BINARY, TEXT
from ..outgoing import Membership
from ..session import Client
from ..shared import Shared
from . import v1
from .lasting import REPLACED, REPLACED_WORDS, Keeper, State, entered
from .numbering import Numbering
from .receipts import Receipts
from .translation import Taker, kind_of, pass_on, tail_of

__all__ = ["CallSession", "Carrier", "Conversation", "Line"]

#: Close codes after which nobody comes back (RFC 6455 §7.4.1): the client has left, or said no
#: code; or the connection ended itself, for what its client did.
FINAL = frozenset({1000, 1001, 1005, 1002, 1003, 1007, 1008, 1009})
#: Closes by applications, which are final, too; but one: the client has heard nothing.
APPLICATIONS = 3000
SILENT = 4000


class Carrier(Protocol):
    """A WebSocket; as of :class:`..session.Client`."""

    @property
    def writable(self) -> bool: ...
    @property
    def backlog(self) -> int: ...
    def send(self, opcode: int, data: bytes) -> None: ...
    def resume(self) -> None: ...


class Line(Protocol):
    """What a conversation needs of one of its connections.

    Attributes:
        carrier: there from its welcome to its end.
    """

    @property
    def carrier(self) -> Carrier: ...
    def end(self, code: int, reason: str) -> None:
        """Close it; what was said before still goes out."""


class CallSession(Taker, Protocol):
    """What a conversation needs of its session.

    Attributes:
        address: the client's, as it began.
        live: nobody has closed it.
        handled_seq: seq of the last event that is handled, before anybody closed it.
    """

    @property
    def address(self) -> str: ...
    @property
    def live(self) -> bool: ...
    @property
    def handled_seq(self) -> int: ...
    def attach(self, client: Client) -> None: ...
    def writable(self) -> None: ...
    def resume(self) -> None: ...
    def disconnected(self, code: int, reason: str) -> None: ...


class Conversation:
    """See the module. To the session it is the :class:`~..session.Client`, from its first
    connection to the end of the last.

    Args:
        session: the session.
        token: brings it back; nobody but the client may know it.
        place: namespace and arguments, with which a client has to come back.
        max_pending: bytes that may be kept for the client.
    """

    __slots__ = (
        "_clogged",
        "_code",
        "_keeper",
        "_line",
        "_max_pending",
        "_mute",
        "_reason",
        "_receipts",
        "numbering",
        "place",
        "session",
        "state",
        "token",
    )

    def __init__(
        self,
        session: CallSession,
        token: str,
        place: object,
        keeper: Keeper,
        receipts: Receipts,
        max_pending: int,
    ) -> None:
        self.token = token
        self.place = place
        self.state = State.NEW
        self.numbering = Numbering()
        self.session = session
        self._keeper = keeper
        self._receipts = receipts
        self._max_pending = max_pending
        self._line: Line | None = None
        self._clogged = False  # the session waits for acknowledgements of the client
        self._mute = False  # it is over; or in a moment, since more is kept than may be
        self._code, self._reason = 1006, ""  # as the last connection ended

    @property
    def address(self) -> str:
        """See :class:`..parking.Guest`."""
        return self.session.address

    # ------------------------------------------------------------------ connections

    def can_go_on(self, had: int) -> bool:
        """Whether a client that has everything up to ``had`` can have it now.

        Not if it is closed, or about to be given up since too much waits.
        """
        return not self._mute and self.session.live and self.numbering.follows(had)

    def attach(self, line: Line, had: int) -> None:
        """Go on over a connection that has just said welcome.

        Args:
            had: number of the last envelope that the client has; see :meth:`can_go_on`.
        """
        before, self._line = self._line, line
        if self.state is State.PARKED:
            self._keeper.unpark(self.token)
        self.state = entered(self.state, State.CONNECTED)
        if before is not None:
            before.end(REPLACED, REPLACED_WORDS)
        numbering = self.numbering
        numbering.acknowledged(had)
        numbering.handled_up_to(self.session.handled_seq)
        for opcode, envelope in numbering.again():
            line.carrier.send(opcode, envelope)
        if numbering.handled < numbering.received or numbering.owes:
            self._receipts.owe(self)
        self._clogged = numbering.size >= self._max_pending
        self.session.writable()
        self.session.resume()

    def lost(self, line: Line, code: int, reason: str, *, ours: bool) -> None:
        """A connection is over.

        Args:
            ours: it was us who closed it.
        """
        if line is not self._line:
            return  # the session went on in another one
        self._line = None
        self._code, self._reason = code, reason
        final = code in FINAL or (code >= APPLICATIONS and code != SILENT)
        if ours or final or not self.session.live or not self._keeper.park(self.token):
            self._end(code, reason)
            return
        self.state = entered(self.state, State.PARKED)
        self.session.writable()  # what waits is kept here now

    def give_up(self, reason: str) -> None:
        """See :class:`..parking.Guest`."""
        line, self._line = self._line, None
        if line is not None:
            line.end(REPLACED, reason)
        self._end(self._code, self._reason or reason)

    def _end(self, code: int, reason: str) -> None:
        if self.state is not State.OVER:
            self.state = entered(self.state, State.OVER)
            self._mute = True
            self._keeper.forget(self.token)
            self.session.disconnected(code, reason)

    # ------------------------------------------------------------------ from the client

    def receive(self, opcode: int, data: bytes) -> bool:
        """Take an envelope.

        Returns:
            As of :meth:`.Session.receive`.

        Raises:
            Malformed, Gap: The client breaks the protocol.
        """
        envelope = v1.decode(opcode, data)
        numbering, session = self.numbering, self.session
        if isinstance(envelope, (v1.Acknowledge, v1.Probe)):
            numbering.acknowledged(envelope.had)
            if isinstance(envelope, v1.Probe):
                self.beat()
            self._eased()
            return True
        if isinstance(envelope, v1.Hello):
            raise v1.Malformed("hello again")
        new = numbering.take(envelope.number, envelope.had)
        self._eased()
        self._receipts.owe(self)
        if not new:
            return True
        return pass_on(envelope, session)

    def _eased(self) -> None:
        """The client has acknowledged something."""
        if self._clogged and self.numbering.size < self._max_pending:
            self._clogged = False
            self.session.writable()

    def drained(self) -> None:
        """The connection's queue fell below ``max_pending`` again."""
        self.session.writable()

    # ------------------------------------------------------------------ what is handled

    def beat(self) -> None:
        """Say what is handled, as a sign of life."""
        if self._line is not None:
            self.numbering.handled_up_to(self.session.handled_seq)
            self._line.carrier.send(TEXT, self.numbering.acknowledgement())

    def settle(self) -> bool:
        """See :class:`.receipts.Debtor`."""
        if self._line is None:
            return True  # said once it has another one
        numbering = self.numbering
        numbering.handled_up_to(self.session.handled_seq)
        if numbering.owes:
            self._line.carrier.send(TEXT, numbering.acknowledgement())
        return numbering.handled >= numbering.received or not self.session.live

    # ------------------------------------------------------------------ for the session

    @property
    def writable(self) -> bool:
        """Whether more may be said: while parked it is, until too much is kept."""
        line = self._line
        return line is None or (line.carrier.writable and self.numbering.size < self._max_pending)

    @property
    def backlog(self) -> int:
        """Bytes that wait for the client; they sink as it acknowledges."""
        line = self._line
        return self.numbering.size + (line.carrier.backlog if line is not None else 0)

    def _say(self, opcode: int, kind: bytes, tail: bytes) -> None:
        self.numbering.handled_up_to(self.session.handled_seq)
        self._put(opcode, kind, tail)

    def _put(self, opcode: int, kind: bytes, tail: bytes) -> None:
        """Number something, keep it, and send it if there is a connection."""
        if self._mute:
            return
        numbering, line = self.numbering, self._line
        envelope = numbering.envelope(opcode, kind, tail)
        if line is not None:
            line.carrier.send(opcode, envelope)
            if numbering.size >= self._max_pending and not self._clogged:
                self._clogged = True
                self.beat()  # a client answers it with what it owes
        elif numbering.size > self._max_pending:
            self._mute = True
            self._keeper.give_up_soon(self.token, "too much waits for the client")

    def send(self, opcode: int, data: bytes) -> None:
        """Send a message."""
        self._say(opcode, b"m", v1.text_tail(data) if opcode == TEXT else v1.bytes_tail(data))

    def send_shared(self, message: Shared) -> None:
        """Send a publication; made once for all clients of this kind, but for its numbers."""
        # Said to very many, so it does not look what is handled.
        tail = message.encoded(Conversation, tail_of)
        self._put(message.opcode, kind_of(message), tail)

    def emit(self, name: str, data: bytes, attachments: list[bytes]) -> None:
        """Send a named event; the worker lets bytes pass only as its only argument."""
        if attachments:
            self._say(BINARY, b"e", v1.event_bytes(name, attachments[0]))
        else:
            self._say(TEXT, b"e", v1.event(name, data))

    def reply(self, seq: int, code: int, data: bytes, attachments: list[bytes]) -> None:
        """Answer a request, or acknowledge an event."""
        call = self.numbering.number(seq)
        if code:
            self._say(TEXT, b"err", v1.failure(call, code, data.decode()))
        elif attachments:
            self._say(BINARY, b"ok", v1.answer_bytes(call, attachments[0]))
        else:
            self._say(TEXT, b"ok", v1.answer(call, data))

    def tell(self, news: Membership) -> None:
        """Say that the client is in a group, or no more."""
        position = news.position
        if position is None:
            self._say(TEXT, b"l", v1.left(news.group))
        else:
            tail = v1.joined(news.group, position.offset, position.epoch, news.recovered)
            self._say(TEXT, b"j", tail)

    def close(self, code: int, reason: str) -> None:
        """End the session; to a client that is there what was sent before still goes out."""
        line = self._line
        if line is None:
            self._end(code, reason)
            return
        self.settle()  # so that the client doubts only what is in doubt
        line.end(code, reason)

    def resume(self) -> None:
        """Go on reading."""
        if self._line is not None:
            self._line.carrier.resume()
