"""The opening handshake of RFC 6455 §4.2: is it one, and what does it negotiate? Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.headers import parse_subprotocol
from websockets.http11 import Request as CoreRequest
from websockets.http11 import Response
from websockets.server import ServerProtocol

from ..logs import printable
from .refusals import Refusal
from .requests import Request

__all__ = ["Opening", "negotiate", "offered_subprotocols"]

#: Compressed messages don't refer to earlier ones, so that an idle connection keeps no zlib state
#: (some 200 KB otherwise), and what a message needs while it is compressed stays small.
_DEFLATE = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True,
    client_no_context_takeover=True,
    server_max_window_bits=12,
    compress_settings={"memLevel": 5},
)

#: Headers that decide whether a request is a WebSocket handshake.
_RELEVANT = (
    "Connection",
    "Upgrade",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Protocol",
)


@dataclass(frozen=True, slots=True)
class Opening:
    """A good handshake.

    Attributes:
        extensions: what was negotiated.
    """

    response: Response
    extensions: Sequence[Extension]

    def accept(self, subprotocol: str) -> bytes:
        """The response that opens the connection.

        Args:
            subprotocol: what the handler has chosen; empty for none.
        """
        if subprotocol:
            self.response.headers["Sec-WebSocket-Protocol"] = printable(subprotocol)
        return self.response.serialize()


def negotiate(request: Request, compression: bool) -> Opening | Refusal:
    """Decide whether a request is a handshake.

    Args:
        compression: permessage-deflate (RFC 7692) may be negotiated.
    """
    headers = Headers()
    for name in _RELEVANT:
        for value in request.headers.get_list(name):
            headers[name] = value
    core = ServerProtocol(extensions=[_DEFLATE] if compression else [])
    response = core.accept(
        CoreRequest(
            request.target.partition("?")[0],
            headers,
            method=request.method,
            protocol=request.version,
        )
    )
    if response.status_code == 101:
        return Opening(response, core.extensions)
    text = bytes(response.body or b"").decode(errors="replace").strip()
    kept = [
        (name, response.headers[name]) for name in ("Upgrade", "Allow") if name in response.headers
    ]
    return Refusal(response.status_code, "refused_handshake", text, headers=tuple(kept))


def offered_subprotocols(request: Request) -> list[str]:
    """The subprotocols that the client offers; none if it does so wrongly."""
    offers = request.headers.get_list("Sec-WebSocket-Protocol")
    try:
        return [str(name) for value in offers for name in parse_subprotocol(value)]
    except InvalidHeader:
        return []
