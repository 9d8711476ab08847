"""Tells the project of gateways that have started."""

from __future__ import annotations

import threading

from ..signals import gateway_started
from . import hygiene

__all__ = ["Greetings"]


class Greetings:
    """Sends :data:`.signals.gateway_started` once for each gateway; the main thread's."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}  # the last gateway by endpoint

    def note(self, gateway: str, endpoint: str) -> None:
        """A gateway is there, perhaps a new one."""
        if self._known.get(endpoint) == gateway:
            return
        self._known[endpoint] = gateway
        # Receivers may block, and this thread tells the gateway that the worker is alive.
        threading.Thread(
            target=_send, args=(gateway, endpoint), name="ws-signals", daemon=True
        ).start()


def _send(gateway: str, endpoint: str) -> None:
    hygiene.begin()
    try:
        # Django logs what a receiver raises.
        gateway_started.send_robust(sender=None, gateway=gateway, endpoint=endpoint)
    finally:
        hygiene.end_of_thread()
