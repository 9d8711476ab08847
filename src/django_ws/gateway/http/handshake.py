"""The upgrade request: checks, the worker's verdict, and the hand-over to a connection."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import Protocol, cast
from urllib.parse import unquote_to_bytes

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher
from tornado.web import RequestHandler
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import parse_subprotocol
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from ...options import GatewayConfig
from ...wire.messages import Accept, Handshake, Refuse
from ..clients.context import Context, Session
from ..clients.plain import Connection
from ..logs import Journal
from ..sessions import Saturated, UnknownNamespace
from .admission import Caps, Refusal, check_host, check_origin
from .handing_over import hand_over

__all__ = ["Gate", "Registry", "SocketMatcher", "Upgrade"]

#: Compressed messages don't refer to earlier ones, so that an idle connection keeps no zlib state
#: (some 200 KB otherwise), and what a message needs while it is compressed stays small.
_DEFLATE = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True,
    client_no_context_takeover=True,
    server_max_window_bits=12,
    compress_settings={"memLevel": 5},
)

#: Headers that decide whether a request is a WebSocket handshake.
_RELEVANT = (
    "Connection",
    "Upgrade",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Protocol",
)

_NO_UPGRADE = Refusal(
    426,
    "refused_handshake",
    "This is the address of a WebSocket; a browser cannot show it.",
    "Connect with new WebSocket(...) from a page.",
)
_STOPPING = Refusal(503, "refused_stopping", "This server is shutting down.")
_SATURATED = Refusal(
    503,
    "refused_saturated",
    "This server has no room for another connection.",
    "All workers are busy; see the log of the workers.",
)
_TIMEOUT = Refusal(
    503,
    "refused_timeout",
    "No worker answered in time.",
    "Is a worker running (run_wsserver or run_wsworker)? See its log, and HANDSHAKE_TIMEOUT.",
)

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]+")


class Registry(Protocol):
    """What the handshake needs of the registry of workers."""

    def connect(self, handshake: Handshake) -> Session: ...


@dataclass(slots=True, eq=False)
class Gate:
    """What all handshakes share.

    Attributes:
        pending: those that wait for a verdict.
        stopping: nobody is let in any more.
    """

    config: GatewayConfig
    registry: Registry
    caps: Caps
    context: Context
    journal: Journal
    pending: set[Upgrade] = field(default_factory=set)
    stopping: bool = False

    def stop(self) -> None:
        """Refuse those who wait, and whoever comes."""
        self.stopping = True
        for handler in list(self.pending):
            handler.stop()


def decoded_path(request: HTTPServerRequest) -> str:
    """The path with its percent-encoding resolved, as WSGI's ``PATH_INFO`` has it."""
    return unquote_to_bytes(request.path.encode("latin-1", "replace")).decode(errors="replace")


def wants_upgrade(request: HTTPServerRequest) -> bool:
    """Whether the request asks for a WebSocket, properly or not."""
    return "websocket" in request.headers.get("Upgrade", "").lower()


class SocketMatcher(Matcher):
    """Matches requests whose path is a WebSocket's.

    Args:
        gate: for :class:`Upgrade`.
        pattern: must match the whole path.
        upgrades_only: leave other requests to the same path alone.
    """

    def __init__(self, gate: Gate, pattern: re.Pattern[str], upgrades_only: bool) -> None:
        self._gate = gate
        self._pattern = pattern
        self._upgrades_only = upgrades_only

    def match(self, request: HTTPServerRequest) -> dict[str, object] | None:
        if self._upgrades_only and not wants_upgrade(request):
            return None
        match = self._pattern.fullmatch(decoded_path(request))
        if match is None:
            return None
        return {"target_kwargs": {"gate": self._gate, "groups": match.groupdict()}}


class Upgrade(RequestHandler):
    """Serves one handshake. Everything cheap is decided in :meth:`prepare`."""

    def initialize(self, gate: Gate, groups: dict[str, str | None]) -> None:
        self._gate = gate
        self._groups = groups
        self._entered = False
        self._session: Session | None = None
        self._response: Response | None = None
        self._extensions: list[Extension] = []
        #: Ends the wait for the verdict: True if there is nobody left to answer.
        self._ended: asyncio.Future[bool] = gate.context.loop.create_future()

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "text/plain; charset=utf-8")

    # ------------------------------------------------------------------ decisions

    def prepare(self) -> None:
        refusal = self._decide()
        if refusal is not None:
            self._refuse(refusal)

    def _decide(self) -> Refusal | None:
        gate, config, headers = self._gate, self._gate.config, self.request.headers
        if gate.stopping:
            return _STOPPING
        host = headers.get("Host")
        if not wants_upgrade(self.request):
            return check_host(host, config.allowed_hosts) or _NO_UPGRADE
        refusal = gate.caps.enter(self._address)
        if refusal is not None:
            return refusal
        self._entered = True
        refusal = check_host(host, config.allowed_hosts) or check_origin(
            headers.get("Origin"),
            host=host or "",
            scheme=self.request.protocol,
            allowed=config.allowed_origins,
            allow_missing=config.allow_missing_origin,
        )
        return refusal or self._check_handshake() or self._connect()

    def _check_handshake(self) -> Refusal | None:
        """Whether it is a handshake by RFC 6455 §4.2.1; keeps the response to a good one."""
        headers = Headers()
        for name in _RELEVANT:
            for value in self.request.headers.get_list(name):
                headers[name] = value
        core = ServerProtocol(extensions=[_DEFLATE] if self._gate.config.limits.compression else [])
        response = core.accept(
            Request(
                self.request.path,
                headers,
                method=self.request.method or "",
                protocol=self.request.version,
            )
        )
        if response.status_code != 101:
            for name in ("Upgrade", "Allow"):
                if name in response.headers:
                    self.set_header(name, response.headers[name])
            text = bytes(response.body or b"").decode(errors="replace")
            return Refusal(response.status_code, "refused_handshake", text.strip())
        self._response, self._extensions = response, core.extensions
        return None

    def _connect(self) -> Refusal | None:
        handshake = self._handshake()
        try:
            self._session = self._gate.registry.connect(handshake)
        except UnknownNamespace:
            return Refusal(
                404,
                "refused_namespace",
                "There is no such WebSocket.",
                f"DEFAULT_WS_HANDLERS has no entry for {handshake.namespace!r}.",
            )
        except Saturated:
            return _SATURATED
        return None

    def _handshake(self) -> Handshake:
        request = self.request
        groups = {name: value for name, value in self._groups.items() if value is not None}
        namespace = groups.pop("namespace", "") or "default"
        client, server = self._addresses()
        offers = request.headers.get_list("Sec-WebSocket-Protocol")
        try:
            subprotocols = [str(name) for value in offers for name in parse_subprotocol(value)]
        except InvalidHeader:
            subprotocols = []
        return Handshake(
            namespace=namespace,
            kwargs=groups,
            scheme=request.protocol,
            path=decoded_path(request),
            query=request.query,
            # Names with "_" would pass for others with "-" in META (CVE-2026-3902).
            headers=[
                (name.lower(), value)
                for name, value in request.headers.get_all()
                if "_" not in name
            ],
            client=client,
            server=server,
            subprotocols=subprotocols,
            time=time.time(),
        )

    @property
    def _address(self) -> str:
        address = self.request.remote_ip or ""
        return address.removeprefix("::ffff:")

    def _addresses(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Address and port of the peer, and those it reached."""
        sock = cast(HTTP1Connection, self.request.connection).stream.socket
        try:
            client, server = sock.getpeername(), sock.getsockname()
        except (AttributeError, OSError):  # the peer is gone
            return (self._address, 0), ("", 0)
        return (self._address, client[1]), (server[0].removeprefix("::ffff:"), server[1])

    # ------------------------------------------------------------------ the verdict

    async def get(self) -> None:
        session, gate = self._session, self._gate
        assert session is not None
        limit = gate.config.limits.handshake_timeout
        gate.pending.add(self)
        try:
            await asyncio.wait(
                (session.verdict, self._ended),
                timeout=max(0.0, limit - self.request.request_time()) if limit else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            await self._answer(session)
        finally:
            gate.pending.discard(self)
            # Whatever went wrong: the session ends and the place is free again.
            self._leave()

    async def _answer(self, session: Session) -> None:
        if self._ended.done() and self._ended.result():
            self._vanished()
        elif self._ended.done() or self._gate.stopping:
            self._refuse(_STOPPING)
        elif not session.verdict.done():
            self._refuse(_TIMEOUT)
        else:
            verdict = session.verdict.result()
            if isinstance(verdict, Refuse):
                reason = _CONTROL_CHARACTERS.sub(" ", verdict.reason).strip()
                message = f"{verdict.status} {reason}".rstrip()
                refusal = Refusal(verdict.status, "refused_handler", message, reason=reason)
                failed = "on_connect failed; see the log of the workers"
                otherwise = failed if verdict.status == 500 else "on_connect refused it"
                self._refuse(refusal, reason or otherwise)
            else:
                await self._accept(session, verdict)

    async def _accept(self, session: Session, verdict: Accept) -> None:
        response, gate = self._response, self._gate
        assert response is not None
        if verdict.subprotocol:
            response.headers["Sec-WebSocket-Protocol"] = _CONTROL_CHARACTERS.sub(
                "", verdict.subprotocol
            )
        opening = response.serialize()
        label = self._label if gate.config.debug else ""
        address, extensions, context = self._address, self._extensions, gate.context

        def make(early: bytes) -> Connection:
            return Connection(context, session, address, opening, early, extensions, label)

        try:
            await hand_over(self.detach(), make)
        except OSError:
            self._vanished()
            return
        # From now on the connection answers for both.
        self._session, self._entered = None, False
        if label:
            gate.journal.opened(label)

    def on_connection_close(self) -> None:
        self._end(True)

    def stop(self) -> None:
        """The gateway stops: refuse."""
        self._end(False)

    def _end(self, vanished: bool) -> None:
        if not self._ended.done():
            self._ended.set_result(vanished)

    def _leave(self) -> None:
        if self._session is not None:
            self._session.disconnected(1006, "")
            self._session = None
        if self._entered:
            self._entered = False
            self._gate.caps.leave(self._address)

    # ------------------------------------------------------------------ answers

    @property
    def _label(self) -> str:
        return f"{self._address} {_CONTROL_CHARACTERS.sub(' ', decoded_path(self.request))}"

    def _vanished(self) -> None:
        why = "the client left before the answer"
        self._gate.journal.refused("refused_vanished", self._label, 499, why)

    def _refuse(self, refusal: Refusal, why: str = "") -> None:
        """Answer a refusal.

        Args:
            why: for the log, if not what the client is told.
        """
        self._leave()
        advice = refusal.advice if self._gate.config.debug else ""
        why = _CONTROL_CHARACTERS.sub(" ", why or f"{refusal.message} {advice}".rstrip())
        self._gate.journal.refused(refusal.counter, self._label, refusal.status, why)
        # The status line is ASCII; the body has all of it.
        reason = refusal.reason if refusal.reason.isascii() else ""
        self.set_status(refusal.status, reason or None)
        if refusal is _NO_UPGRADE:
            self.set_header("Upgrade", "websocket")
        self.set_header("Connection", "close")
        body = f"{refusal.message}\n{advice}".rstrip()
        self.finish(f"{body}\n")
