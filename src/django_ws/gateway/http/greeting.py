"""Clients of django-ws.v1 after their hello: a new session, or the one that they had."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from ...options import Limits
from ...wire.codec import encode
from ...wire.messages import Accept, Position
from ..clients import v1
from ..clients.context import Context, Session
from ..clients.conversation import CallSession, Conversation
from ..clients.lasting import REPLACED, REPLACED_WORDS
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

logger = logging.getLogger("django_ws.gateway")

#: What workers call these clients, see :class:`.wire.messages.Handshake`.
KIND = "v1"

#: Seconds between signs of life that a client is told where pings are switched off.
_NO_PINGS = 33.0


class _V1Session(Session, CallSession, Protocol):
    """What is needed of a session of the gateway."""

    wanted: Wanted | None

    def ask_to_resume(self, question: Returning) -> None: ...
    def withdraw(self, question: Returning) -> None: ...


@dataclass(frozen=True, slots=True)
class _Caller:
    """Somebody who has said hello.

    Attributes:
        request: with which the connection began.
        found: where its path leads.
        label: names it in logs.
    """

    line: Line
    opening: v1.Opening
    request: Request
    found: Found
    label: str


class Greetings:
    """Finds the sessions of clients that have said hello.

    Args:
        admission: says who may come in.
        context: of the connections.
        parking: keeps sessions that can be had back.
        answers: notes who may not.
        limits: what clients are told of them.
        name_of: the id of a connection, by its number.

    Attributes:
        receipts: tell clients what is handled.
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

        def greet(line: Line, opening: v1.Opening) -> None:
            caller = _Caller(line, opening, request, found, label)
            task = asyncio.create_task(self._greet(caller))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return Line(self._context, next(self._numbers), greet, self._limits.handshake_timeout)

    async def _greet(self, caller: _Caller) -> None:
        try:
            await self._look(caller)
        except Exception:
            # Nobody else would tell the client, which waits.
            logger.exception("%s: a client could not be greeted", caller.label)
            caller.line.end(of_status(500), "internal error")

    async def _look(self, caller: _Caller) -> None:
        refusal = self._admission.check(caller.request)  # it may have begun to stop meanwhile
        if refusal is not None:
            self._refuse(caller, refusal)
            return
        conversation = self._find(caller)
        if conversation is not None and await self._resume(caller, conversation):
            return
        if caller.line.state is State.ASKED:
            await self._begin(caller)

    # ------------------------------------------------------------------ the session it had

    def _find(self, caller: _Caller) -> Conversation | None:
        token = caller.opening.token
        conversation = self._parking.find(token) if token else None
        if not isinstance(conversation, Conversation) or conversation.place != caller.found:
            return None
        if not conversation.session.live:
            return None  # it was closed, and the client has not heard of it
        if not conversation.numbering.follows(caller.opening.had):
            conversation.give_up("its client does not know what it has")
            return None
        return conversation

    async def _resume(self, caller: _Caller, conversation: Conversation) -> bool:
        """Ask whether a client may have its session. False if there is none any more."""
        session, line = cast(_V1Session, conversation.session), caller.line
        question = Returning(
            next(self._questions),
            encode(
                self._admission.handshake(
                    caller.request,
                    caller.found,
                    (v1.SUBPROTOCOL,),
                    bytes(caller.opening.auth),
                    KIND,
                )
            ),
            self._context.loop.create_future(),
        )
        session.ask_to_resume(question)
        try:
            verdict = await self._admission.verdict(question, line.ended)
        finally:
            session.withdraw(question)
        if question.gone:
            conversation.give_up("no worker can take it up again")
            return False
        if question.replaced:
            line.end(REPLACED, REPLACED_WORDS)
        elif isinstance(verdict, Refusal):
            self._refuse(caller, verdict)
        elif line.state is State.ASKED:
            if not conversation.can_go_on(caller.opening.had):
                return False  # it has ended, or the connection before has heard more meanwhile
            self._welcome(caller, conversation, session, resumed=True)
        return True

    # ------------------------------------------------------------------ a new session

    async def _begin(self, caller: _Caller) -> None:
        opening, line = caller.opening, caller.line
        begun = self._admission.begin(
            caller.request,
            caller.found,
            (v1.SUBPROTOCOL,),
            auth=bytes(opening.auth),
            kind=KIND,
        )
        if isinstance(begun, Refusal):
            self._refuse(caller, begun)
            return
        session = cast(_V1Session, begun)
        session.wanted = Wanted(
            (since.group, Position(since.offset, since.epoch)) for since in opening.since
        )
        welcome = False
        try:
            verdict = await self._admission.verdict(session, line.ended)
            if isinstance(verdict, Refusal):
                self._refuse(caller, verdict)
            elif isinstance(verdict, Accept) and line.state is State.ASKED:
                self._introduce(caller, session)
                welcome = True
        finally:
            # Whatever went wrong, the session ends.
            if not welcome:
                session.disconnected(1006, "")

    def _introduce(self, caller: _Caller, session: _V1Session) -> None:
        conversation = Conversation(
            session,
            secrets.token_urlsafe(16),  # 128 bits
            caller.found,
            self._parking,
            self.receipts,
            self._context.high_water,
        )
        self._parking.admit(conversation.token, conversation)
        self._welcome(caller, conversation, session, resumed=False)
        session.attach(conversation)

    # ------------------------------------------------------------------ answers

    def _welcome(
        self, caller: _Caller, conversation: Conversation, session: _V1Session, *, resumed: bool
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
        caller.line.welcome(conversation, welcome, caller.opening.had if resumed else 0)

    def _refuse(self, caller: _Caller, refusal: Refusal) -> None:
        self._answers.note(caller.label, refusal)
        caller.line.end(of_status(refusal.status), refusal.reason or refusal.message)
