"""Which WebSocket a path leads to. No Django: patterns come as plain regular expressions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...options import Route

__all__ = ["Found", "RouteError", "Routes"]

DEFAULT_NAMESPACE = "default"


class RouteError(ValueError):
    """A pattern is no regular expression; the text says which."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a path leads.

    Attributes:
        namespace: the handler's.
        kwargs: what the pattern captured, as text.
    """

    namespace: str
    kwargs: dict[str, str] = field(default_factory=dict)


class Routes:
    """The URLs of WebSockets.

    Args:
        routes: namespaces with a URL of their own, tried in order.
        websocket_url: leads to all others; its group ``namespace`` names which.

    Raises:
        RouteError: A pattern is no regular expression.
    """

    def __init__(self, routes: Sequence[Route], websocket_url: str) -> None:
        self._routes = [
            (route.namespace, _compile(route.pattern, f"the URL of {route.namespace!r}"))
            for route in routes
        ]
        self._others = _compile(websocket_url, "--websocket-url")
        self._own = {route.namespace for route in routes}
        #: Of these the ones whose handler counts on what the URL captures.
        self._own_kwargs = {name for name, pattern in self._routes if pattern.groupindex}

    @property
    def known(self) -> list[str]:
        """The patterns, for people."""
        return [pattern.pattern for _, pattern in self._routes] + [self._others.pattern]

    def find(self, path: str) -> Found | None:
        """Where a path leads; None if to no WebSocket.

        Args:
            path: decoded, as ``PATH_INFO`` of WSGI.
        """
        for namespace, pattern in self._routes:
            match = pattern.fullmatch(path)
            if match is not None:
                return Found(namespace, _captured(match))
        match = self._others.fullmatch(path)
        if match is None:
            return None
        kwargs = _captured(match)
        namespace = kwargs.pop("namespace", "") or DEFAULT_NAMESPACE
        # A namespace with a URL of its own is found there only: its handler counts on the kwargs.
        return None if namespace in self._own else Found(namespace, kwargs)

    def by_name(self, name: str) -> Found | None:
        """Where a namespace of Socket.IO leads: ``/chat`` to ``chat``, and a URL as it stands.

        Args:
            name: with its slash.
        """
        for namespace, pattern in self._routes:
            match = pattern.fullmatch(name)
            if match is not None:
                return Found(namespace, _captured(match))
        namespace = name[1:] or DEFAULT_NAMESPACE
        return None if namespace in self._own_kwargs else Found(namespace)


def _compile(pattern: str, what: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise RouteError(f"{what} is no regular expression: {error}") from None


def _captured(match: re.Match[str]) -> dict[str, str]:
    return {name: value for name, value in match.groupdict().items() if value is not None}
