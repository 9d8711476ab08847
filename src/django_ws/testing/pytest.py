"""Fixtures of pytest: ``ws_client``, ``publications``, ``ws_live_server``.

An entry point makes pytest load this in every environment that has the package, so it imports
nothing of Django before a fixture is used.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .client import WebSocketClient
    from .publications import CapturedPublications
    from .server import LiveServer

__all__ = ["publications", "ws_client", "ws_live_server"]


@pytest.fixture
def ws_client(request: pytest.FixtureRequest) -> Iterator[WebSocketClient]:
    """A :class:`django_ws.testing.WebSocketClient`; what it has connected is closed at the end."""
    # on_close may want the database, so that has to go later, in whichever order they are named.
    for name in ("transactional_db", "db"):
        if name in request.fixturenames:
            request.getfixturevalue(name)
    from .client import WebSocketClient

    with WebSocketClient() as client:
        yield client


@pytest.fixture
def publications() -> Iterator[CapturedPublications]:
    """What is published during the test, as of :func:`django_ws.testing.capture_publications`."""
    from .publications import capture_publications

    with capture_publications() as captured:
        yield captured


@pytest.fixture
def ws_live_server(transactional_db: None) -> Iterator[LiveServer]:
    """The real gateway, handlers and pages, for this test: ``url`` and ``websocket_url()``.

    As with ``live_server`` of pytest-django, which it needs, what the test writes is committed.
    """
    from .server import LiveServer

    server = LiveServer()
    server.start()
    try:
        yield server
        server.check()
    finally:
        server.stop()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """No test finds the groups of the one before, although a traceback may hold its clients."""
    gateway = sys.modules.get(f"{__package__}.gateway")
    if gateway is not None:
        gateway.forget()
