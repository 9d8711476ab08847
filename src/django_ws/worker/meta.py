"""``request.META`` of a handshake."""

from __future__ import annotations

from .. import conf
from ..wire.messages import Handshake

__all__ = ["meta"]


def meta(handshake: Handshake) -> dict[str, object]:
    """What WSGI says of a request (PEP 3333), as ``ASGIRequest`` makes it of a scope."""
    # A web server in front may have taken the prefix off, or not.
    prefix = conf.script_name()
    info = handshake.path
    if prefix and f"{info}/".startswith(f"{prefix}/"):
        info = info.removeprefix(prefix)
    meta: dict[str, object] = {
        "REQUEST_METHOD": "GET",
        "QUERY_STRING": handshake.query,
        "SCRIPT_NAME": prefix,
        "PATH_INFO": info,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": handshake.server[0],
        "SERVER_PORT": str(handshake.server[1]),
        "REMOTE_ADDR": handshake.client[0],
        "REMOTE_HOST": handshake.client[0],
        "REMOTE_PORT": handshake.client[1],
        "wsgi.url_scheme": handshake.scheme,
    }
    headers: dict[str, str] = {}
    for name, value in handshake.headers:
        # "X_Y" and "X-Y" would be the same key: drop what only looks like the other.
        if "_" in name:
            continue
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        separator = "; " if key == "HTTP_COOKIE" else ","
        headers[key] = f"{headers[key]}{separator}{value}" if key in headers else value
    meta.update(headers)
    return meta
