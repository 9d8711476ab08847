"""One HTTP request's head, as all that decide about it see it. No body: it has not been read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote_to_bytes

from tornado.httputil import HTTPHeaders

from .refusals import Refusal

__all__ = ["Request", "plain_address"]

#: Digits of a Content-Length.
_DIGITS = 15


def plain_address(address: str) -> str:
    """An IP address as people write it, also if IPv6 carries IPv4 (RFC 4291 §2.5.5.2)."""
    return address.removeprefix("::ffff:")


@dataclass(frozen=True)
class Request:
    """A request as it came, its body aside.

    Attributes:
        target: path and query as they were sent.
        version: ``HTTP/1.0`` or ``HTTP/1.1``.
        scheme: ``http`` or ``https``, as the gateway was spoken to.
        client: address and port of the peer.
        server: those it reached.
    """

    method: str
    target: str
    version: str
    headers: HTTPHeaders
    scheme: str
    client: tuple[str, int]
    server: tuple[str, int]

    @cached_property
    def path(self) -> str:
        """The path with its percent-encoding resolved, as WSGI's ``PATH_INFO`` has it."""
        raw = self.target.partition("?")[0]
        return unquote_to_bytes(raw.encode("latin-1", "replace")).decode(errors="replace")

    @property
    def query(self) -> str:
        """What follows the ``?``."""
        return self.target.partition("?")[2]

    @property
    def is_upgrade(self) -> bool:
        """Whether it asks for a WebSocket, properly or not."""
        return "websocket" in self.headers.get("Upgrade", "").lower()

    @property
    def length(self) -> int | None:
        """Bytes of the body; None if only its end will tell. See :meth:`check_framing`."""
        if "Transfer-Encoding" in self.headers:
            return None
        return int(self.headers.get("Content-Length") or 0)

    def check_framing(self) -> Refusal | None:
        """Whether it is clear where the request ends (RFC 9112 §6.3)."""
        length, coding = (
            self.headers.get(name) for name in ("Content-Length", "Transfer-Encoding")
        )
        if coding is not None and (length is not None or coding.lower() != "chunked"):
            return Refusal(400, "refused_body", "This Transfer-Encoding is not understood.")
        if length is None:
            return None
        if length.isascii() and length.isdigit() and len(length) <= _DIGITS:
            return None
        return Refusal(400, "refused_body", "The Content-Length is not a number.")
