"""The kinds of values that settings and flags take. Pure: knows neither Django nor the settings.

Each function takes what somebody wrote and returns what the program works with, or raises a
:exc:`ValueError` whose words complete "``NAME`` …".
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import ipaddress
import os
import re
from pathlib import Path

import msgspec

from .options import MAX_IPC_PATH, MODES, AuthConfig, GroupConfig
from .store.urls import parse

__all__ = [
    "address",
    "auth",
    "boolean",
    "count",
    "endpoint",
    "endpoints",
    "engine",
    "groups",
    "limit",
    "mode",
    "no_gateway",
    "origins",
    "path",
    "public_url",
    "rate",
    "refuse",
    "regex",
    "seconds",
    "text",
    "whole",
    "worker_lost",
]

#: As the extra ``redis`` says; others pin older ones.
OLDEST_REDIS_PY = 6

_ADDRESS = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:\[\]/]+):)?(?P<port>\d{1,5})", re.A)
_TCP = re.compile(r"tcp://(?P<host>\[[^\]]+\]|[^:/]+):(?P<port>\d{1,5})", re.A)
_ORIGIN = re.compile(r"\*|[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#]+")
_PUBLIC_URL = re.compile(r"(?:ws|http)s?://[^\s/?#]+(?:/[^\s?#]*)?")


def boolean(value: object) -> bool:
    """``True`` or ``False``."""
    if not isinstance(value, bool):
        raise ValueError(f"must be True or False, not {value!r}")
    return value


def text(value: object) -> str:
    """A string with something in it."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"must be a string that is not empty, not {value!r}")
    return value


def whole(value: object) -> int:
    """A whole number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"must be a whole number, 0 or more, not {value!r}")
    return value


def count(value: object) -> int:
    """A whole number, 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"must be a whole number, 1 or more, not {value!r}")
    return value


def limit(value: object) -> int:
    """A whole number; 0 or ``None`` switches the limit off."""
    return 0 if value is None else whole(value)


def rate(value: object) -> float:
    """A number; 0 or ``None`` switches the limit off."""
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        raise ValueError(f"must be a number, 0 or more, not {value!r}")
    return float(value)


def seconds(value: object) -> float:
    """A number of seconds; 0 or ``None`` switches the limit off."""
    try:
        return rate(value)
    except ValueError:
        raise ValueError(f"must be a number of seconds, 0 or more, not {value!r}") from None


def mode(value: object) -> str:
    """An execution mode."""
    if value not in MODES:
        raise ValueError(f"must be one of {', '.join(MODES)}, not {value!r}")
    return str(value)


def worker_lost(value: object) -> str:
    """What becomes of unhandled messages of a worker that died."""
    if value not in ("close", "redeliver"):
        raise ValueError(f"must be 'close' or 'redeliver', not {value!r}")
    return str(value)


def no_gateway(value: object) -> str:
    """What becomes of a publication that no gateway takes."""
    if value not in ("raise", "drop"):
        raise ValueError(f"must be 'raise' or 'drop', not {value!r}")
    return str(value)


def groups(value: object) -> dict[str, GroupConfig]:
    """Options of groups by pattern."""
    if not isinstance(value, dict):
        raise ValueError(
            f'must be a dict like {{"room-*": {{"history_size": 100}}}}, not {value!r}'
        )
    return {text(pattern): _group(str(pattern), options) for pattern, options in value.items()}


def _group(pattern: str, options: object) -> GroupConfig:
    if not isinstance(options, dict):
        raise ValueError(f"must have a dict of options for {pattern!r}, not {options!r}")
    kinds = {
        "history_size": limit,
        "history_ttl": seconds,
        "presence": boolean,
        "join_leave": _join_leave,
    }
    for name in options:
        if name not in kinds:
            known = ", ".join(sorted(kinds))
            raise ValueError(f"has an unknown option {name!r} for {pattern!r}; known: {known}")
    try:
        read = {name: kinds[name](value) for name, value in options.items()}
    except ValueError as error:
        raise ValueError(f"has a wrong option for {pattern!r}: a value {error}") from None
    if read.get("history_ttl") and "history_size" not in read:
        raise ValueError(
            f"has a history_ttl without a history_size for {pattern!r}: nothing would be kept"
        )
    return msgspec.convert(read, GroupConfig)


def _join_leave(value: object) -> bool | str:
    if not isinstance(value, bool) and value != "user":
        raise ValueError(f"must be True, False or 'user', not {value!r}")
    return value


def regex(value: object) -> str:
    """A regular expression."""
    pattern = text(value)
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is no regular expression ({error}): {pattern}") from None
    return pattern


def path(value: object) -> str:
    """A file that can be read."""
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(f"must be the path of a file, not {value!r}")
    name = os.fspath(value)
    try:
        with Path(name).open("rb"):
            pass
    except OSError as error:
        raise ValueError(f"cannot be read: {name} ({error.strerror})") from None
    return str(name)


def origins(value: object) -> list[str]:
    """A list of origins; a scheme is needed, as in Django's ``CSRF_TRUSTED_ORIGINS``."""
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise ValueError(f'must be a list of origins like ["https://example.com"], not {value!r}')
    for item in value:
        if item == "null":
            raise ValueError(
                "cannot have 'null': sandboxed frames and local files have no origin that could be "
                "allowed, so serve the page over HTTP"
            )
        if not isinstance(item, str) or not _ORIGIN.fullmatch(item):
            raise ValueError(f"must have origins like https://example.com, not {item!r}")
    return list(value)


def public_url(value: object) -> str:
    """Where browsers reach the gateway."""
    if not isinstance(value, str) or not _PUBLIC_URL.fullmatch(value):
        raise ValueError(f"must be a URL like wss://ws.example.com, not {value!r}")
    return value


def address(value: object) -> tuple[str, int]:
    """Where to listen: ``8888``, ``"8888"``, ``"127.0.0.1:8888"``, ``"[::1]:8888"`` or a pair.

    Returns:
        Host, without brackets and empty for the default one, and port.
    """
    if isinstance(value, tuple) and len(value) == 2:
        host, port = value
    else:
        match = _ADDRESS.fullmatch(str(value)) if isinstance(value, (str, int)) else None
        if match is None:
            raise ValueError(f"must be a port, ipaddr:port or [ipv6]:port, not {value!r}")
        host, port = (match["host"] or "").strip("[]"), int(match["port"])
    if not isinstance(host, str) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise ValueError(f"must have a port from 0 to 65535, not {value!r}")
    return host, port


def endpoint(value: object) -> str:
    """A ZeroMQ endpoint out of strangers' reach: ``ipc://`` a path, or ``tcp://`` on loopback."""
    if not isinstance(value, str):
        raise ValueError(f"must be an endpoint like ipc:///tmp/ws_push, not {value!r}")
    value = value.strip()
    if value.startswith("ipc://"):
        file = os.fsencode(value.removeprefix("ipc://"))
        if not file or file[:1] in (b"@", b"*"):
            raise ValueError(f"must name a file after ipc://, not {value!r}")
        if len(file) > MAX_IPC_PATH:
            raise ValueError(
                f"has a path of {len(file)} bytes, but a Unix socket's has at most "
                f"{MAX_IPC_PATH}: {value}"
            )
        return value
    if not value.startswith("tcp://"):
        raise ValueError(f"must begin with ipc:// or tcp://, not {value!r}")
    match = _TCP.fullmatch(value)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise ValueError(f"must be like tcp://127.0.0.1:9001, not {value!r}")
    if not _is_loopback(match["host"].strip("[]")):
        raise ValueError(
            f"must stay on loopback, not {value!r}: beyond it anybody who reaches the port could "
            "speak as your project, and encryption (CURVE keys) is not built yet"
        )
    return value


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def endpoints(value: object) -> list[str]:
    """Endpoints, separated by commas."""
    if not isinstance(value, str):
        return [endpoint(value)]
    return [endpoint(part) for part in value.split(",")]


def engine(value: object) -> str:
    """The URL of a server; see :mod:`.store.urls`. Needs redis-py."""
    url = text(value).strip()
    parse(url)
    if importlib.util.find_spec("redis") is None:
        raise ValueError('needs redis-py: pip install "django-ws-gateway[redis]"')
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        version = importlib.metadata.version("redis")
        if int(version.partition(".")[0]) < OLDEST_REDIS_PY:
            raise ValueError(
                f"needs redis-py {OLDEST_REDIS_PY} or later, not {version}: "
                'pip install "django-ws-gateway[redis]"'
            )
    return url


def auth(value: object) -> AuthConfig:
    """``"login_required"``, ``"login_not_required"`` or ``{"permission": "app.codename"}``."""
    if value in ("login_required", "login_not_required"):
        return AuthConfig(login=str(value))
    if isinstance(value, dict) and set(value) == {"permission"}:
        perms = value["permission"]
        perms = [perms] if isinstance(perms, str) else perms
        if (
            isinstance(perms, (list, tuple))
            and perms
            and all(isinstance(perm, str) and 0 < perm.find(".") < len(perm) - 1 for perm in perms)
        ):
            return AuthConfig(permissions=list(perms))
    raise ValueError(
        "must be 'login_required', 'login_not_required' or {'permission': 'app.codename'}, "
        f"not {value!r}"
    )


def refuse(value: object) -> str:
    """``"http"`` or ``"close"``."""
    if value not in ("http", "close"):
        raise ValueError(f"must be 'http' or 'close', not {value!r}")
    return str(value)
