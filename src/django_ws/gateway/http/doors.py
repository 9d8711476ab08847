"""How clients of Socket.IO come into namespaces: each is a session that is asked for by itself."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import cast

from ...wire.messages import Accept
from ..clients.namespace import EventSession, Socket
from ..clients.namespaces import Doorman, Namespaces
from ..logs import Journal
from .admission import Admission
from .answers import Answers
from .recovering import KIND, Recovering
from .refusals import Refusal
from .requests import Request
from .routes import Routes

__all__ = ["Doors"]


class Doors:
    """Asks for admission to namespaces.

    Args:
        routes: which namespaces there are.
        admission: says who may come in.
        answers: notes who may not.
        journal: names them.
        recovering: lets clients have their sessions back; None if they cannot.
    """

    def __init__(
        self,
        routes: Routes,
        admission: Admission,
        answers: Answers,
        journal: Journal,
        loop: asyncio.AbstractEventLoop,
        recovering: Recovering | None,
    ) -> None:
        self._routes = routes
        self._admission = admission
        self._answers = answers
        self._journal = journal
        self._loop = loop
        self._recovering = recovering
        self._tasks: set[asyncio.Task[None]] = set()

    def door(self, request: Request) -> Doorman:
        """For one client.

        Args:
            request: with which it began.
        """
        return _Door(self, request)

    def ask(
        self, namespaces: Namespaces, request: Request, path: str, auth: bytes
    ) -> Callable[[], None]:
        """See :class:`..clients.namespaces.Doorman`."""
        ended: asyncio.Future[bool] = self._loop.create_future()
        task = asyncio.create_task(self._ask(namespaces, request, path, auth, ended))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return lambda: None if ended.done() else ended.set_result(True)

    async def _ask(
        self,
        namespaces: Namespaces,
        request: Request,
        path: str,
        auth: bytes,
        ended: asyncio.Future[bool],
    ) -> None:
        if ended.done():
            return
        found = self._routes.by_name(path)
        recovering = self._recovering
        if recovering is not None and found is not None:
            claim, auth = recovering.claim(path, auth)
            if claim is not None:
                back = await recovering.resume(claim, namespaces, request, found, auth, ended)
                if isinstance(back, Refusal):
                    self._refuse(namespaces, request, path, back)
                if back or (ended.done() and ended.result()):
                    return
        session = (
            self._admission.begin(request, found, auth=auth, kind=KIND)
            if found is not None
            else None
        )
        if session is None or (isinstance(session, Refusal) and session.status == 404):
            namespaces.refused(path, "Invalid namespace", 0)
            return
        verdict: Accept | Refusal | None
        if isinstance(session, Refusal):
            verdict = session
        else:
            verdict = await self._admission.verdict(session, ended)
            if ended.done() and ended.result():
                verdict = None  # it left in the same turn
        if isinstance(verdict, Accept) and not isinstance(session, Refusal):
            if recovering is not None:
                recovering.begin(namespaces, path, session)
                return
            socket = Socket(namespaces, path, cast(EventSession, session))
            namespaces.welcome(socket, secrets.token_urlsafe(18))
            session.attach(socket)
            return
        if not isinstance(session, Refusal):
            session.disconnected(1006, "")
        if isinstance(verdict, Refusal):
            self._refuse(namespaces, request, path, verdict)

    def _refuse(
        self, namespaces: Namespaces, request: Request, path: str, refusal: Refusal
    ) -> None:
        self._answers.note(self._journal.label(request.client[0], path), refusal)
        namespaces.refused(path, refusal.reason or refusal.message, refusal.status)


class _Door:
    """Asks for admission as the request did that began the session."""

    def __init__(self, doors: Doors, request: Request) -> None:
        self._doors = doors
        self._request = request

    def admit(self, namespaces: Namespaces, path: str, auth: bytes) -> Callable[[], None]:
        return self._doors.ask(namespaces, self._request, path, auth)
