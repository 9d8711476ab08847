"""What ``run_wsserver`` and ``run_wsworker`` share: one command in three roles."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import msgspec
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, SystemCheckError
from django.utils.autoreload import get_child_arguments

from .. import checks, conf
from ..supervisor import pages
from ..supervisor.child import python_command
from ..supervisor.control import Channel
from ..supervisor.gateways import shared
from ..supervisor.plan import Plan, StartupError
from ..supervisor.tree import Supervisor
from ..transport.addresses import EndpointError
from ..transport.files import make_directories
from . import flags, roles
from .screen import Screen, configure_logging

__all__ = ["ServerCommand", "child_command"]


#: Seconds for a stop under ``DEBUG``, if ``DRAIN_TIMEOUT`` is not shorter: somebody sits there.
DEBUG_STOP = 5.0


class ServerCommand(BaseCommand):
    """The supervisor in the foreground; in the processes it starts, what they are for.

    Attributes:
        with_gateway: whether a gateway belongs to it.
    """

    # The worker checks the project: the supervisor imports no handlers.
    requires_system_checks = ()
    with_gateway = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the flags of both halves, or of the worker only."""
        if self.with_gateway:
            flags.add_gateway_flags(parser)
        flags.add_worker_flags(parser)
        if self.with_gateway:
            flags.add_supervisor_flags(parser)
        flags.add_link_flags(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what this process is for."""
        given = flags.settings_flags(options)
        with checks.with_flags(given):
            self._run(given, options["verbosity"])

    def _run(self, given: dict[str, object], verbosity: int) -> None:
        channel = Channel.from_env()
        # Without a channel the role is only inherited: from a handler that starts a server.
        role = os.environ.get("DJANGO_WS_ROLE") if channel else None
        home = os.environ.pop("DJANGO_WS_HOME", None)
        if channel is None or role not in ("worker", "wsgi"):
            self._supervise(given, verbosity)
            return
        conf.inherit_home(home)
        settings = self._load(given)
        configure_logging()
        if role == "worker":
            sys.exit(roles.run_worker(self, settings, channel))
        sys.exit(roles.run_pages(settings, channel))

    def _load(self, given: dict[str, object]) -> conf.Settings:
        try:
            settings = conf.load(given)
            make_directories([settings.worker.push_socket, *settings.worker.sub_sockets])
        except (ImproperlyConfigured, EndpointError) as error:
            raise CommandError(str(error)) from None
        return settings

    def _supervise(self, given: dict[str, object], verbosity: int) -> None:
        found = [each for each in checks.check_settings() if not each.is_silenced()]
        if serious := [each for each in found if each.is_serious()]:
            raise SystemCheckError(self._check_text(serious))
        settings = self._load(given)
        if settings.worker.mode == "gevent" and importlib.util.find_spec("gevent") is None:
            raise CommandError('--gevent needs gevent: pip install "django-ws-gateway[gevent]"')
        configure_logging()
        listening = pages.listen() if settings.wsgi and self.with_gateway else None
        output = Screen(self, settings, verbosity)
        try:
            Supervisor(self._plan(settings, listening), output).run()
        except StartupError as error:
            raise (SystemCheckError if error.by_checks else CommandError)(str(error)) from None
        finally:
            if listening is not None:
                listening.close()

    def _check_text(self, messages: list[CheckMessage]) -> str:
        """Errors in the words of ``manage.py check``."""
        number = f"{len(messages)} issue{'s' if len(messages) > 1 else ''}"
        return (
            self.style.ERROR("SystemCheckError: System check identified some issues:\n")
            + "\nERRORS:\n"
            + "\n".join(sorted(self.style.ERROR(str(message)) for message in messages))
            + f"\n\nSystem check identified {number} (0 silenced)."
        )

    def _plan(self, settings: conf.Settings, listening: socket.socket | None) -> Plan:
        gateway = settings.gateway
        if listening is not None:
            gateway = msgspec.structs.replace(gateway, proxy_port=listening.getsockname()[1])
        sub_sockets = settings.worker.sub_sockets[: settings.gateways]
        return Plan(
            worker_command=child_command(gevent=settings.worker.mode == "gevent"),
            workers=settings.workers,
            gateways=shared(gateway, sub_sockets) if self.with_gateway else (),
            gateway_command=python_command("-m", "django_ws.gateway"),
            wsgi_command=child_command() if listening is not None else (),
            wsgi_socket=listening.fileno() if listening is not None else -1,
            home=conf.home(),
            push_socket=settings.worker.push_socket,
            reload=settings.reload,
            drain_timeout=settings.worker.limits.drain_seconds,
            stop_timeout=DEBUG_STOP if settings.worker.debug else 0.0,
            start_timeout=settings.worker.limits.start_timeout,
            hang_timeout=settings.worker.limits.hang_timeout,
            max_requests=settings.max_requests,
            max_rss=settings.max_rss,
        )


def child_command(*, gevent: bool = False) -> tuple[str, ...]:
    """What executes this very command again, by way of ``boot.py``."""
    interpreter, *arguments = map(str, get_child_arguments())
    # Options of the interpreter come first, each in one piece ("-Wd", "-Xdev").
    number = 0
    while number < len(arguments) and arguments[number].startswith(("-W", "-X")):
        number += 1
    boot = str(Path(pages.__file__).with_name("boot.py"))
    patch = ["--gevent"] if gevent else []
    return (interpreter, *arguments[:number], boot, *patch, *arguments[number:])
