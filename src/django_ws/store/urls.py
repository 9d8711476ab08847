"""Where the server is: what ``ENGINE`` says. Pure.

========================================== =====================================================
``redis://[user:password@]host[:port][/db]``          one server
``rediss://…``                                        by TLS
``unix://[user:password@]/path[?db=0]``               by a Unix socket
``redis+sentinel://…host:port,host:port/service[/db]``  the primary that Sentinels name
``redis+cluster://…host:port,host:port``              a cluster, found by any of its nodes
========================================== =====================================================

``rediss+sentinel`` and ``rediss+cluster`` are the same by TLS.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

__all__ = ["Server", "Tls", "parse"]

PORT = 6379
SENTINEL_PORT = 26379

_SCHEMES: dict[str, Literal["single", "sentinel", "cluster"]] = {
    "redis": "single",
    "unix": "single",
    "redis+sentinel": "sentinel",
    "redis+cluster": "cluster",
}
_SSL = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname", "ssl_cert_reqs")
_ESCAPED = "in names and passwords @, :, /, ?, # and [ are written %40, %3A, %2F, %3F, %23 and %5B"
_NO_FILE = "must name a file after unix://, like unix:///run/valkey/valkey.sock"
_OTHERS = ("db", "sentinel_username", "sentinel_password")


class Tls(msgspec.Struct, frozen=True):
    """How the server is to be trusted.

    Attributes:
        ca_certs: file with who vouches for it; empty for those of the system.
        certfile, keyfile: what this side shows; empty for nothing.
        check_hostname: the certificate must name the host.
        verify: its certificate must be good.
    """

    ca_certs: str = ""
    certfile: str = ""
    keyfile: str = ""
    check_hostname: bool = True
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """For :mod:`asyncio`.

        Raises:
            OSError: A file is missing or not what it should be.
        """
        for name in filter(None, (self.ca_certs, self.certfile, self.keyfile)):
            Path(name).open("rb").close()  # whose errors name the file, which those of ssl do not
        context = ssl.create_default_context(cafile=self.ca_certs or None)
        context.check_hostname = self.check_hostname and self.verify
        if not self.verify:
            context.verify_mode = ssl.CERT_NONE
        if self.certfile:
            context.load_cert_chain(self.certfile, self.keyfile or None)
        return context


class Server(msgspec.Struct, frozen=True):
    """A server, or several that act as one.

    Attributes:
        kind: a single one, one that Sentinels know, or a cluster.
        addresses: host and port of the server, of the Sentinels, or of some nodes.
        path: of the Unix socket; empty without one.
        username, password: what the server wants to hear; empty for nothing.
        service: what the Sentinels call it.
        sentinel_username, sentinel_password: what they want to hear themselves.
        tls: ``None`` without.
    """

    kind: Literal["single", "sentinel", "cluster"]
    addresses: tuple[tuple[str, int], ...] = ()
    path: str = ""
    db: int = 0
    username: str = ""
    password: str = ""
    service: str = ""
    sentinel_username: str = ""
    sentinel_password: str = ""
    tls: Tls | None = None

    def __str__(self) -> str:
        """For people: without names and passwords."""
        if self.path:
            return f"unix://{self.path}"
        scheme = ("redis" if self.tls is None else "rediss") + (
            "" if self.kind == "single" else f"+{self.kind}"
        )
        hosts = ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.addresses)
        return f"{scheme}://{hosts}" + (f"/{self.service}" if self.service else "")


def parse(url: str) -> Server:
    """Read ``ENGINE``.

    Raises:
        ValueError: It says no server; the words complete "``ENGINE`` …" and tell no password.
    """
    scheme, _, rest = url.partition("://")
    secure = scheme.startswith("rediss")
    kind = _SCHEMES.get(scheme.replace("rediss", "redis", 1))
    if kind is None or not rest:
        known = ", ".join(f"{each}://" for each in ("redis", "rediss", *list(_SCHEMES)[1:]))
        raise ValueError(f"must begin with one of {known}, with a server behind it")
    # urlsplit() takes a single port only, so the hosts are taken apart here.
    try:
        parts = urlsplit(f"x://{rest}")
    except ValueError:  # whose words show what stands there
        raise ValueError(f"cannot be read: {_ESCAPED}") from None
    if scheme != "unix" and "@" in rest[len(parts.netloc) :]:
        raise ValueError(f"has an @ behind the host: {_ESCAPED}")
    if parts.fragment:
        raise ValueError(f"has a # that means nothing: {_ESCAPED}")
    options = _options(parts.query, secure)
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    if scheme == "unix":
        if hosts:
            raise ValueError(_NO_FILE)
        return _unix(parts.path, options, username, password)
    port = SENTINEL_PORT if kind == "sentinel" else PORT
    addresses = tuple(_address(host, port) for host in hosts.split(",") if host) or (
        (("localhost", port),)
    )
    if kind == "single" and len(addresses) > 1:
        raise ValueError("names several hosts; those of a cluster go with redis+cluster://")
    path = [unquote(part) for part in parts.path.strip("/").split("/") if part]
    service = path.pop(0) if kind == "sentinel" and path else ""
    if kind == "sentinel" and not service:
        raise ValueError(
            "must name the service after the hosts, like redis+sentinel://one:26379/mymaster"
        )
    if len(path) > 1 or (kind == "cluster" and path):
        raise ValueError(f"has a path that means nothing: {parts.path!r}")
    if kind == "cluster" and "db" in options:
        raise ValueError("has an option that means nothing in a cluster: 'db'")
    if kind != "single" and "@" in credentials:
        raise ValueError(
            f"has more than one @: a name and password go before all hosts; {_ESCAPED}"
        )
    db = _db(path[0] if path else options.get("db", ""))
    return Server(
        kind,
        addresses,
        db=db,
        username=unquote(username),
        password=unquote(password),
        service=service,
        sentinel_username=options.get("sentinel_username", ""),
        sentinel_password=options.get("sentinel_password", ""),
        tls=_tls(options) if secure else None,
    )


def _unix(path: str, options: dict[str, str], username: str, password: str) -> Server:
    if not path.strip("/"):
        raise ValueError(_NO_FILE)
    return Server(
        "single",
        path=unquote(path),
        db=_db(options.get("db", "")),
        username=unquote(username),
        password=unquote(password),
    )


def _options(query: str, secure: bool) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    known = (*_OTHERS, *_SSL) if secure else _OTHERS
    for name in options:
        if name not in known:
            raise ValueError(f"has no option {name!r}; there are {', '.join(known)}")
    return options


def _address(text: str, default: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(default)
    wrong = ":" in host and not host.startswith("[")
    if wrong or not port.isdecimal() or not 0 < int(port) < 65536 or not host.strip("[]"):
        raise ValueError(f"has {text!r} where host:port belongs")
    return unquote(host.strip("[]")), int(port)


def _db(text: str) -> int:
    if text and not text.isdecimal():
        raise ValueError(f"must name the database by a number, not {text!r}")
    return int(text or 0)


def _tls(options: dict[str, str]) -> Tls:
    reqs = options.get("ssl_cert_reqs", "required")
    if reqs not in ("required", "none"):
        raise ValueError(f"takes ssl_cert_reqs=required or none, not {reqs!r}")
    return Tls(
        options.get("ssl_ca_certs", ""),
        options.get("ssl_certfile", ""),
        options.get("ssl_keyfile", ""),
        options.get("ssl_check_hostname", "true").lower() not in ("false", "0", "no"),
        reqs == "required",
    )
