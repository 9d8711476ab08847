"""``manage.py run_wsserver``: gateway and workers together."""

from __future__ import annotations

from ..base import ServerCommand

__all__ = ["Command"]


class Command(ServerCommand):
    """Starts the gateway for browsers and the Django workers that run the handlers."""

    help = "Serves WebSockets: the gateway for browsers and the workers that run the handlers."
