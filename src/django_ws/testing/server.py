"""The real server for a test: pages and WebSockets on one port."""

from __future__ import annotations

import time
from contextlib import ExitStack
from socket import gethostbyname
from tempfile import TemporaryDirectory
from typing import cast

import msgspec
from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer
from django.db.backends.base.base import BaseDatabaseWrapper
from django.template import Context
from django.test import modify_settings, override_settings
from django.test.testcases import LiveServerTestCase, LiveServerThread

from .. import conf
from ..options import GatewayConfig, WorkerConfig
from ..outlet import set_outlet
from ..templatetags.django_ws import ws_url
from ..worker.outlet import WorkerOutlet
from .databases import shared_connections
from .gateway import forget
from .halves import GatewayProcess, ServerError, WorkerThread

__all__ = ["LiveServer", "ServerError"]

#: Seconds until everything is ready; usually it takes half of one.
START = 20.0


class LiveServer:
    """Gateway, worker and pages for as long as a test needs them.

    The gateway is a process of its own, as ever. Handlers and views run in threads of the test's
    process: with its settings, its mocks and its test database.

    Args:
        host: name or address of the host, as browsers are to call it.
        port: where to listen; 0 for a free one.
    """

    def __init__(self, host: str = "localhost", port: int = 0) -> None:
        self._host = host
        self._port = port
        self._stack = ExitStack()
        self._halves: list[GatewayProcess | WorkerThread] = []

    # ------------------------------------------------------------------ where it is

    @property
    def url(self) -> str:
        """Of the pages, without a slash at its end."""
        return f"http://{self._host}:{self._port}"

    def websocket_url(self, namespace: str = "default", **kwargs: object) -> str:
        """Where a handler is.

        Args:
            namespace: key of ``DEFAULT_WS_HANDLERS``; or a path, which begins with a slash.
            kwargs: as ``{% ws_url %}`` takes them.

        Raises:
            NoReverseMatch: There is no such namespace, or its URL does not take the arguments.
        """
        path = namespace if namespace.startswith("/") else ws_url(Context(), namespace, **kwargs)
        return f"ws://{self._host}:{self._port}{path}"

    def __str__(self) -> str:
        return self.url

    def __add__(self, path: str) -> str:
        return f"{self}{path}"

    # ------------------------------------------------------------------ its life

    def start(self) -> None:
        """Start everything, and wait until it serves.

        Raises:
            ServerError: It does not start.
            ImproperlyConfigured: The settings are wrong.
        """
        with ExitStack() as stack:
            forget()
            directory = stack.enter_context(TemporaryDirectory(prefix="ws"))
            self._override_settings(stack, directory)
            pages = self._start_pages(stack, stack.enter_context(shared_connections()))
            gateway_config, worker_config = self._configure(pages.port)
            deadline = time.monotonic() + START
            worker = WorkerThread(worker_config)
            stack.callback(worker.stop)
            gateway = GatewayProcess(gateway_config)
            stack.callback(gateway.stop)
            stack.callback(set_outlet, set_outlet(WorkerOutlet(worker.worker.executor)))
            for half in (gateway, worker):
                half.wait(deadline)
            self._port = gateway.port
            self._halves = [gateway, worker]
            # Clients of the test, if it has any, are not to leave their outlet to others.
            stack.callback(forget)
            self._stack = stack.pop_all()

    def stop(self) -> None:
        """Close all connections, and end everything.

        Raises:
            ServerError: A hook does not end.
        """
        self._halves = []
        self._stack.close()

    def check(self) -> None:
        """See that everything still runs.

        Raises:
            ServerError: Something has ended by itself.
        """
        for half in self._halves:
            half.check()

    # ------------------------------------------------------------------ its parts

    def _override_settings(self, stack: ExitStack, directory: str) -> None:
        own = {
            **(getattr(settings, "DJANGO_WS", None) or {}),
            "GATEWAYS": 1,
            "PUSH_SOCKET": f"ipc://{directory}/push",
            "SUB_SOCKET": f"ipc://{directory}/sub",
        }
        # Of the real site: no test may reach it, nor wait for its browsers.
        for name in ("PUBLIC_URL", "ENGINE", "DRAIN_SPREAD"):
            own.pop(name, None)
        stack.enter_context(override_settings(DJANGO_WS=own))
        stack.enter_context(modify_settings(ALLOWED_HOSTS={"append": self._host}))

    def _start_pages(
        self, stack: ExitStack, shared: dict[str, BaseDatabaseWrapper]
    ) -> LiveServerThread:
        thread = _Pages("127.0.0.1", _static_handler(), connections_override=shared)
        thread.daemon = True
        thread.start()
        stack.callback(thread.terminate)
        if not thread.is_ready.wait(START):
            raise ServerError("the server of the pages is not ready in time")
        if thread.error:
            raise thread.error
        return thread

    def _configure(self, pages: int) -> tuple[GatewayConfig, WorkerConfig]:
        loaded = conf.load({})
        gateway, worker = loaded.gateway, loaded.worker
        # Whoever sits in a debugger stops all threads, and nobody is to take that for a hang.
        limits = msgspec.structs.replace(gateway.limits, hang_timeout=0.0)
        return (
            msgspec.structs.replace(
                gateway,
                host=gethostbyname(self._host),
                port=self._port,
                proxy_port=pages,
                certfile="",
                keyfile="",
                limits=limits,
            ),
            msgspec.structs.replace(
                worker,
                # The others fork, or patch the whole process.
                mode=worker.mode if worker.mode == "threaded" else "pool",
                limits=limits,
            ),
        )


class _PageServer(ThreadedWSGIServer):
    def serve_forever(self, poll_interval: float = 0.02) -> None:
        super().serve_forever(poll_interval)  # it notices only so often that it is to end


class _Pages(LiveServerThread):
    server_class = _PageServer


def _static_handler() -> type[WSGIHandler]:
    """What serves static files as the project's development server does, if they have a URL."""
    if not settings.STATIC_URL:
        return cast("type[WSGIHandler]", lambda application: application)
    if apps.is_installed("django.contrib.staticfiles"):
        return StaticFilesHandler
    return cast("type[WSGIHandler]", LiveServerTestCase.static_handler)
