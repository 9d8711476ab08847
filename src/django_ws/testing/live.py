"""Tests of pages in real browsers: ``WebSocketLiveServerTestCase``."""

from __future__ import annotations

from typing import ClassVar

from django.test import TransactionTestCase
from django.utils.functional import classproperty

from .server import LiveServer

__all__ = ["WebSocketLiveServerTestCase"]


class WebSocketLiveServerTestCase(TransactionTestCase):
    """A ``LiveServerTestCase`` whose server also has the project's WebSockets.

    One server for all tests of the class: pages, static files and WebSockets at
    :attr:`live_server_url`, by the real gateway. Handlers and views run in threads of this process,
    with the test database; so it is no ``TestCase``, whose transaction they would not see.

    If the server ends by itself, each test that it serves fails with the reason.

    Attributes:
        host: as browsers call it; one that others can reach for browsers on other machines.
        port: where to listen; 0 for a free one.
    """

    host: ClassVar[str] = "localhost"
    port: ClassVar[int] = 0
    _server: ClassVar[LiveServer]

    @classproperty
    def live_server_url(cls) -> str:
        """Of the pages, without a slash at its end."""
        return cls._server.url

    @classmethod
    def websocket_url(cls, namespace: str = "default", **kwargs: object) -> str:
        """Where a handler is, by its namespace and the arguments that ``{% ws_url %}`` takes, or by
        its path; raises as :meth:`.LiveServer.websocket_url` does."""
        return cls._server.websocket_url(namespace, **kwargs)

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls._server = LiveServer(cls.host, cls.port)
        cls._server.start()
        cls.addClassCleanup(cls._server.stop)

    def _post_teardown(self) -> None:
        # Behind what each test flushes, as LiveServerTestCase has it; not in the stubs.
        super()._post_teardown()  # type: ignore[misc]
        self._server.check()
