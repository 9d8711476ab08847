"""One connection of a client of django-ws.v1, from its hello to its end."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable

from ...wire.messages import TEXT
from ..session import Client
from . import v1
from .context import Context
from .conversation import Conversation
from .numbering import Gap
from .plain import Connection

__all__ = ["Envelopes", "Greeter", "Line", "State"]

#: Close codes: the protocol was broken; no hello came in time.
BROKEN, NO_HELLO = 3501, 4408

#: Bytes of a close frame's reason (RFC 6455 §5.5).
MAX_REASON = 123


class State(enum.Enum):
    """What a connection is about."""

    #: The client is to say hello.
    SILENT = enum.auto()
    #: A handler, or the session, is asked; the client waits for its welcome.
    ASKED = enum.auto()
    #: The client has its session.
    WELCOME = enum.auto()
    OVER = enum.auto()


_NEXT = {
    State.SILENT: (State.ASKED, State.OVER),
    State.ASKED: (State.WELCOME, State.OVER),
    State.WELCOME: (State.OVER,),
    State.OVER: (),
}


class Envelopes(Connection):
    """Carries envelopes. Scripts see no pings, so with each one goes an envelope."""

    __slots__ = ()

    def ping(self) -> None:
        """Give and ask for a sign of life."""
        super().ping()
        if self.writable and isinstance(self._session, Line):
            self._session.beat()


#: Finds the session for a client that has said hello: :meth:`Line.welcome` or :meth:`Line.end`
#: follows.
Greeter = Callable[["Line", v1.Opening], None]


class Line:
    """See the module. To the connection it is what takes the messages.

    Args:
        context: shared by all.
        number: counts up from connection to connection.
        greeter: finds the session.
        patience: seconds for the hello; 0 for any time.

    Attributes:
        carrier: the connection, from :meth:`attach` on.
        ended: done once there is nobody left to be welcome; True by the client.
    """

    __slots__ = (
        "_context",
        "_conversation",
        "_greet",
        "_ours",
        "_patience",
        "_timer",
        "carrier",
        "conn",
        "ended",
        "state",
    )

    carrier: Client

    def __init__(self, context: Context, number: int, greeter: Greeter, patience: float) -> None:
        self.conn = number
        self.state = State.SILENT
        self.ended: asyncio.Future[bool] = context.loop.create_future()
        self._context = context
        self._greet: Greeter | None = greeter
        self._patience = patience
        self._conversation: Conversation | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ours = False

    def _enter(self, state: State) -> None:
        if state not in _NEXT[self.state]:
            raise AssertionError(f"a line that is {self.state.name} cannot be {state.name}")
        self.state = state

    # ------------------------------------------------------------------ for the connection

    def attach(self, client: Client) -> None:
        """The upgrade is done."""
        self.carrier = client
        if self._patience:
            self._timer = self._context.loop.call_later(self._patience, self._too_late)

    def _too_late(self) -> None:
        self._timer = None
        if self.state is State.SILENT:
            self.end(NO_HELLO, "no hello came")

    def receive(self, opcode: int, data: bytes) -> bool:
        """Take an envelope; False if no more should come before the connection is resumed."""
        try:
            if self._conversation is not None:
                return self._conversation.receive(opcode, data)
            self._hello(opcode, data)
        except (v1.Malformed, Gap) as error:
            self.fail(str(error))
        return True

    def _hello(self, opcode: int, data: bytes) -> None:
        envelope = v1.decode(opcode, data)
        greet, self._greet = self._greet, None  # it keeps the whole request
        if not isinstance(envelope, v1.Hello) or greet is None:
            raise v1.Malformed("hello is the first envelope, and the next one follows the welcome")
        self._enter(State.ASKED)
        greet(self, envelope.opening)

    def writable(self) -> None:
        """The connection's queue fell below ``max_pending`` again."""
        if self._conversation is not None:
            self._conversation.drained()

    def disconnected(self, code: int, reason: str) -> None:
        """The connection is over."""
        if self.state is State.OVER:
            return
        self._enter(State.OVER)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.ended.done():
            self.ended.set_result(True)
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.lost(self, code, reason, ours=self._ours)

    def beat(self) -> None:
        """It is time for a sign of life."""
        if self._conversation is not None:
            self._conversation.beat()

    # ------------------------------------------------------------------ for the greeter

    def welcome(self, conversation: Conversation, welcome: v1.Welcome, had: int) -> None:
        """Let the client have a session.

        Args:
            had: number of the last envelope that it has.
        """
        self._enter(State.WELCOME)
        self._conversation = conversation
        self.carrier.send(TEXT, v1.welcome(welcome))
        conversation.attach(self, had)

    def fail(self, reason: str) -> None:
        """The client broke the protocol."""
        self._context.counters["closed_protocol"] += 1
        self.end(BROKEN, reason)

    # ------------------------------------------------------------------ for the conversation

    def end(self, code: int, reason: str) -> None:
        """Close the connection; what was said before still goes out."""
        if self.state is not State.OVER:
            self._ours = True
            self.carrier.close(code, reason.encode()[:MAX_REASON].decode(errors="ignore"))
