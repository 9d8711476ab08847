"""Engine.IO's requests: which begin a session, which go on with one, and what they are answered."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
from collections.abc import Callable, Coroutine
from typing import cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPMessageDelegate
from websockets.extensions import Extension

from ...options import Limits
from ...wire.messages import TEXT, Accept
from ..clients.context import Context, Session
from ..clients.engine import POLLING, WEBSOCKET, Engine
from ..clients.engineio import max_body, opening
from ..clients.namespaces import Namespaces
from ..clients.polling import Poller
from ..clients.raw import RawClient
from ..clients.websocket import Probe, WebSocket
from ..logs import Journal
from .admission import Admission
from .answers import Answers
from .doors import Doors
from .engine_queries import origin_of, parse
from .handing_over import hand_over
from .handshake import Opening, negotiate
from .polling import Exchange
from .recovering import Recovering
from .refusals import Refusal
from .requests import Request
from .routes import DEFAULT_NAMESPACE, Found, Routes
from .streams import Stream

__all__ = ["EngineIO"]

_PATH = re.compile(r"/(?:socket\.io/?|engine\.io/?(?:(?<=/)(\w+)/?)?)")

_BAD_METHOD = Refusal(400, "refused_handshake", "A session begins with GET.")
# Nobody's mistake: so a client learns that a session has ended.
_UNKNOWN = Refusal(400, "", "There is no such session.")
_NO_LENGTH = Refusal(411, "refused_body", "The body needs a Content-Length.")
_TOO_LONG = Refusal(413, "refused_body", "The body of this request is too long.")
_NO_BODY = Refusal(413, "refused_body", "There is nothing here that takes a body.")


class EngineIO:
    """Serves ``/socket.io/`` and ``/engine.io/``.

    Args:
        routes: which namespaces there are.
        admission: says who may come in.
        context: of the connections that are made.
        enter: counts a session that is polled for; its end counts by the connection's ``released``.
        leave: one that was counted came to nothing.
        journal: hears who comes.
        answers: tells those who may not.
        recovering: see :class:`.doors.Doors`.
        debug: connections are named in the log.
    """

    def __init__(
        self,
        routes: Routes,
        admission: Admission,
        context: Context,
        enter: Callable[[str], Refusal | None],
        leave: Callable[[str], None],
        journal: Journal,
        answers: Answers,
        limits: Limits,
        *,
        recovering: Recovering | None,
        debug: bool,
    ) -> None:
        self._routes = routes
        self._admission = admission
        self._context = context
        self._enter = enter
        self._leave = leave
        self._journal = journal
        self.answers = answers
        self.limits = limits
        self._debug = debug
        self._numbers = itertools.count(1)
        self._doors = Doors(routes, admission, answers, journal, context.loop, recovering)
        #: Sessions that are polled for; each counts as a socket does.
        self._polled: dict[str, tuple[Engine, Poller]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @staticmethod
    def claims(path: str) -> bool:
        """Whether a request to this path is for this."""
        return _PATH.fullmatch(path) is not None

    def begin(self, connection: HTTP1Connection, request: Request) -> HTTPMessageDelegate | None:
        """Serve one request, whose host was checked.

        Returns:
            Who takes its body; None if there is none to be read.
        """
        label = self._journal.label(request.client[0], request.path)
        query = parse(request)
        refusal = self._admission.check(request, origin_of(request))
        if isinstance(query, Refusal):
            self.answers.refuse(self._detach(connection), label, refusal or query)
            return None
        if refusal is None and request.method != "POST" and request.length != 0:
            refusal = _NO_BODY
        if refusal is not None:
            self.answers.refuse(self._detach(connection), label, refusal)
        elif request.is_upgrade:
            self._upgrade(self._detach(connection), request, label, query.sid)
        else:
            return self._polling(connection, request, label, query.sid)
        return None

    @staticmethod
    def _detach(connection: HTTP1Connection) -> Stream:
        return cast(Stream, connection.detach())

    # ------------------------------------------------------------------ polling

    def _polling(
        self, connection: HTTP1Connection, request: Request, label: str, sid: str
    ) -> HTTPMessageDelegate | None:
        found = self._polled.get(sid)
        if not sid:
            refusal = None if request.method == "GET" else _BAD_METHOD
        elif found is None or request.method not in ("GET", "POST"):
            refusal = _UNKNOWN
        elif request.length is None:
            refusal = _NO_LENGTH
        elif request.length > max_body(self.limits):
            refusal = _TOO_LONG
            found[1].too_big()
        else:
            refusal = None
        if refusal is not None:
            self.answers.refuse(self._detach(connection), label, refusal)
            return None
        exchange = Exchange(self.answers, self.limits, connection, request, label)
        if found is None:
            exchange.act = lambda _: self._open(exchange, request, label)
        elif request.method == "POST":
            poller = found[1]
            exchange.act = lambda body: poller.post(body, exchange.answer)
        else:
            poller = found[1]
            exchange.act = lambda _: poller.poll(exchange)
            exchange.left = poller.abandoned
            exchange.sent = lambda done: poller.answered(exchange, done)
        return exchange

    def _open(self, exchange: Exchange, request: Request, label: str) -> None:
        """Begin a session that is polled for."""
        refusal = self._enter(request.client[0])
        if refusal is not None:
            exchange.refuse(refusal)
            return
        name = self._raw_name(request)
        if name is None:
            engine, _ = self._new_poller(request, label)
            self._new_namespaces(engine, request)
            exchange.answer(opening(engine.sid, self.limits, upgrades=True))
            return
        session = self._admission.begin(request, name)
        if isinstance(session, Refusal):
            self._leave(request.client[0])
            exchange.refuse(session)
            return
        self._spawn(self._open_raw(exchange, request, label, session))

    async def _open_raw(
        self, exchange: Exchange, request: Request, label: str, session: Session
    ) -> None:
        ended: asyncio.Future[bool] = self._context.loop.create_future()
        exchange.left = lambda: None if ended.done() else ended.set_result(True)
        verdict = await self._admission.verdict(session, ended)
        if not isinstance(verdict, Accept):
            session.disconnected(1006, "")
            self._leave(request.client[0])
            exchange.refuse(verdict or _UNKNOWN)
            return
        exchange.left = None
        engine, _ = self._new_poller(request, label)
        client = RawClient(engine, session)
        exchange.answer(opening(engine.sid, self.limits, upgrades=True))
        session.attach(client)

    def _new_poller(self, request: Request, label: str) -> tuple[Engine, Poller]:
        sid = secrets.token_urlsafe(18)
        engine = Engine(sid, next(self._numbers), POLLING, self._context.counters)
        shown = label if self._debug else ""

        def gone() -> None:
            del self._polled[sid]

        poller = Poller(self._context, engine, request.client[0], shown, gone)
        engine.attach(poller)
        if shown:
            self._journal.opened(shown)
        self._polled[sid] = engine, poller
        return engine, poller

    # ------------------------------------------------------------------ WebSockets

    def _upgrade(self, stream: Stream, request: Request, label: str, sid: str) -> None:
        opened = negotiate(request, self.limits.compression)
        found = self._polled.get(sid)
        if isinstance(opened, Refusal):
            self.answers.refuse(stream, label, opened)
        elif found is not None:
            self._spawn(self._hand_over(stream, request, label, opened, Probe(*found)))
        else:
            engine = Engine(
                secrets.token_urlsafe(18),
                next(self._numbers),
                WEBSOCKET,
                self._context.counters,
            )
            if sid:
                # The client library takes a refusal for an error of the network.
                engine.upper = _Nobody()
                engine.opened = lambda: engine.close(1008, "no such session")
                self._spawn(self._hand_over(stream, request, label, opened, engine))
                return
            name = self._raw_name(request)
            if name is None:
                self._spawn(self._begin(stream, request, label, opened, engine))
                return
            session = self._admission.begin(request, name)
            if isinstance(session, Refusal):
                self.answers.refuse(stream, label, session)
                return
            self._spawn(self._begin_raw(stream, request, label, opened, engine, session))

    async def _begin(
        self, stream: Stream, request: Request, label: str, opened: Opening, engine: Engine
    ) -> None:
        engine.opened = lambda: self._greet(engine)
        self._new_namespaces(engine, request)
        await self._hand_over(stream, request, label, opened, engine)

    def _greet(self, engine: Engine) -> None:
        engine.carrier.send(TEXT, opening(engine.sid, self.limits, upgrades=False))

    async def _begin_raw(
        self,
        stream: Stream,
        request: Request,
        label: str,
        opened: Opening,
        engine: Engine,
        session: Session,
    ) -> None:
        ended: asyncio.Future[bool] = self._context.loop.create_future()
        stream.set_close_callback(lambda: None if ended.done() else ended.set_result(True))
        verdict = await self._admission.verdict(session, ended)
        stream.set_close_callback(None)
        if not isinstance(verdict, Accept):
            session.disconnected(1006, "")
            if verdict is None:
                stream.close()
            else:
                self.answers.refuse(stream, label, verdict)
            return
        client = RawClient(engine, session)

        def begin() -> None:
            self._greet(engine)
            session.attach(client)

        engine.opened = begin
        await self._hand_over(stream, request, label, opened, engine)

    async def _hand_over(
        self,
        stream: Stream,
        request: Request,
        label: str,
        opened: Opening,
        session: Engine | Probe,
    ) -> None:
        extensions: list[Extension] = list(opened.extensions)
        shown = label if self._debug else ""
        data, address = opened.accept(""), request.client[0]

        def make(early: bytes) -> WebSocket:
            return WebSocket(self._context, session, address, data, early, extensions, shown)

        try:
            await hand_over(stream, make)
        except OSError:
            session.disconnected(1006, "")
            stream.close()
            return
        if shown:
            self._journal.opened(shown)
        if isinstance(session, Probe) and self.limits.handshake_timeout:
            self._context.loop.call_later(self.limits.handshake_timeout, session.give_up)

    # ------------------------------------------------------------------ sessions

    def _raw_name(self, request: Request) -> Found | None:
        """Which handler a path of ``/engine.io/`` is for; None for ``/socket.io/``."""
        if request.path.startswith("/socket.io"):
            return None
        match = _PATH.fullmatch(request.path)
        assert match is not None
        namespace = match[1] or DEFAULT_NAMESPACE
        return self._routes.by_name(f"/{namespace}") or Found(namespace)

    def _new_namespaces(self, engine: Engine, request: Request) -> None:
        Namespaces(
            self._context,
            engine,
            self._doors.door(request),
            deadline=self.limits.handshake_timeout,
            patience=self.limits.idle_timeout,
        )

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Nobody:
    """What an engine carries that is only to be closed."""

    def receive(self, opcode: int, data: bytes) -> bool:
        return True

    def writable(self) -> None:
        return

    def disconnected(self, code: int, reason: str) -> None:
        return
