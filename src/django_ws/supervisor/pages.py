"""Serves the project's pages and static files on a loopback port, for development only."""

from __future__ import annotations

import socket
import threading
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.servers.basehttp import (
    ThreadedWSGIServer,
    WSGIRequestHandler,
    get_internal_wsgi_application,
)

from .control import Channel
from .reload import loaded_files

__all__ = ["LISTEN_FD", "listen", "serve"]

#: Environment variable with the number of the listening descriptor.
LISTEN_FD = "DJANGO_WS_WSGI_FD"


def listen() -> socket.socket:
    """The socket that every process for the pages accepts from, one after the other.

    The supervisor holds it, so that the port stays and nobody is refused during a reload.
    """
    return socket.create_server(("127.0.0.1", 0), backlog=128)


class _Server(ThreadedWSGIServer):
    """Django's development server on a socket that is there already."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock.getsockname()[:2], WSGIRequestHandler, bind_and_activate=False)
        self.socket.close()
        # Two processes share the socket during a reload: who comes second must not wait in accept.
        sock.setblocking(False)
        self.socket = sock
        self.server_name, self.server_port = sock.getsockname()[:2]
        self.setup_environ()
        self._idle = threading.Condition()
        self._busy = 0  # guarded by _idle

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a request in a thread of its own."""
        with self._idle:
            self._busy += 1
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        """A request is over."""
        super().close_request(request)
        with self._idle:
            self._busy -= 1
            self._idle.notify_all()

    def wait_idle(self, seconds: float) -> None:
        """Wait until no request runs, but no longer than this."""
        with self._idle:
            self._idle.wait_for(lambda: self._busy <= 0, seconds)


def serve(descriptor: int, channel: Channel, seconds: float) -> int:
    """Serve until the supervisor says stop, or is gone.

    Args:
        descriptor: of the socket of :func:`listen`.
        channel: to the supervisor.
        seconds: for requests that run when the supervisor is gone.

    Returns:
        The exit status.
    """
    application = get_internal_wsgi_application()
    if apps.is_installed("django.contrib.staticfiles") and settings.STATIC_URL:
        application = StaticFilesHandler(application)
    server = _Server(socket.socket(fileno=descriptor))
    server.set_app(application)
    # A short interval, since the loop notices only then that it is to end.
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    channel.send({"op": "files", "files": loaded_files()})
    channel.send({"op": "ready", "port": server.server_port})
    seconds = _wait_for_end(channel, seconds)
    server.shutdown()
    server.wait_idle(seconds)
    return 0


def _wait_for_end(channel: Channel, default: float) -> float:
    """Wait to be told to go. Returns the seconds that there are for it."""
    while True:
        channel.wait(1.0)  # other threads may have left something to send
        try:
            messages = channel.receive()
        except EOFError:
            return default
        for message in messages:
            if message.get("op") in ("retire", "stop"):
                seconds = message.get("seconds")
                return seconds if isinstance(seconds, float) else default
