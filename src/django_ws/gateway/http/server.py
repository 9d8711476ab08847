"""The gateway's front: listening sockets, HTTP routing, the timer, and draining."""

from __future__ import annotations

import asyncio
import errno
import re
import resource
import socket
import ssl
from functools import partial
from typing import Protocol

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets, ssl_wrap_socket
from tornado.routing import AnyMatches, PathMatches, Rule
from tornado.web import Application, RequestHandler

from ...options import GatewayConfig
from ..clients.context import Context, Released
from ..clients.plain import Connection
from ..counters import Counters
from ..logs import Journal
from ..pings import Pings, Stalls, tick_length
from . import handshake, proxy
from .accepting import Acceptor
from .admission import Caps, descriptor_cap
from .oversize import LimitedSSLStream, LimitedStream

__all__ = ["Registry", "Server", "ServerError"]

#: Connections that wait to be accepted.
BACKLOG = 1024

#: Bytes that Tornado may read of one request ahead, and of its body where none is expected.
READ_AHEAD = 256 * 1024

#: Connections that are closed in one turn while draining, and seconds between such turns.
DRAIN_BATCH = 100
DRAIN_TURN = 0.01


class ServerError(Exception):
    """The gateway cannot start; the text says why to people."""


class Registry(handshake.Registry, Protocol):
    """What the server needs of the registry of workers.

    Attributes:
        workers: those that take new connections.
    """

    @property
    def workers(self) -> int: ...
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


class NotFound(RequestHandler):
    """Whatever is no WebSocket, where no pages are served."""

    def initialize(self, debug: bool) -> None:
        self._debug = debug

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "text/plain; charset=utf-8")

    def prepare(self) -> None:
        self.set_status(404)
        advice = "run_wsserver --wsgi serves the project's pages, too.\n" if self._debug else ""
        self.finish(f"There is nothing here but WebSockets.\n{advice}")


class Ready(RequestHandler):
    """``GET /-/ready`` for load balancers: 200 if a new connection would be served, else 503."""

    def initialize(self, server: Server) -> None:
        self._server = server

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "text/plain; charset=utf-8")

    def get(self) -> None:
        ready = self._server.ready
        self.set_status(200 if ready else 503)
        self.finish("ready\n" if ready else "not ready\n")


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
        carried = descriptor_cap(raise_descriptor_limit())
        self._caps = Caps(
            min(limits.max_connections or carried, carried), limits.max_connections_per_ip
        )
        context = self._context = Context(
            self._loop, limits, self.counters, self._pings, self._stalls, self._released
        )
        self._gate = handshake.Gate(config, registry, self._caps, context, self._journal)
        idle = limits.idle_timeout or None
        self._max_header_size = limits.max_header_size or READ_AHEAD
        self._http = HTTPServer(
            self._application(),
            max_header_size=self._max_header_size,
            idle_connection_timeout=idle,
            body_timeout=None if config.proxy_port else idle,
            max_buffer_size=READ_AHEAD,
            max_body_size=proxy.MAX_BODY if config.proxy_port else READ_AHEAD,
        )
        self._acceptor: Acceptor | None = None
        self._timer = self._loop.call_later(self._tick, self._on_tick)

    def _application(self) -> Application:
        config = self._config
        try:
            pattern = re.compile(config.websocket_url)
        except re.error as error:
            raise ServerError(f"--websocket-url is no regular expression: {error}") from None
        proxying = bool(config.proxy_port)
        matcher = handshake.SocketMatcher(self._gate, pattern, upgrades_only=proxying)
        return Application(
            [
                Rule(matcher, handshake.Upgrade),
                Rule(PathMatches("/-/ready"), Ready, {"server": self}),
                Rule(AnyMatches(), proxy.Proxy, {"port": config.proxy_port})
                if proxying
                else Rule(AnyMatches(), NotFound, {"debug": config.debug}),
            ],
            log_function=lambda handler: None,
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
        try:
            sockets = bind_sockets(port, host or None, backlog=BACKLOG)
        except OSError as error:
            shown = f"[{host}]" if ":" in host else host
            reason = error.strerror or str(error)
            if error.errno == errno.EADDRINUSE:
                reason += f"; give the command another port, such as {port % 65535 + 1}"
            raise ServerError(f"cannot listen on {shown}:{port}: {reason}") from None
        self._acceptor = Acceptor(sockets, self._take, self.counters)
        name = sockets[0].getsockname()
        return name[0], name[1]

    def _take(self, sock: socket.socket, address: tuple[str, int]) -> None:
        stream: LimitedStream | LimitedSSLStream
        if self._tls is None:
            stream = LimitedStream(sock, max_buffer_size=READ_AHEAD)
        else:
            wrapped = ssl_wrap_socket(
                sock, self._tls, server_side=True, do_handshake_on_connect=False
            )
            stream = LimitedSSLStream(wrapped, max_buffer_size=READ_AHEAD)
        stream.on_oversize = partial(self._oversize, address[0])
        self._http.handle_stream(stream, address)

    def _oversize(self, address: str) -> None:
        self._journal.refused(
            "refused_headers",
            address.removeprefix("::ffff:"),
            431,
            f"the request's headers are over {self._max_header_size} bytes; too many cookies?",
        )

    def _on_tick(self) -> None:
        self._timer = self._loop.call_later(self._tick, self._on_tick)
        self._pings.tick()
        self._stalls.tick()

    def _released(self, connection: Released) -> None:
        self._caps.leave(connection.address)
        if connection.label:
            self._journal.closed(connection.label, connection.code)

    @property
    def ready(self) -> bool:
        """Whether a new connection would be served."""
        return not self._gate.stopping and self._registry.workers > 0

    @property
    def connections(self) -> int:
        """Sockets of accepted WebSockets."""
        return len(self._pings)

    # ------------------------------------------------------------------ stopping

    async def drain(self, seconds: float) -> None:
        """Stop: let nobody in, close all clients with 1001, wait for their events, let go.

        Args:
            seconds: after which everything is over, whoever is still there.
        """
        deadline = self._loop.time() + seconds
        self._gate.stop()
        await self._close_all(min(5.0, seconds / 3))
        # Each has ``close_timeout`` to answer; some of the time belongs to the workers.
        await self._wait_for_clients(deadline - min(2.0, seconds / 4))
        # Until now it listened, so that a load balancer's check got its answer.
        if self._acceptor is not None:
            self._acceptor.close()
        await self._registry.drain(deadline)
        self._registry.close()
        await asyncio.wait([asyncio.ensure_future(self._http.close_all_connections())], timeout=0.5)
        self._timer.cancel()

    async def _close_all(self, seconds: float) -> None:
        """Spread the closes a little, so that not all clients return at once."""
        clients = self._clients()
        batch = max(DRAIN_BATCH, round(len(clients) * DRAIN_TURN / max(seconds, DRAIN_TURN)))
        for first in range(0, len(clients), batch):
            if first:
                await asyncio.sleep(DRAIN_TURN)
            for client in clients[first : first + batch]:
                client.close(1001, "server shutting down")

    def _clients(self) -> list[Connection]:
        everybody = [*self._pings, *self._context.lingering]
        return [peer for peer in everybody if isinstance(peer, Connection)]

    async def _wait_for_clients(self, deadline: float) -> None:
        while (clients := self._clients()) and self._loop.time() < deadline:
            for client in clients:
                client.close(1001, "server shutting down")  # it may just have come in
            await asyncio.sleep(DRAIN_TURN)
        for client in self._clients():
            client.abort(1001, "server shutting down")
