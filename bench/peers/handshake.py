"""The upgrade (RFC 6455 §4.2.2) for servers that frame by themselves."""

import base64
import hashlib
import re

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"sec-websocket-key: *(\S+)", re.IGNORECASE)


def response(request: bytes) -> bytes:
    """The answer that accepts an upgrade request."""
    match = _KEY.search(request)
    assert match is not None
    accept = base64.b64encode(hashlib.sha1(match[1] + _GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
