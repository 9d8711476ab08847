"""What people see: the start-up text, words about what does not start, and the log."""

from __future__ import annotations

import contextlib
import logging
from datetime import datetime

import django
from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, OutputWrapper

from .. import __version__
from ..conf import Settings
from ..options import DEFAULT_WEBSOCKET_URL

__all__ = ["Screen", "configure_logging"]

_LOG_FORMAT = "[%(asctime)s] %(levelname)s %(name)s: %(message)s"
_LOG_DATE = "%d/%b/%Y %H:%M:%S"


def configure_logging() -> None:
    """Show the log of ``django_ws``, unless the project's ``LOGGING`` says where it goes."""
    logger = logging.getLogger("django_ws")
    configured = getattr(django_settings, "LOGGING", None) or {}
    if logger.hasHandlers() or any(
        name.split(".")[0] == "django_ws" for name in configured.get("loggers", ())
    ):
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_LOG_FORMAT, _LOG_DATE))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if django_settings.DEBUG else logging.WARNING)


class Screen:
    """The terminal of a command, as the supervisor writes to it."""

    def __init__(self, command: BaseCommand, settings: Settings, verbosity: int) -> None:
        self._command = command
        self._settings = settings
        self._namespaces = settings.worker.namespaces
        self._verbosity = verbosity

    def ready(self, host: str, port: int) -> None:
        """Say what runs, where, and how to stop it."""
        if self._verbosity < 1:
            return
        lines = [
            datetime.now().strftime("%B %d, %Y - %X"),
            f"django-ws {__version__}, Django {django.get_version()}, "
            f"using settings {django_settings.SETTINGS_MODULE!r}",
        ]
        if port:
            lines += self._addresses(f"[{host}]" if ":" in host else host, port)
            if self._settings.gateways > 1:
                lines.append(f"{self._settings.gateways} gateways on this port")
        lines += [self._workers(), self._links(), "Quit with CONTROL-C."]
        _show(self._command.stdout, "\n" + "\n".join(lines))

    def failed(self, text: str) -> None:
        """Say why new code does not start."""
        more = "This could not be started; what runs already goes on."
        _show(self._command.stderr, f"{text}\n\n{more}")

    def _addresses(self, host: str, port: int) -> list[str]:
        gateway = self._settings.gateway
        tls = "s" if gateway.certfile else ""
        base = f"ws{tls}://{host}:{port}"
        own = {name: entry.url for name, entry in self._namespaces.items() if entry.url}
        lines = []
        if len(own) < len(self._namespaces):  # the others share one
            shared = gateway.websocket_url
            where = "/socket" if shared == DEFAULT_WEBSOCKET_URL else f", paths {shared}"
            lines.append(f"WebSockets at {base}{where}")
        lines += [f"WebSockets at {base}/{url} ({name})" for name, url in own.items()]
        if self._settings.wsgi:
            lines.append(f"Pages at http{tls}://{host}:{port}/")
        return lines

    def _workers(self) -> str:
        number, mode = self._settings.workers, self._settings.worker.mode
        each = f" of at most {self._settings.worker.pool_size} threads" if mode == "pool" else ""
        reload = ", replaced when code changes" if self._settings.reload else ""
        return f"{number} worker{'s' if number > 1 else ''}, mode {mode}{each}{reload}"

    def _links(self) -> str:
        worker = self._settings.worker
        return f"Events through {worker.push_socket}, responses {', '.join(worker.sub_sockets)}"


def _show(stream: OutputWrapper, text: str) -> None:
    # Nobody may be reading any more: a closed terminal, or `| head`. That is no reason to stop.
    with contextlib.suppress(OSError):
        stream.write(text)
        stream.flush()
