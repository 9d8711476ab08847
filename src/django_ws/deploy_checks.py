"""System checks of ``manage.py check --deploy``: what of our settings is insecure.

Ids are ``django_ws.W02x``. None of it keeps anything from starting.
"""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Iterator
from urllib.parse import urlsplit

from django.core.checks import CheckMessage, Warning
from django.core.exceptions import ImproperlyConfigured

from . import conf
from .options import Limits
from .store.urls import parse
from .transport.addresses import ipc_path

__all__ = ["check_deployment"]

#: Limits without which one client, or one page, can use up what is there for all.
_LIMITS = (
    "max_message_size",
    "max_pending",
    "max_connections_per_ip",
    "message_rate",
    "handshake_timeout",
    "ping_interval",
    "ping_timeout",
    "send_timeout",
    "hang_timeout",
)


def check_deployment(app_configs: object = None, **kwargs: object) -> list[CheckMessage]:
    """Warn about every insecure setting of ours.

    Args:
        app_configs: Django's, not used.
        kwargs: Django's, not used.
    """
    try:
        settings = conf.load({})
        public = conf.public_url()
    except ImproperlyConfigured:
        return []  # other checks say what is wrong
    gateway = settings.gateway
    found = [
        *_origins(gateway.allowed_origins, gateway.allow_missing_origin),
        *_encryption(gateway.host, gateway.certfile, public),
        *_limits(gateway.limits, gateway.host),
        *_endpoints([gateway.push_socket, *settings.worker.sub_sockets]),
        *_engine(gateway.engine),
    ]
    return [
        Warning(problem.message, hint=problem.hint, id=f"django_ws.{problem.id}")
        for problem in found
    ]


def _origins(allowed: list[str], missing: bool) -> Iterator[conf.Problem]:
    if "*" in allowed:
        yield conf.Problem(
            "W020",
            "ALLOWED_ORIGINS has '*': the pages of any site can connect as whoever looks at them.",
            "Name the origins of your own pages, like 'https://www.example.com'.",
        )
    plain = [each for each in allowed if each.startswith("http://") and not _is_local(each)]
    if plain:
        yield conf.Problem(
            "W021",
            f"ALLOWED_ORIGINS has pages that come without encryption: {', '.join(plain)}. Whoever "
            "is on their way can change them, and connect as their users.",
            "Serve them by https, and name them so.",
        )
    if missing:
        yield conf.Problem(
            "W022",
            "ALLOW_MISSING_ORIGIN is set: programs that are no browsers can connect.",
            "Leave it out if you have no such clients; else see that cookies alone do not let in.",
        )


def _encryption(host: str, certfile: str, public: str) -> Iterator[conf.Problem]:
    if not certfile and not _is_loopback(host):
        yield conf.Problem(
            "W023",
            f"The gateway listens at {host} without TLS: whoever reaches it directly sends "
            "cookies and messages that others can read.",
            "Behind a web server that ends TLS set ADDRESS = '127.0.0.1:8888' and, since that "
            "server is the only client then, MAX_CONNECTIONS_PER_IP = 0; or else CERTFILE and "
            "KEYFILE. Where only that server can reach it, silence this.",
        )
    if urlsplit(public).scheme in ("ws", "http") and not _is_local(public):
        yield conf.Problem(
            "W024",
            f"PUBLIC_URL is without encryption: {public}.",
            "Serve the gateway by TLS, and write wss://.",
        )


def _limits(limits: Limits, host: str) -> Iterator[conf.Problem]:
    off = [
        name.upper()
        for name in _LIMITS
        if not getattr(limits, name)
        # A web server in front is the only client: addresses are its business.
        and not (name == "max_connections_per_ip" and _is_loopback(host))
    ]
    if off:
        yield conf.Problem(
            "W025",
            f"Limits are switched off: {', '.join(off)}. A single client can use up what is there "
            "for all.",
            "Leave them out, or give them a value that your clients stay below.",
        )


def _endpoints(endpoints: list[str]) -> Iterator[conf.Problem]:
    tcp = [each for each in endpoints if each.startswith("tcp://")]
    if tcp:
        yield conf.Problem(
            "W026",
            f"Gateway and workers meet at {', '.join(tcp)}, where any user of the machine can say "
            "anything to either.",
            "Use ipc:// paths, or leave PUSH_SOCKET and SUB_SOCKET out.",
        )
    shared = {os.path.dirname(ipc_path(each)) for each in endpoints if ipc_path(each)}
    for directory in sorted(each for each in shared if _is_shared(each)):
        yield conf.Problem(
            "W027",
            f"The directory {directory} of PUSH_SOCKET or SUB_SOCKET can be written by others: "
            "they can take the paths before the project does, and keep it from starting.",
            "Use a directory that is the project's own, or leave both out.",
        )


def _engine(url: str) -> Iterator[conf.Problem]:
    if not url:
        return
    server = parse(url)
    if server.path or all(_is_loopback(host) for host, _ in server.addresses):
        return
    missing = [
        words
        for words, there in (
            ("without encryption", server.tls is not None),
            ("without looking whose certificate it is", server.tls is None or server.tls.verify),
            ("without a password", server.password or (server.tls and server.tls.certfile)),
        )
        if not there
    ]
    if missing:
        yield conf.Problem(
            "W028",
            f"ENGINE is another machine, {server}, {' and '.join(missing)}: whoever is on the way, "
            "or can connect to it, reads and publishes what your users do.",
            "Use rediss:// and a password. Where only your own machines can reach it, silence "
            "this.",
        )


def _is_shared(directory: str) -> bool:
    try:
        return bool(os.stat(directory or ".").st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    except OSError:
        return False  # it will be made, for the project alone


def _is_local(url: str) -> bool:
    return _is_loopback(urlsplit(url).hostname or "")


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
