"""Clients of django-ws.v1 after their hello: a new session, or the one that they had."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable
from typing import Protocol, cast

from ...options import Limits
from ...wire.codec import encode
from ...wire.messages import Accept, Position
from ..clients import v1
from ..clients.context import Context, Session
from ..clients.conversation import REPLACED, CallSession, Conversation
from ..clients.conversation import State as Stage
from ..clients.line import Line, State
from ..clients.receipts import Receipts
from ..close_codes import of_status
from ..parking import Parking
from ..returning import Returning
from ..wanted import Wanted
from .admission import Admission
from .answers import Answers
from .refusals import Refusal
from .requests import Request
from .routes import Found

__all__ = ["Greetings"]

#: Seconds between signs of life that a client is told where pings are switched off.
_NO_PINGS = 33.0


class _V1Session(Session, CallSession, Protocol):
    """What is needed of a session of the gateway."""

    wanted: Wanted | None

    def ask_to_resume(self, question: Returning) -> None: ...
    def withdraw(self, question: Returning) -> None: ...


class Greetings:
    """Finds the sessions of clients that have said hello.

    Args:
        admission: says who may come in.
        context: of the connections.
        parking: keeps sessions that can be had back.
        answers: notes who may not.
        limits: what clients are told of them.
        name_of: the id of a connection, by its number.
    """

    def __init__(
        self,
        admission: Admission,
        context: Context,
        parking: Parking,
        answers: Answers,
        limits: Limits,
        name_of: Callable[[int], str],
    ) -> None:
        self.receipts = Receipts(context.loop)
        self._admission = admission
        self._context = context
        self._parking = parking
        self._answers = answers
        self._limits = limits
        self._name_of = name_of
        self._numbers = itertools.count(1)
        self._questions = itertools.count(1)
        self._silence = limits.ping_interval + limits.ping_timeout or _NO_PINGS
        self._tasks: set[asyncio.Task[None]] = set()

    def line(self, request: Request, found: Found, label: str) -> Line:
        """What takes the messages of a connection that is about to be open."""
        greeter = _Greeter(self, request, found, label)
        return Line(self._context, next(self._numbers), greeter, self._limits.handshake_timeout)

    def greet(
        self, line: Line, opening: v1.Opening, request: Request, found: Found, label: str
    ) -> None:
        """See :class:`..clients.line.Greeter`."""
        task = asyncio.create_task(self._greet(line, opening, request, found, label))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _greet(
        self, line: Line, opening: v1.Opening, request: Request, found: Found, label: str
    ) -> None:
        refusal = self._admission.check(request)  # it may have begun to stop meanwhile
        if refusal is not None:
            self._refuse(line, refusal, label)
            return
        conversation = self._find(opening, found)
        if conversation is not None and await self._resume(
            line, conversation, opening, request, found, label
        ):
            return
        if line.state is State.ASKED:
            await self._begin(line, opening, request, found, label)

    # ------------------------------------------------------------------ the session it had

    def _find(self, opening: v1.Opening, found: Found) -> Conversation | None:
        conversation = self._parking.find(opening.token) if opening.token else None
        if not isinstance(conversation, Conversation) or conversation.place != found:
            return None
        if not conversation.numbering.follows(opening.had):
            conversation.give_up("its client does not know what it has")
            return None
        return conversation

    async def _resume(
        self,
        line: Line,
        conversation: Conversation,
        opening: v1.Opening,
        request: Request,
        found: Found,
        label: str,
    ) -> bool:
        """Ask whether a client may have its session. False if there is none any more."""
        session = cast(_V1Session, conversation.session)
        handshake = self._admission.handshake(
            request, found, (v1.SUBPROTOCOL,), bytes(opening.auth), "v1"
        )
        question = Returning(
            next(self._questions), encode(handshake), self._context.loop.create_future()
        )
        session.ask_to_resume(question)
        try:
            verdict = await self._admission.verdict(question, line.ended)
        finally:
            session.withdraw(question)
        if question.gone or conversation.state is Stage.OVER:
            if isinstance(verdict, Refusal) and not question.gone:
                self._refuse(line, verdict, label)  # which has ended it
                return True
            conversation.give_up("no worker can take it up again")
            return False
        if question.replaced:
            line.end(REPLACED, "the session went on in another connection")
        elif isinstance(verdict, Refusal):
            self._refuse(line, verdict, label)
        elif isinstance(verdict, Accept) and line.state is State.ASKED:
            if conversation.numbering.follows(opening.had):
                self._welcome(line, conversation, session, opening.had, resumed=True)
            else:
                return False  # the connection before has heard more meanwhile
        return True

    # ------------------------------------------------------------------ a new session

    async def _begin(
        self, line: Line, opening: v1.Opening, request: Request, found: Found, label: str
    ) -> None:
        begun = self._admission.begin(
            request, found, (v1.SUBPROTOCOL,), auth=bytes(opening.auth), kind="v1"
        )
        if isinstance(begun, Refusal):
            self._refuse(line, begun, label)
            return
        session = cast(_V1Session, begun)
        session.wanted = Wanted(
            (since.group, Position(since.offset, since.epoch)) for since in opening.since
        )
        welcome = False
        try:
            verdict = await self._admission.verdict(session, line.ended)
            if isinstance(verdict, Refusal):
                self._refuse(line, verdict, label)
            elif isinstance(verdict, Accept) and line.state is State.ASKED:
                self._introduce(line, session, found)
                welcome = True
        finally:
            # Whatever went wrong, the session ends.
            if not welcome:
                session.disconnected(1006, "")

    def _introduce(self, line: Line, session: _V1Session, found: Found) -> None:
        conversation = Conversation(
            session,
            secrets.token_urlsafe(16),  # 128 bits
            found,
            self._parking,
            self.receipts,
            self._context.high_water,
        )
        self._parking.admit(conversation.token, conversation)
        self._welcome(line, conversation, session, 0, resumed=False)
        session.attach(conversation)

    # ------------------------------------------------------------------ answers

    def _welcome(
        self,
        line: Line,
        conversation: Conversation,
        session: _V1Session,
        had: int,
        *,
        resumed: bool,
    ) -> None:
        welcome = v1.Welcome(
            conversation.token,
            self._name_of(session.conn),
            resumed,
            conversation.numbering.received,
            round(self._silence * 1000),
            round(self._parking.ttl * 1000),
            self._limits.max_message_size,
        )
        line.welcome(conversation, welcome, had)

    def _refuse(self, line: Line, refusal: Refusal, label: str) -> None:
        self._answers.note(label, refusal)
        line.end(of_status(refusal.status), refusal.reason or refusal.message)


class _Greeter:
    """Greets the client of one request."""

    __slots__ = ("_found", "_greetings", "_label", "_request")

    def __init__(self, greetings: Greetings, request: Request, found: Found, label: str) -> None:
        self._greetings = greetings
        self._request = request
        self._found = found
        self._label = label

    def greet(self, line: Line, opening: v1.Opening) -> None:
        self._greetings.greet(line, opening, self._request, self._found, self._label)
