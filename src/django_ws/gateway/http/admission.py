"""Who may start a handshake: caps, Host, Origin. Pure decisions; nothing here waits or sends."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Caps", "Refusal", "check_host", "check_origin", "descriptor_cap", "split_host"]

#: Descriptors kept for everything but sockets of WebSockets: listening sockets, links to workers,
#: HTTP requests, and one more per hand-over.
RESERVED_DESCRIPTORS = 100

# As django.http.request.host_validation_re.
_HOST = re.compile(r"([a-z0-9.-]+|\[[a-f0-9]*:[a-f0-9.:]+\])(?::([0-9]+))?")
_ORIGIN = re.compile(r"(https?)://(.+)")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused.

    Attributes:
        status: HTTP status.
        counter: which of :data:`.counters.HELP` it counts for.
        message: for everybody.
        advice: what to do about it; shown under ``DEBUG``.
        reason: for the status line; empty for the usual one.
    """

    status: int
    counter: str
    message: str
    advice: str = ""
    reason: str = ""


def descriptor_cap(limit: int) -> int:
    """How many connections a limit on open descriptors carries."""
    return max(1, limit - min(RESERVED_DESCRIPTORS, limit // 4))


class Caps:
    """Counts connections, in all and per address, from the handshake to the end of the socket.

    Args:
        total: connections in all.
        per_address: connections from one address; 0 for any number.
    """

    __slots__ = ("_by_address", "_count", "_per_address", "_total")

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._by_address: Counter[str] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def enter(self, address: str) -> Refusal | None:
        """Count a connection, unless it is one too many."""
        if self._count >= self._total:
            return Refusal(
                503,
                "refused_limit",
                "This server has no room for another connection.",
                "Raise the limit on open files (ulimit -n) or MAX_CONNECTIONS.",
            )
        if self._per_address and self._by_address[address] >= self._per_address:
            return Refusal(
                503,
                "refused_limit",
                "Too many connections from your address.",
                f"{address} has {self._per_address} connections, see MAX_CONNECTIONS_PER_IP. "
                "Behind a proxy all clients have its address.",
            )
        self._by_address[address] += 1
        self._count += 1
        return None

    def leave(self, address: str) -> None:
        """A connection that was counted is over."""
        self._count -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


def split_host(host: str) -> tuple[str, str]:
    """Split a Host header as ``django.http.request.split_domain_port`` does.

    Returns:
        The domain in lower case without a trailing dot, and the port; both empty if it is invalid.
    """
    match = _HOST.fullmatch(host.lower())
    if match is None:
        return "", ""
    domain, port = match.groups(default="")
    return domain.removesuffix("."), port


def _same_domain(host: str, pattern: str) -> bool:
    # As django.utils.http.is_same_domain.
    pattern = pattern.lower()
    if pattern.startswith("."):
        return host.endswith(pattern) or host == pattern[1:]
    return bool(pattern) and host == pattern


def check_host(host: str | None, allowed: Sequence[str]) -> Refusal | None:
    """Decide about the Host header as ``HttpRequest.get_host`` does.

    Args:
        host: the header; None if it is missing.
        allowed: ``ALLOWED_HOSTS``, the default of ``DEBUG`` filled in.
    """
    domain, _ = split_host(host or "")
    if domain and any(pattern == "*" or _same_domain(domain, pattern) for pattern in allowed):
        return None
    return Refusal(
        400,
        "refused_host",
        "This host is not served here.",
        f"Add {domain!r} to ALLOWED_HOSTS." if domain else "The Host header is missing or invalid.",
    )


def _split_origin(origin: str) -> tuple[str, str, str] | None:
    """Scheme, domain and port of an http(s) origin; None if it is something else."""
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        return None
    scheme, netloc = match.groups()
    domain, port = split_host(netloc)
    return (scheme, domain, port or _DEFAULT_PORTS[scheme]) if domain else None


def _is_allowed(origin: str, allowed: str) -> bool:
    """Whether one entry of ``ALLOWED_ORIGINS`` covers an origin."""
    if allowed == "*" or allowed.lower() == origin.lower():
        return True
    theirs = _split_origin(origin)
    wildcard = "://*." in allowed
    ours = _split_origin(allowed.replace("://*.", "://", 1))
    if theirs is None or ours is None or theirs[0] != ours[0] or theirs[2] != ours[2]:
        return False
    return _same_domain(theirs[1], f".{ours[1]}" if wildcard else ours[1])


def check_origin(
    origin: str | None,
    *,
    host: str,
    scheme: str,
    allowed: Sequence[str],
    allow_missing: bool,
) -> Refusal | None:
    """Decide whether a page of this origin may connect (RFC 6455 §10.2).

    Args:
        origin: the Origin header; None if it is missing.
        host: the Host header, already checked.
        scheme: ``http`` or ``https``, as the gateway was spoken to.
        allowed: ``ALLOWED_ORIGINS``: ``https://app.example.com``, ``https://*.example.com``
            (which includes ``https://example.com``, as in ``CSRF_TRUSTED_ORIGINS``), ``*``.
        allow_missing: ``ALLOW_MISSING_ORIGIN``.
    """
    if origin is None:
        if allow_missing:
            return None
        return Refusal(
            403,
            "refused_origin",
            "The Origin header is missing.",
            "Browsers always send it. Send one, or set ALLOW_MISSING_ORIGIN for other clients.",
        )
    domain, _ = split_host(host)
    parts = _split_origin(origin)
    if origin == "null":
        advice = "Sandboxed frames and local files have no origin that could be allowed."
    elif scheme == "https" and (parts is None or parts[0] != "https"):
        advice = "A connection over TLS needs a page that was loaded over TLS."
    elif (parts is not None and parts[1] == domain) or any(
        _is_allowed(origin, entry) for entry in allowed
    ):
        return None
    else:
        advice = (
            f"The page comes from {origin}, the socket is at {domain}. Use one name for both "
            f"(localhost and 127.0.0.1 are two), or add {origin!r} to ALLOWED_ORIGINS."
        )
    return Refusal(403, "refused_origin", "This origin may not connect.", advice)
