"""``manage.py run_wsgateway``: a gateway without workers, for deployments that place them apart."""

from __future__ import annotations

import os
import sys
import tempfile
from argparse import ArgumentParser
from typing import Any

import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from ... import conf
from ...supervisor.child import import_path, python_command
from ...transport.addresses import EndpointError
from ...transport.files import make_directories
from .. import flags

__all__ = ["Command"]

#: Environment variable with the number of the descriptor that has the configuration, as JSON.
CONFIG_FD = "DJANGO_WS_CONFIG_FD"


class Command(BaseCommand):
    """Becomes a gateway: the process is replaced, so that nothing of Django stays in it."""

    help = "Holds browsers' WebSockets for workers that are started by run_wsworker."
    # Handlers are the workers' business.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the flags of a gateway."""
        flags.add_gateway_flags(parser)
        flags.add_link_flags(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Execute the gateway in the place of this process."""
        try:
            config = conf.load(flags.settings_flags(options)).gateway
            make_directories([config.push_socket, config.sub_socket])
        except (ImproperlyConfigured, EndpointError) as error:
            raise CommandError(str(error)) from None
        sys.stdout.flush()
        sys.stderr.flush()
        command = python_command("-m", "django_ws.gateway")
        with tempfile.TemporaryFile() as file:
            file.write(msgspec.json.encode(config))
            file.seek(0)
            os.set_inheritable(file.fileno(), True)
            variables = {**os.environ, **import_path(), CONFIG_FD: str(file.fileno())}
            os.execve(command[0], command, variables)
