"""Clients of Socket.IO that had a session: whose it is, and whether they may have it back."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from dataclasses import dataclass
from typing import Protocol, cast

import msgspec

from ...wire.codec import encode
from ..clients.context import Context, Session
from ..clients.lasting import State
from ..clients.namespaces import Namespaces
from ..clients.recovery import LastingSession, LastingSocket
from ..clients.socketio import to_json
from ..parking import Parking
from ..returning import Returning
from .admission import Admission
from .refusals import Refusal
from .requests import Request
from .routes import Found

__all__ = ["KIND", "Recovering"]

#: What workers call these clients, see :class:`.wire.messages.Handshake`.
KIND = "socketio"

_REPLACED = Refusal(409, "", "The session went on in another connection.")

_object: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)


class _Session(LastingSession, Session, Protocol):
    """What is needed of a session of the gateway."""

    def ask_to_resume(self, question: Returning) -> None: ...
    def withdraw(self, question: Returning) -> None: ...


@dataclass(frozen=True, slots=True)
class Claim:
    """What a client says that it had.

    Attributes:
        socket: the session.
        offset: of the last event that it has; empty if it has none.
    """

    socket: LastingSocket
    offset: str


class Recovering:
    """Finds sessions for clients that come back.

    Args:
        admission: lets handlers decide.
        context: of the connections.
        parking: keeps the sessions.
    """

    def __init__(self, admission: Admission, context: Context, parking: Parking) -> None:
        self._admission = admission
        self._context = context
        self._parking = parking
        self._questions = itertools.count(1)

    def begin(self, namespaces: Namespaces, path: str, session: Session) -> None:
        """A handler said yes to a new session; see :meth:`.Namespaces.welcome`."""
        socket = LastingSocket(
            path,
            cast(_Session, session),
            secrets.token_urlsafe(18),
            secrets.token_urlsafe(18),
            secrets.token_urlsafe(6),
            self._parking,
            self._context.high_water,
        )
        self._parking.admit(socket.pid, socket)
        socket.attach(namespaces, 0)
        session.attach(socket)

    def claim(self, path: str, auth: bytes) -> tuple[Claim | None, bytes]:
        """What a client had, and what it says besides.

        Args:
            auth: a JSON object.

        Returns:
            None if there is no such session, or none that could go on; and ``auth`` without what
            the client's library has put into it, which is nothing for handlers.
        """
        try:
            fields = _object.decode(auth)
        except (msgspec.DecodeError, RecursionError):
            return None, auth  # the worker cannot read it either
        pid, offset = _pop(fields, "pid"), _pop(fields, "offset")
        if not pid:
            return None, auth
        auth = to_json(fields)
        socket = self._parking.find(pid)
        if not isinstance(socket, LastingSocket) or socket.path != path or not socket.live:
            return None, auth
        if socket.had(offset) is None:
            socket.give_up("its client lacks what is not kept any more")
            return None, auth
        return Claim(socket, offset), auth

    async def resume(
        self,
        claim: Claim,
        namespaces: Namespaces,
        request: Request,
        found: Found,
        auth: bytes,
        ended: asyncio.Future[bool],
    ) -> bool | Refusal:
        """Ask whether a client may have its session.

        Args:
            request: with which the client's connection began.
            found: where its path leads.
            auth: what it sent.
            ended: see :meth:`.Admission.verdict`.

        Returns:
            False if there is none any more; True if it has it, or needs it no more.
        """
        socket = claim.socket
        session = cast(_Session, socket.session)
        question = Returning(
            next(self._questions),
            encode(self._admission.handshake(request, found, (), auth, KIND)),
            self._context.loop.create_future(),
        )
        session.ask_to_resume(question)
        try:
            verdict = await self._admission.verdict(question, ended)
        finally:
            session.withdraw(question)
        if ended.done() and ended.result():
            return True
        if question.gone:
            socket.give_up("no worker can take it up again")
            return False
        if question.replaced:
            return _REPLACED
        if isinstance(verdict, Refusal):
            return verdict
        # Meanwhile it may have ended, or what carried it before was still read.
        had = socket.had(claim.offset)
        if socket.state is State.OVER or had is None:
            return False
        socket.attach(namespaces, had)
        return True


def _pop(fields: dict[str, msgspec.Raw], name: str) -> str:
    """A text, which is taken out; empty if there is none."""
    try:
        value = _text.decode(fields[name])
    except (KeyError, msgspec.DecodeError):
        return ""
    del fields[name]
    return value
