"""Which hosts and origins are served. Pure decisions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .refusals import Refusal

__all__ = ["check_host", "check_origin", "split_host"]

# As django.http.request.host_validation_re.
_HOST = re.compile(r"([a-z0-9.-]+|\[[a-f0-9]*:[a-f0-9.:]+\])(?::([0-9]+))?")
_ORIGIN = re.compile(r"(https?)://(.+)")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


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
        f"This host is not served here. The Host header is {host!r}." if host else "",
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
    message = "This origin may not connect."
    return Refusal(
        403, "refused_origin", message, advice, f"{message} The Origin header is {origin!r}."
    )
