"""What a request of Engine.IO wants, by its query; and which page sent it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from .refusals import Refusal
from .requests import Request

__all__ = ["Query", "origin_of", "parse"]

#: Parameters of a query that are looked at.
_FIELDS = 16

_BAD_QUERY = Refusal(
    400,
    "refused_handshake",
    "This is no request of Engine.IO 4.",
    "It needs EIO=4 and transport=polling or transport=websocket.",
)


@dataclass(frozen=True)
class Query:
    """A query.

    Attributes:
        sid: names the session; empty to begin one.
    """

    transport: str
    sid: str


def parse(request: Request) -> Query | Refusal:
    """What a request wants, or why it is none of Engine.IO's."""
    try:
        fields = parse_qs(request.query, max_num_fields=_FIELDS)
    except ValueError:
        return _BAD_QUERY
    transport = fields.get("transport", [""])[-1]
    wanted = "websocket" if request.is_upgrade else "polling"
    if fields.get("EIO", [""])[-1] != "4" or transport != wanted:
        return _BAD_QUERY
    return Query(transport, fields.get("sid", [""])[-1])


def origin_of(request: Request) -> str | None:
    """Where a page comes from whose browser sends no Origin: with a GET to its own."""
    if request.method == "GET":
        if request.headers.get("Sec-Fetch-Site") == "same-origin":
            return f"{request.scheme}://{request.headers.get('Host', '')}"
        if referer := request.headers.get("Referer"):
            parts = urlsplit(referer)
            return f"{parts.scheme}://{parts.netloc}"
    return None
