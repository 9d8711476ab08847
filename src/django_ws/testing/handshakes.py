"""The handshakes that test clients send, and where they lead."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from http.cookies import SimpleCookie
from typing import Any, NamedTuple
from urllib.parse import unquote

from django.utils.module_loading import import_string

from .. import conf
from ..base import WebSocketHandler
from ..gateway.http.routes import Routes
from ..wire.messages import Handshake

__all__ = ["Destination", "NoDestination", "check_kwargs", "find", "handshake"]


class NoDestination(Exception):
    """The path leads nowhere; the text says why."""


class Destination(NamedTuple):
    """Where a path leads.

    Attributes:
        kwargs: of the handler, by its URL's converters.
    """

    namespace: str
    kwargs: dict[str, Any]
    handler_class: type[WebSocketHandler]


def find(path: str, handler_class: type[WebSocketHandler] | None) -> Destination:
    """Find a handler as gateway and workers do.

    Args:
        path: path without query, or a namespace.
        handler_class: to be taken, whatever ``DEFAULT_WS_HANDLERS`` says.

    Raises:
        NoDestination: There is none.
    """
    namespace, kwargs = path, dict[str, Any]()
    if path.startswith("/"):
        routes = Routes(conf.routes(), conf.websocket_url())
        found = routes.find(unquote(path))
        if found is None:
            raise NoDestination(f"{path} does not match {' or '.join(routes.known)}")
        namespace = found.namespace
        url = conf.namespace_url(namespace)
        try:
            kwargs = dict(found.kwargs) if url is None else url.kwargs(found.kwargs)
        except ValueError as error:
            words = f"a converter of {namespace!r} does not take {path}: {error}"
            raise NoDestination(words) from None
    if handler_class is None:
        dotted = conf.handler_paths().get(namespace)
        if dotted is None:
            raise NoDestination(f"there is no DEFAULT_WS_HANDLERS[{namespace!r}]")
        handler_class = import_string(dotted)
    return Destination(namespace, kwargs, handler_class)


def check_kwargs(destination: Destination) -> None:
    """Make sure that the parameters of a namespace's own URL are there, as they are with a path.

    Raises:
        ValueError: One is missing.
    """
    url = conf.namespace_url(destination.namespace)
    if url is not None and (missing := url.converters.keys() - destination.kwargs.keys()):
        given = ", ".join(f'"{name}": …' for name in sorted(missing))
        raise ValueError(
            f"{destination.namespace!r} has the URL {url.text!r}: connect to a path, or with "
            f"kwargs={{{given}}}"
        )


def handshake(
    destination: Destination,
    path: str,
    query: str,
    cookies: SimpleCookie,
    headers: Mapping[str, str],
    subprotocols: Sequence[str],
    secure: bool,
) -> Handshake:
    """The upgrade request as a gateway would have got it.

    Args:
        headers: besides, or instead of, those that every browser sends.
    """
    sent = {
        "host": "testserver",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "origin": f"{'https' if secure else 'http'}://testserver",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    if subprotocols:
        sent["sec-websocket-protocol"] = ", ".join(subprotocols)
    if cookies:
        pairs = (f"{name}={morsel.coded_value}" for name, morsel in cookies.items())
        sent["cookie"] = "; ".join(pairs)
    sent.update({name.lower(): value for name, value in headers.items()})
    return Handshake(
        namespace=destination.namespace,
        kwargs={name: str(value) for name, value in destination.kwargs.items()},
        scheme="https" if secure else "http",
        path=path if path.startswith("/") else f"/socket/{path}",
        query=query,
        headers=list(sent.items()),
        client=("127.0.0.1", 50000),
        server=("testserver", 443 if secure else 80),
        subprotocols=list(subprotocols),
        time=time.time(),
    )
