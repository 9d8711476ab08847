"""Every setting in one table: its kind, where it goes, and a sentence for the documentation.

``conf.py`` reads by it, the system checks find the nearest name in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from . import conf_kinds as kinds

__all__ = ["NAMESPACE_OPTIONS", "OPTIONS", "Option"]


class Option(NamedTuple):
    """One setting.

    Attributes:
        kind: turns what was written into the value, or raises ``ValueError`` with words.
        where: the structs it goes to, under its name in lower case: ``"gateway"``, ``"worker"``,
            ``"limits"``, ``"publisher"``, or ``"settings"`` for :class:`Settings`.
        help: one sentence for the documentation.
        flag: how the command line spells it; empty if it cannot.
    """

    kind: Callable[[object], object]
    where: tuple[str, ...]
    help: str
    flag: str = ""

    @property
    def limit(self) -> bool:
        """Whether ``None`` means "no limit"."""
        return self.kind in (kinds.limit, kinds.rate, kinds.seconds)


_LIMITS = ("limits",)
_BOTH = ("gateway", "worker")
_SELF = ("settings",)

#: Every key of ``DJANGO_WS``.
OPTIONS: dict[str, Option] = {
    "ADDRESS": Option(kinds.address, ("gateway",), "Where the gateway listens.", "the address"),
    "PUSH_SOCKET": Option(
        kinds.endpoint, _BOTH, "Endpoint of the events for Django.", "--push-socket"
    ),
    "SUB_SOCKET": Option(
        kinds.endpoints,
        _BOTH,
        "Endpoint of the responses from Django; workers take several, separated by commas.",
        "--sub-socket",
    ),
    "WEBSOCKET_URL": Option(
        kinds.regex,
        ("gateway",),
        "Regular expression of the path; its group `namespace` chooses the handler.",
        "--websocket-url",
    ),
    "MODE": Option(
        kinds.mode, ("worker",), "What runs handlers: pool, threaded, gevent, multiprocess.", "mode"
    ),
    "POOL_SIZE": Option(kinds.count, ("worker",), "Threads of a worker in pool mode.", "--pool"),
    "WORKERS": Option(kinds.count, _SELF, "Worker processes.", "--workers"),
    "GATEWAYS": Option(kinds.count, _SELF, "Gateway processes on one port.", "--gateways"),
    "RELOAD": Option(kinds.boolean, _SELF, "Replace the workers when code changes.", "--reload"),
    "WSGI": Option(kinds.boolean, _SELF, "Serve the project's pages, too.", "--wsgi"),
    "CERTFILE": Option(kinds.path, ("gateway",), "TLS certificate chain (PEM).", "--certfile"),
    "KEYFILE": Option(kinds.path, ("gateway",), "Private key of the certificate.", "--keyfile"),
    "MAX_REQUESTS": Option(
        kinds.limit, _SELF, "Replace a worker after so many messages.", "--max-requests"
    ),
    "MAX_RSS": Option(
        kinds.limit, _SELF, "Replace a worker that takes so much memory (MiB).", "--max-rss"
    ),
    "PROJECT": Option(kinds.text, _BOTH, "Name that both halves must agree on."),
    "GROUPS": Option(
        kinds.groups, ("gateway",), "Which groups keep history and presence, by pattern."
    ),
    "ENGINE": Option(
        kinds.engine,
        ("gateway", "worker", "publisher"),
        "URL of the Redis or Valkey that several gateways share.",
        "--engine",
    ),
    "ON_NO_GATEWAY": Option(
        kinds.no_gateway, ("publisher",), "`raise`, or `drop` publications that no gateway takes."
    ),
    "REVALIDATE": Option(
        kinds.seconds, ("worker",), "Seconds in which each connection's user is looked at again."
    ),
    "PUBLIC_URL": Option(kinds.public_url, _SELF, "Where browsers reach the gateway."),
    "ALLOWED_ORIGINS": Option(kinds.origins, ("gateway",), "Origins of pages on other hosts."),
    "ALLOW_MISSING_ORIGIN": Option(
        kinds.boolean, ("gateway",), "Whether clients that are no browsers may connect."
    ),
    "SOCKETIO": Option(
        kinds.boolean, ("gateway",), "Serve Socket.IO and Engine.IO clients.", "--socketio"
    ),
    "SOCKETIO_RECOVERY": Option(
        kinds.boolean, ("gateway",), "A Socket.IO client may have its session back (`recovered`)."
    ),
    "MAX_MESSAGE_SIZE": Option(kinds.limit, _LIMITS, "Bytes of a message from a browser."),
    "MAX_PENDING": Option(kinds.limit, _LIMITS, "Bytes that may wait for a slow client."),
    "MAX_CONNECTIONS": Option(kinds.limit, _LIMITS, "Connections in all."),
    "MAX_CONNECTIONS_PER_IP": Option(kinds.limit, _LIMITS, "Connections from one address."),
    "MAX_CONNECTIONS_PER_USER": Option(kinds.limit, _LIMITS, "Connections of one user."),
    "SESSION_TTL": Option(
        kinds.seconds, _LIMITS, "Seconds that a session waits for a client that was cut off."
    ),
    "MAX_PARKED": Option(kinds.limit, _LIMITS, "Sessions that wait so; beyond it the oldest ends."),
    "MESSAGE_RATE": Option(kinds.rate, _LIMITS, "Messages per second from one connection."),
    "HANDSHAKE_TIMEOUT": Option(kinds.seconds, _LIMITS, "Seconds until `on_connect` has decided."),
    "PING_INTERVAL": Option(kinds.seconds, _LIMITS, "Seconds between pings."),
    "PING_TIMEOUT": Option(kinds.seconds, _LIMITS, "Seconds for a sign of life after a ping."),
    "SEND_TIMEOUT": Option(kinds.seconds, _LIMITS, "Seconds that `send` waits for a slow client."),
    "DRAIN_TIMEOUT": Option(kinds.seconds, _LIMITS, "Seconds for an orderly stop."),
    "DRAIN_SPREAD": Option(
        kinds.seconds, _LIMITS, "Seconds over which a gateway that stops closes its browsers."
    ),
    "START_TIMEOUT": Option(kinds.seconds, _LIMITS, "Seconds until a new process is ready."),
    "HANG_TIMEOUT": Option(kinds.seconds, _LIMITS, "Seconds a worker may be unresponsive."),
    "ENGINE_TIMEOUT": Option(
        kinds.seconds, _LIMITS, "Seconds without the engine until a gateway is not ready."
    ),
    "COMPRESSION": Option(kinds.boolean, _LIMITS, "Offer permessage-deflate."),
}

#: Every key of an entry of ``DEFAULT_WS_HANDLERS``.
NAMESPACE_OPTIONS: dict[str, Option] = {
    "handler": Option(kinds.text, (), "Dotted path of the handler class."),
    "url": Option(kinds.text, (), "A path as in Django's path(), like ws/chat/<slug:room>/."),
    "on_worker_lost": Option(
        kinds.worker_lost, (), "`close` (1012) or `redeliver` what a lost worker had not handled."
    ),
    "history_size": Option(kinds.limit, (), "Messages kept per group."),
    "history_ttl": Option(kinds.seconds, (), "Seconds they are kept."),
    "hang_timeout": Option(kinds.seconds, (), "Seconds a hook may run."),
    "auth": Option(
        kinds.auth, (), "`login_required`, `login_not_required`, or the permission that users need."
    ),
    "refuse": Option(
        kinds.refuse, (), "`http`, or `close`: 401 and 403 close with 4401 and 4403 instead."
    ),
}
