"""What projects test their handlers and publications with.

* :class:`WebSocketClient`: a browser's end of a connection, without server and sockets;
* :func:`capture_publications`: what was published;
* :class:`WebSocketLiveServerTestCase`: the real gateway and handlers, for tests with browsers;
* ``django_ws.testing.pytest``: all of that as fixtures.

The names are imported when they are first used: pytest loads the plugin for every project, whether
or not it has to do with Django.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import WebSocketClient
    from .inbox import ReceivedEvent
    from .live import WebSocketLiveServerTestCase
    from .publications import CapturedPublications, capture_publications

__all__ = [
    "CapturedPublications",
    "ReceivedEvent",
    "WebSocketClient",
    "WebSocketLiveServerTestCase",
    "capture_publications",
]

_HOMES = {
    "CapturedPublications": ".publications",
    "ReceivedEvent": ".inbox",
    "WebSocketClient": ".client",
    "WebSocketLiveServerTestCase": ".live",
    "capture_publications": ".publications",
}


def __getattr__(name: str) -> object:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(home, __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
