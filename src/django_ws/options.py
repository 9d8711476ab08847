"""Every option with its type, unit and default: what ``conf.py`` fills in and processes hand on.

Pure data that also the gateway reads, so nothing here knows Django. The structs travel from the
supervisor to its children as JSON.
"""

from __future__ import annotations

import sys
from typing import Literal

import msgspec

__all__ = [
    "DEFAULT_PUSH_SOCKET",
    "DEFAULT_SUB_SOCKET",
    "DEFAULT_WEBSOCKET_URL",
    "MAX_BATCH",
    "MAX_IPC_PATH",
    "MODES",
    "AuthConfig",
    "GatewayConfig",
    "GroupConfig",
    "Limits",
    "NamespaceConfig",
    "PublisherConfig",
    "Route",
    "WorkerConfig",
]

#: The defaults of release 0.1. Now each project has endpoints of its own, which ``conf.py`` finds.
DEFAULT_PUSH_SOCKET = "ipc:///tmp/ws_push"
DEFAULT_SUB_SOCKET = "ipc:///tmp/ws_sub"
DEFAULT_WEBSOCKET_URL = r"/socket(?:/(?P<namespace>\w*))?/?"

#: Bytes of a path in ``struct sockaddr_un`` (``unix(7)``), without the NUL at its end. ZeroMQ
#: takes no longer one either (``zmq_ipc(7)``).
MAX_IPC_PATH = 103 if sys.platform == "darwin" else 107

MODES = ("pool", "threaded", "gevent", "multiprocess")

#: Bytes at which a sender cuts a batch; a single larger message travels alone.
MAX_BATCH = 1024 * 1024


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of both halves; 0 switches one off. Sizes in bytes, times in seconds.

    Attributes:
        max_message_size: largest message a browser may send; more is closed 1009.
        max_header_size: largest upgrade request.
        max_pending: bytes that may wait for one client before its senders are paused.
        max_connections: connections in all; 0: what the descriptor limit carries.
        max_connections_per_ip: connections from one address.
        max_connections_per_user: connections of one user.
        max_pending_handshakes: handshakes at one worker that wait for its verdict.
        message_rate: messages per second and connection, with a burst of as many; above it the
            gateway reads on only as fast as this.
        handshake_timeout: from the upgrade request to the worker's verdict.
        idle_timeout: a connection that has not sent a whole request.
        ping_interval: between pings.
        ping_timeout: after a ping, without inbound traffic, the peer is dead.
        session_ttl: for which a session waits for a client that lost its connection; 0: it ends
            with the connection.
        max_parked: sessions that wait so.
        close_timeout: for the peer's answer to a close frame.
        send_timeout: how long ``send`` waits for a client that does not read.
        drain_timeout: from a stop or replacement to its enforcement.
        drain_spread: over which a gateway that stops closes its browsers, each at a random moment;
            0: as fast as it can.
        start_timeout: until a new process is ready; then it is killed and the old one goes on.
        hang_timeout: after so long without a heartbeat a worker counts as dead.
        engine_timeout: how long the engine may be away until the gateway says that it is not ready.
        compression: offer permessage-deflate (RFC 7692).
    """

    max_message_size: int = 64 * 1024
    max_header_size: int = 8 * 1024
    max_pending: int = 1024 * 1024
    max_connections: int = 0
    max_connections_per_ip: int = 1000
    max_connections_per_user: int = 0
    max_pending_handshakes: int = 64
    message_rate: float = 1000.0
    handshake_timeout: float = 10.0
    idle_timeout: float = 10.0
    ping_interval: float = 25.0
    ping_timeout: float = 8.0
    session_ttl: float = 60.0
    max_parked: int = 10_000
    close_timeout: float = 5.0
    send_timeout: float = 10.0
    drain_timeout: float = 30.0
    drain_spread: float = 0.0
    start_timeout: float = 60.0
    hang_timeout: float = 30.0
    engine_timeout: float = 5.0
    compression: bool = False

    @property
    def drain_seconds(self) -> float:
        """Seconds for an orderly stop or replacement, for what counts them; a day for no limit."""
        return self.drain_timeout or 86400.0

    @property
    def max_outgoing(self) -> int:
        """Bytes of the largest message that a handler may send."""
        return max(MAX_BATCH, self.max_message_size or 2**40)

    @property
    def window_messages(self) -> int:
        """Messages of one connection that may be unhandled at a time."""
        return 64

    @property
    def window_bytes(self) -> int:
        """Bytes of one connection that may be unhandled at a time."""
        return max(256 * 1024, self.max_message_size or 2**40)


class AuthConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a namespace lets in, besides what its handler's class says.

    Attributes:
        login: ``"login_required"``, ``"login_not_required"``, or empty.
        permissions: a user needs all of them.
    """

    login: str = ""
    permissions: list[str] = []


class NamespaceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``DEFAULT_WS_HANDLERS``.

    Attributes:
        handler: dotted path of the handler class.
        url: its own, in Django's path syntax; empty: ``websocket_url`` leads to it.
        on_worker_lost: ``"close"`` (1012) or ``"redeliver"`` what a lost worker had not handled.
        history_size: messages kept per group; 0 for none.
        history_ttl: seconds they are kept.
        hang_timeout: seconds a hook may run before it is reported and its connection closed 1011;
            0 for any time. Hooks that loop with ``wait`` start anew with each ``wait``.
        auth: whom it lets in.
        refuse: ``"http"``: a refusal is an HTTP status; ``"close"``: 401 and 403 close the accepted
            connection with 4401 and 4403 instead.
    """

    handler: str
    url: str = ""
    on_worker_lost: str = "close"
    history_size: int = 0
    history_ttl: float = 0.0
    hang_timeout: float = 0.0
    auth: AuthConfig = AuthConfig()
    refuse: str = "http"


class Route(msgspec.Struct, frozen=True):
    """A namespace's own URL.

    Attributes:
        namespace: which handler.
        pattern: a regular expression for the whole decoded path, its leading slash included. Named
            groups are the handler's kwargs, as text.
    """

    namespace: str
    pattern: str


class GroupConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``DJANGO_WS["GROUPS"]``: what is kept of the groups that its pattern names.

    Attributes:
        history_size: publications kept per group; 0 for none.
        history_ttl: seconds they are kept; 0 for as long as there is room.
        presence: keep who is in the group.
        join_leave: publish who joins and leaves; ``"user"``: once per user and not per connection.
    """

    history_size: int = 0
    history_ttl: float = 0.0
    presence: bool = False
    join_leave: bool | Literal["user"] = False


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway process is started with.

    Attributes:
        host: address to listen on, without brackets.
        port: 0 for a free one.
        sharing: whether others listen on the port, too (``SO_REUSEPORT``): nobody, or gateways of
            the same supervisor, of which this one is the first or one more.
        proxy_port: loopback port of the WSGI child; 0 for none.
        home: what tells the project from others that have the same name, see :class:`.Hello`.
        fingerprints: digests of settings, by which the gateway notices that one has changed.
        routes: namespaces with a URL of their own, tried in order, before ``websocket_url``, which
            leads to all others.
        socketio: serve Engine.IO and Socket.IO.
        socketio_recovery: a client of Socket.IO may have its session back.
        allowed_hosts: as Django's ``ALLOWED_HOSTS``, the default of ``DEBUG`` already filled in.
        groups: by pattern, as of :mod:`fnmatch`; the first that matches counts.
        engine: URL of the server that gateways share; empty for this one's memory.
    """

    project: str
    home: str = ""
    host: str = "127.0.0.1"
    port: int = 8888
    sharing: Literal["alone", "first", "more"] = "alone"
    push_socket: str = DEFAULT_PUSH_SOCKET
    sub_socket: str = DEFAULT_SUB_SOCKET
    websocket_url: str = DEFAULT_WEBSOCKET_URL
    routes: list[Route] = []
    allowed_hosts: list[str] = []
    allowed_origins: list[str] = []
    allow_missing_origin: bool = False
    socketio: bool = False
    socketio_recovery: bool = False
    debug: bool = False
    certfile: str = ""
    keyfile: str = ""
    proxy_port: int = 0
    limits: Limits = Limits()
    fingerprints: dict[str, str] = {}
    groups: dict[str, GroupConfig] = {}
    engine: str = ""


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker process works with.

    Attributes:
        home: what tells the project from others that have the same name, see :class:`.Hello`.
        sub_sockets: the replies endpoint of each gateway.
        mode: one of :data:`MODES`.
        pool_size: threads whose hooks may block at a time in pool mode.
        fingerprints: digests of the gateway's settings as this worker found them.
        groups, engine: as of :class:`GatewayConfig`.
        revalidate: seconds in which each connection is looked at once, whether its user may stay;
            0 for only when something is known to have changed.
    """

    project: str
    namespaces: dict[str, NamespaceConfig]
    home: str = ""
    push_socket: str = DEFAULT_PUSH_SOCKET
    sub_sockets: list[str] = msgspec.field(default_factory=lambda: [DEFAULT_SUB_SOCKET])
    mode: str = "pool"
    pool_size: int = 256
    debug: bool = False
    limits: Limits = Limits()
    fingerprints: dict[str, str] = {}
    groups: dict[str, GroupConfig] = {}
    engine: str = ""
    revalidate: float = 0.0


class PublisherConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a process that only publishes works with.

    Attributes:
        sub_sockets: the replies endpoint of each gateway.
        max_outgoing: bytes of the largest message.
        on_no_gateway: ``"raise"``, or ``"drop"`` what no gateway takes.
        groups, engine: as of :class:`GatewayConfig`.
    """

    project: str
    sub_sockets: list[str] = msgspec.field(default_factory=lambda: [DEFAULT_SUB_SOCKET])
    max_outgoing: int = MAX_BATCH
    on_no_gateway: str = "raise"
    groups: dict[str, GroupConfig] = {}
    engine: str = ""
