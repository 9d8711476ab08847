"""``manage.py run_wsworker``: workers without a gateway, for deployments that place them apart."""

from __future__ import annotations

from ..base import ServerCommand

__all__ = ["Command"]


class Command(ServerCommand):
    """Starts the Django workers that run the handlers."""

    help = "Runs WebSocket handlers for gateways that are started by run_wsgateway."
    with_gateway = False
