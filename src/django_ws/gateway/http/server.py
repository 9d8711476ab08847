"""The gateway's front: listening sockets, HTTP routing, the timer, and draining."""

from __future__ import annotations

import asyncio
import errno
import resource
import ssl
from typing import Protocol

from tornado.http1connection import HTTP1ConnectionParameters, HTTP1ServerConnection
from tornado.netutil import bind_sockets

from ...options import GatewayConfig
from ..clients.context import Accepted, Context
from ..counters import Counters
from ..logs import Journal
from ..parking import Parking
from ..pings import Pings, Stalls, tick_length
from . import admission
from .accepting import Acceptor
from .admission import Admission
from .answers import Answers
from .caps import FULL, Caps, Descriptors
from .draining import CLOSES, close_all, wait_until_gone
from .engineio import EngineIO
from .front import Front
from .greeting import Greetings
from .proxy import Proxy
from .reception import Reception
from .recovering import Recovering
from .routes import RouteError, Routes
from .streams import Stream
from .upgrade import Upgrades
from .upstream import Upstream

__all__ = ["Registry", "Server", "ServerError"]

#: Connections that wait to be accepted.
BACKLOG = 1024

#: Bytes that may be read ahead of one client, besides its headers: nobody has let it in yet.
READ_AHEAD = 64 * 1024

#: Bytes of headers where they have no limit.
MAX_HEADERS = 1024 * 1024

#: Seconds at most between two requests of one connection.
KEEP_ALIVE = 5.0

#: Seconds that a gateway which is renewed gives those who have just connected.
LET_IN = 1.0


class ServerError(Exception):
    """The gateway cannot start; the text says why to people."""


class Registry(admission.Registry, Protocol):
    """What the server needs of the registry of workers.

    Attributes:
        ready: new connections would be served, and hear what is published.
        incarnation: names this gateway.
    """

    incarnation: str

    @property
    def ready(self) -> bool: ...
    async def drain(self, deadline: float) -> None: ...
    def close(self) -> None: ...


def raise_descriptor_limit() -> int:
    """Raise the limit on open descriptors as far as allowed; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS caps it lower than it says
            return soft
        return hard
    return soft


def tls_context(certfile: str, keyfile: str) -> ssl.SSLContext | None:
    """The TLS context for a certificate; None without one.

    Raises:
        ServerError: A file is missing or not what it should be.
    """
    if not certfile:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certfile, keyfile or None)
    except OSError as error:  # ssl.SSLError, too
        files = " and ".join(filter(None, (certfile, keyfile)))
        raise ServerError(f"cannot use the certificate {files}: {error}") from None
    return context


class Server:
    """Serves browsers. To be made in a running loop.

    Args:
        config: what to serve.
        registry: where handshakes go.
        counters: see :data:`.counters.HELP`.

    Raises:
        ServerError: The certificate or the pattern of the URL is unusable.
    """

    def __init__(self, config: GatewayConfig, registry: Registry, counters: Counters) -> None:
        self._loop = asyncio.get_running_loop()
        self._config = config
        self._registry = registry
        limits = config.limits
        self._tls = tls_context(config.certfile, config.keyfile)
        self.counters = counters
        self._journal = Journal(self.counters, config.debug)
        self._tick = tick_length(limits.ping_interval, limits.ping_timeout, limits.send_timeout)
        self._pings = Pings(limits.ping_interval, limits.ping_timeout, self._tick)
        # Somewhat later than ``send`` gives up, so that a handler that waits is told first.
        stall = limits.send_timeout + 1.0 if limits.send_timeout else 0.0
        self._stalls = Stalls(stall, self._tick)
        descriptors = Descriptors(raise_descriptor_limit())
        context = self._context = Context(
            self._loop, limits, self.counters, self._pings, self._stalls, self._released
        )
        self._answers = Answers(self._journal, config.debug)
        self._admission = Admission(config, registry)
        self._parking = Parking(
            self._loop,
            limits.session_ttl,
            limits.max_parked,
            limits.max_connections_per_ip,
            self.counters,
        )
        self._greetings = Greetings(
            self._admission,
            context,
            self._parking,
            self._answers,
            limits,
            lambda conn: f"{registry.incarnation}-{conn}",
        )
        self._max_header_size = limits.max_header_size or MAX_HEADERS
        self._reception = Reception(
            Caps(
                min(limits.max_connections or descriptors.clients, descriptors.clients),
                limits.max_connections_per_ip,
            ),
            descriptors,
            self._tls,
            self._serve,
            self._answers,
            self._journal,
            max_header_size=self._max_header_size,
            read_ahead=self._max_header_size + READ_AHEAD,
        )
        self._parameters = self._http_parameters(limits.idle_timeout)
        self._front = self._make_front(context, descriptors)
        self._acceptor: Acceptor | None = None
        self._timer = self._loop.call_later(self._tick, self._on_tick)

    def _http_parameters(self, idle: float) -> HTTP1ConnectionParameters:
        return HTTP1ConnectionParameters(
            max_header_size=self._max_header_size, header_timeout=idle or None
        )

    def _make_front(self, context: Context, descriptors: Descriptors) -> Front:
        config, limits = self._config, self._config.limits
        try:
            routes = Routes(config.routes, config.websocket_url)
        except RouteError as error:
            raise ServerError(str(error)) from None
        upgrades = Upgrades(
            self._admission,
            context,
            self._journal,
            self._answers,
            self._greetings,
            compression=limits.compression,
            debug=config.debug,
        )
        pages = None
        if config.proxy_port:
            upstream = Upstream(config.proxy_port, descriptors.pages)
            pages = Proxy(upstream, limits.idle_timeout, self._answers)
        engines = None
        if config.socketio:
            recovering = None
            if config.socketio_recovery:
                recovering = Recovering(self._admission, context, self._parking)
            engines = EngineIO(
                routes,
                self._admission,
                context,
                self._reception.enter,
                self._reception.left,
                self._journal,
                self._answers,
                limits,
                recovering=recovering,
                debug=config.debug,
            )
        return Front(
            routes,
            self._admission,
            upgrades,
            pages,
            engines,
            self._answers,
            self._journal,
            lambda: self.ready,
            later=self._http_parameters(min(limits.idle_timeout or KEEP_ALIVE, KEEP_ALIVE)),
            debug=config.debug,
        )

    # ------------------------------------------------------------------ listening

    def listen(self) -> tuple[str, int]:
        """Begin to accept connections.

        Returns:
            The address and port, as they turned out.

        Raises:
            ServerError: The address cannot be used.
        """
        host, port = self._config.host, self._config.port
        sharing = self._config.sharing
        try:
            sockets = bind_sockets(
                port, host or None, backlog=BACKLOG, reuse_port=sharing == "more"
            )
            if sharing == "first":
                # Bound alone, so that another server on this port is noticed; now for others, too.
                port = sockets[0].getsockname()[1]
                for sock in sockets:
                    sock.close()
                sockets = bind_sockets(port, host or None, backlog=BACKLOG, reuse_port=True)
        except OSError as error:
            shown = f"[{host}]" if ":" in host else host
            reason = error.strerror or str(error)
            if error.errno == errno.EADDRINUSE:
                reason += f"; give the command another port, such as {port % 65535 + 1}"
            raise ServerError(f"cannot listen on {shown}:{port}: {reason}") from None
        excuse = b"" if self._tls is not None else FULL.response(debug=False)
        self._acceptor = Acceptor(sockets, self._reception.take, self.counters, excuse)
        name = sockets[0].getsockname()
        return name[0], name[1]

    def _serve(self, stream: Stream) -> None:
        HTTP1ServerConnection(stream, self._parameters, stream.client[0]).start_serving(self._front)

    def _on_tick(self) -> None:
        self._timer = self._loop.call_later(self._tick, self._on_tick)
        self._pings.tick()
        self._stalls.tick()

    def _released(self, connection: Accepted) -> None:
        self._reception.left(connection.address)
        if connection.label:
            self._journal.closed(connection.label, connection.code)

    @property
    def ready(self) -> bool:
        """Whether a new connection would be served."""
        return not self._admission.stopping and self._registry.ready

    @property
    def connections(self) -> int:
        """Sockets of accepted WebSockets."""
        return self.counters["connections_opened"] - self.counters["connections_closed"]

    # ------------------------------------------------------------------ stopping

    async def drain(self, seconds: float, *, renewal: bool = False) -> None:
        """Stop: let nobody in, close all clients, wait for their events, let go.

        Args:
            seconds: after which everything is over, whoever is still there.
            renewal: another gateway takes this one's place.
        """
        deadline = self._loop.time() + seconds
        close = CLOSES[renewal]
        if renewal and self._config.sharing != "alone" and self._acceptor is not None:
            # Whoever connects from now on reaches one that stays; whoever has is still let in.
            self._acceptor.finish()
            await self._let_in(min(LET_IN, seconds / 4))
        else:
            self._admission.stop()
        self._parking.close()
        await close_all(self._clients(), self._config.limits.drain_spread, seconds, close)
        self._admission.stop()
        # Each has ``close_timeout`` to answer; some of the time belongs to the workers.
        await wait_until_gone(self._clients, deadline - min(2.0, seconds / 4), close)
        self._greetings.receipts.close()
        # Until now it listened, so that a load balancer's check got its answer.
        if self._acceptor is not None:
            self._acceptor.close()
        await self._registry.drain(deadline)
        self._registry.close()
        self._reception.close()
        self._timer.cancel()

    async def _let_in(self, seconds: float) -> None:
        """Wait until all who have connected are let in or refused, but no longer than this."""
        deadline = self._loop.time() + seconds
        while self._reception.staying and self._loop.time() < deadline:
            await asyncio.sleep(0.01)

    def _clients(self) -> list[Accepted]:
        return list(self._context.connections)
