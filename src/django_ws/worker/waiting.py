"""Says why a worker has no gateway, before somebody has to ask."""

from __future__ import annotations

import logging
import os
from typing import Protocol

from ..transport.files import user

__all__ = ["GatewayWait"]

logger = logging.getLogger("django_ws.worker")

#: Seconds without a gateway until that is said, and until it is said again.
PATIENCE = 5.0
AGAIN = 300.0


class _Socket(Protocol):
    @property
    def endpoint(self) -> str: ...
    @property
    def refusal(self) -> str: ...


class GatewayWait:
    """How long one link has been without a gateway; the main thread's.

    Attributes:
        endpoint: where the gateway is to be.
        lost: the link was cut, and nobody has connected it again.
    """

    def __init__(self, socket: _Socket) -> None:
        self._socket = socket
        self.endpoint = socket.endpoint
        self.lost = False
        self._since = 0.0
        self._said = ""
        self._say_at = 0.0

    def take_lost(self) -> bool:
        """Whether the link was cut since the last call."""
        lost, self.lost = self.lost, False
        return lost

    def note(self, has_gateway: bool, now: float) -> None:
        """Say what is wrong, at once what is refused, and rarely again.

        Args:
            now: ``time.monotonic()``.
        """
        if has_gateway:
            self._since = 0.0
            self._said = ""
            return
        self._since = self._since or now
        words = self._socket.refusal
        if not words and now - self._since >= PATIENCE:
            words = (
                f"no gateway has answered at {self._socket.endpoint} for {PATIENCE:g} s; does one "
                f"run (run_wsgateway), as this user ({user(os.geteuid())}) and with the same "
                "settings, PROJECT and --sub-socket?"
            )
        if words and (words != self._said or now >= self._say_at):
            self._said, self._say_at = words, now + AGAIN
            logger.error("%s", words)
