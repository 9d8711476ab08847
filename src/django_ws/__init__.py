"""WebSockets for Django projects whose code is ordinary synchronous Django.

The public names are imported when they are first used: a gateway imports this package, too, and
must not load Django.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import JsonWebSocketHandler, WebSocketHandler
    from .exceptions import (
        ConnectionClosed,
        DjangoWSError,
        GatewayUnavailable,
        MessageTooBig,
        PublishError,
        PublishTimeout,
        Reject,
        RequestError,
        SendTimeout,
        SessionReadOnly,
    )
    from .publications import History, Position, Presence, Publication
    from .publishing import (
        apublish,
        disconnect,
        history,
        position,
        presence,
        publish,
        publish_many,
        publish_to_user,
    )

__version__ = "0.1.0"

__all__ = [
    "ConnectionClosed",
    "DjangoWSError",
    "GatewayUnavailable",
    "History",
    "JsonWebSocketHandler",
    "MessageTooBig",
    "Position",
    "Presence",
    "Publication",
    "PublishError",
    "PublishTimeout",
    "Reject",
    "RequestError",
    "SendTimeout",
    "SessionReadOnly",
    "WebSocketHandler",
    "__version__",
    "apublish",
    "disconnect",
    "history",
    "position",
    "presence",
    "publish",
    "publish_many",
    "publish_to_user",
]

_HOMES = {
    "ConnectionClosed": ".exceptions",
    "DjangoWSError": ".exceptions",
    "GatewayUnavailable": ".exceptions",
    "History": ".publications",
    "JsonWebSocketHandler": ".base",
    "MessageTooBig": ".exceptions",
    "Position": ".publications",
    "Presence": ".publications",
    "Publication": ".publications",
    "PublishError": ".exceptions",
    "PublishTimeout": ".exceptions",
    "Reject": ".exceptions",
    "RequestError": ".exceptions",
    "SendTimeout": ".exceptions",
    "SessionReadOnly": ".exceptions",
    "WebSocketHandler": ".base",
    "apublish": ".publishing",
    "disconnect": ".publishing",
    "history": ".publishing",
    "position": ".publishing",
    "presence": ".publishing",
    "publish": ".publishing",
    "publish_many": ".publishing",
    "publish_to_user": ".publishing",
}


def __getattr__(name: str) -> object:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(home, __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
