"""The commands' flags, and what they say in the words of ``conf.OPTIONS``."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping

from django.core.management.base import CommandError

from ..options import DEFAULT_WEBSOCKET_URL

__all__ = [
    "add_gateway_flags",
    "add_link_flags",
    "add_supervisor_flags",
    "add_worker_flags",
    "settings_flags",
]

#: More threads than this would not start; so a greater number after ``--pool`` is a port.
MAX_POOL = 4096


def add_link_flags(parser: ArgumentParser) -> None:
    """Add what gateway and worker must agree on."""
    group = parser.add_argument_group("links between the gateway and Django")
    group.add_argument(
        "--push-socket",
        metavar="ENDPOINT",
        help="ZeroMQ endpoint of the events for Django (default: the project's own, in a directory "
        "that only this user can open).",
    )
    group.add_argument(
        "--sub-socket",
        metavar="ENDPOINT",
        help="ZeroMQ endpoint of the responses from Django "
        "(default: beside that of the events); workers take several, separated by commas.",
    )
    group.add_argument(
        "--engine",
        metavar="URL",
        help="Redis or Valkey that several gateways share, like redis://host:6379/0. Other "
        "processes read the setting ENGINE, and a password does not belong here.",
    )


def add_gateway_flags(parser: ArgumentParser) -> None:
    """Add what concerns browsers."""
    parser.add_argument(
        "address",
        nargs="?",
        metavar="port | ipaddr:port",
        help="Where to listen (default: 127.0.0.1:8888 under DEBUG, else 0.0.0.0:8888); "
        "port 0 takes a free one.",
    )
    group = parser.add_argument_group("browsers")
    group.add_argument(
        "--websocket-url",
        metavar="REGEX",
        help="Regular expression of the path; its group 'namespace' chooses the handler "
        f"(default: {DEFAULT_WEBSOCKET_URL}).".replace("%", "%%"),
    )
    group.add_argument(
        "--socketio",
        action="store_true",
        default=None,
        help="Also serve clients of Socket.IO and Engine.IO, at /socket.io/ and /engine.io/.",
    )
    group.add_argument("--certfile", metavar="PATH", help="TLS certificate chain (PEM).")
    group.add_argument("--keyfile", metavar="PATH", help="Private key of the certificate (PEM).")


def add_worker_flags(parser: ArgumentParser) -> None:
    """Add what concerns handlers."""
    group = parser.add_argument_group("what runs the handlers")
    modes = group.add_mutually_exclusive_group()
    modes.add_argument(
        "--pool",
        nargs="?",
        const="",
        metavar="N",
        help="An elastic pool (the default mode): at most N hooks of a worker block at a time, 256 "
        "by default. While N do, messages wait and new connections get 503.",
    )
    modes.add_argument(
        "--threaded",
        action="store_const",
        dest="mode",
        const="threaded",
        help="One thread for each connection.",
    )
    modes.add_argument(
        "--gevent",
        action="store_const",
        dest="mode",
        const="gevent",
        help="One greenlet for each connection.",
    )
    modes.add_argument(
        "--multiprocess",
        action="store_const",
        dest="mode",
        const="multiprocess",
        help="One process for each connection.",
    )
    group.add_argument("--workers", type=int, metavar="N", help="Worker processes (default: 1).")
    group.add_argument(
        "--max-requests", type=int, metavar="N", help="Replace a worker after N messages."
    )
    group.add_argument(
        "--max-rss", type=int, metavar="MIB", help="Replace a worker that takes so much memory."
    )
    reload = group.add_mutually_exclusive_group()
    reload.add_argument(
        "--reload",
        action="store_true",
        default=None,
        dest="reload",
        help="Replace the workers when their code changes (the default under DEBUG).",
    )
    reload.add_argument(
        "--noreload", action="store_false", default=None, dest="reload", help="Don't."
    )


def add_supervisor_flags(parser: ArgumentParser) -> None:
    """Add what only makes sense with both halves."""
    group = parser.add_argument_group("processes")
    group.add_argument(
        "--gateways",
        type=int,
        metavar="N",
        help="Gateway processes on the same port (default: 1; more need an engine).",
    )
    group.add_argument(
        "--wsgi",
        action="store_true",
        default=None,
        help="Also serve the project's pages and static files on the same port (for development).",
    )


def settings_flags(options: Mapping[str, object]) -> dict[str, object]:
    """The flags by the names that ``conf.load`` knows them by; ``None`` for what was not given.

    Raises:
        CommandError: ``--pool`` has something after it that is neither a size nor an address.
    """
    names = (
        "address",
        "push_socket",
        "sub_socket",
        "websocket_url",
        "socketio",
        "engine",
        "mode",
        "workers",
        "gateways",
        "reload",
        "wsgi",
        "certfile",
        "keyfile",
        "max_requests",
        "max_rss",
    )
    flags = {name: options.get(name) for name in names}
    pool = options.get("pool")
    if pool is None:
        return flags
    flags["mode"] = "pool"
    size = str(pool)
    if size.isdecimal() and 1 <= int(size) <= MAX_POOL:
        flags["pool_size"] = int(size)
    elif size and "address" in options and flags["address"] is None:
        flags["address"] = size  # `--pool 9000` and `--pool localhost:9000`, as people write it
    elif size:
        raise CommandError(f"--pool takes a number up to {MAX_POOL}, not {size!r}.")
    return flags
