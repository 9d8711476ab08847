"""Why a request is refused, and the bytes that say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

__all__ = ["Refusal", "response"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused.

    Attributes:
        status: HTTP status.
        counter: which of :data:`..counters.HELP` it counts for; empty for what is nobody's mistake
            and is not logged.
        message: for everybody.
        advice: what to do about it; shown under ``DEBUG``.
        log: for the log, instead of the message.
        reason: for the status line; empty for the usual one.
        headers: of the response.
    """

    status: int
    counter: str
    message: str
    advice: str = ""
    log: str = ""
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    def body(self, debug: bool) -> str:
        """What the client reads."""
        advice = f"{self.advice}\n" if debug and self.advice else ""
        return f"{self.message}\n{advice}"

    def why(self, debug: bool) -> str:
        """What the log says."""
        log = self.log or self.message
        if not debug or self.advice.startswith(log):
            return log
        return f"{log} {self.advice}".rstrip()

    def response(self, debug: bool, head: bool = False) -> bytes:
        """The whole answer; see :func:`response`."""
        return response(
            self.status, self.body(debug), dict(self.headers), reason=self.reason, head=head
        )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def response(
    status: int,
    body: str,
    headers: Mapping[str, str] | None = None,
    *,
    reason: str = "",
    head: bool = False,
) -> bytes:
    """A response in plain text, the last one of its connection.

    Args:
        headers: more of them.
        reason: for the status line, which is ASCII; anything else is replaced by the usual one.
        head: answers a HEAD request, which has no body (RFC 9110 §9.3.2).
    """
    if not reason or not reason.isascii() or not reason.isprintable():
        reason = _phrase(status)
    data = body.encode()
    lines = [
        f"HTTP/1.1 {status} {reason}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(data)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (b"" if head else data)
