"""The upgrade to a WebSocket: asks for admission, answers, and hands the socket on."""

from __future__ import annotations

import asyncio

from websockets.extensions import Extension

from ...wire.messages import Accept
from ..clients.context import Context, Session
from ..clients.line import Envelopes
from ..clients.plain import Connection
from ..clients.v1 import SUBPROTOCOL
from ..logs import Journal
from .admission import Admission
from .answers import Answers
from .greeting import Greetings
from .handing_over import hand_over
from .handshake import Opening, negotiate, offered_subprotocols
from .refusals import Refusal
from .requests import Request
from .routes import Found
from .streams import Stream

__all__ = ["Upgrades"]


class Upgrades:
    """Serves upgrade requests.

    Args:
        admission: says who may come in.
        context: of the connections that are made.
        journal: hears who comes.
        answers: tells those who may not.
        greetings: serves those who offer ``django-ws.v1``, once they are connected.
        compression: permessage-deflate may be negotiated.
        debug: connections are named in the log.
    """

    def __init__(
        self,
        admission: Admission,
        context: Context,
        journal: Journal,
        answers: Answers,
        greetings: Greetings,
        *,
        compression: bool,
        debug: bool,
    ) -> None:
        self._admission = admission
        self._context = context
        self._journal = journal
        self._answers = answers
        self._greetings = greetings
        self._compression = compression
        self._debug = debug
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, stream: Stream, request: Request, found: Found) -> None:
        """Serve one request, whose stream is nobody else's any more.

        Args:
            request: has no body, and its host was checked.
            found: where its path leads.
        """
        label = self._journal.label(request.client[0], request.path)
        opening = self._admission.check(request) or negotiate(request, self._compression)
        if isinstance(opening, Refusal):
            self._answers.refuse(stream, label, opening)
            return
        offered = offered_subprotocols(request)
        if SUBPROTOCOL in offered:
            task = asyncio.create_task(self._open(stream, request, label, opening, found))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        session = self._admission.begin(request, found, offered)
        if isinstance(session, Refusal):
            self._answers.refuse(stream, label, session)
            return
        task = asyncio.create_task(self._answer(stream, request, label, opening, session))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(
        self, stream: Stream, request: Request, label: str, opening: Opening, found: Found
    ) -> None:
        """Let a client in that says by envelopes what it wants."""
        line = self._greetings.line(request, found, label)
        address, context = request.client[0], self._context
        extensions: list[Extension] = list(opening.extensions)
        data, shown = opening.accept(SUBPROTOCOL), label if self._debug else ""

        def make(early: bytes) -> Connection:
            return Envelopes(context, line, address, data, early, extensions, shown)

        try:
            await hand_over(stream, make)
        except OSError:
            stream.close()
            return
        if shown:
            self._journal.opened(shown)

    async def _answer(
        self, stream: Stream, request: Request, label: str, opening: Opening, session: Session
    ) -> None:
        ended: asyncio.Future[bool] = self._context.loop.create_future()

        def leave() -> None:
            if not ended.done():
                ended.set_result(True)

        stream.set_close_callback(leave)
        outcome: Refusal | bool = False  # whether it was accepted; False if the client is gone
        try:
            verdict = await self._admission.verdict(session, ended)
            stream.set_close_callback(None)
            if isinstance(verdict, Accept):
                outcome = await self._accept(stream, request, label, opening, session, verdict)
            else:
                outcome = verdict or False
        finally:
            # Whatever went wrong, the session ends.
            if outcome is not True:
                session.disconnected(1006, "")
            if outcome is False:
                stream.close()
        if isinstance(outcome, Refusal):
            self._answers.refuse(stream, label, outcome)
        elif not outcome:
            why = "the client left before the answer"
            self._journal.refused("refused_vanished", label, 499, why)

    async def _accept(
        self,
        stream: Stream,
        request: Request,
        label: str,
        opening: Opening,
        session: Session,
        verdict: Accept,
    ) -> bool:
        """Hand the socket on; False if the client is gone."""
        address, context = request.client[0], self._context
        extensions: list[Extension] = list(opening.extensions)
        data, shown = opening.accept(verdict.subprotocol), label if self._debug else ""

        def make(early: bytes) -> Connection:
            return Connection(context, session, address, data, early, extensions, shown)

        try:
            await hand_over(stream, make)
        except OSError:
            return False
        if shown:
            self._journal.opened(shown)
        return True
