"""A client's place in the gateway of its test."""

from __future__ import annotations

from .gateway import LocalGateway, local_gateway
from .session import LocalSession

__all__ = ["Place"]


class Place:
    """What a client has of the gateway; it outlives the client for as long as it takes to leave.

    Attributes:
        session: the client's connection; ``None`` before the first one.
    """

    def __init__(self) -> None:
        self.session: LocalSession | None = None
        self._gateway: LocalGateway | None = None

    def gateway(self, client: object) -> LocalGateway:
        """The gateway of the test that is running, which lives at least as long as ``client``."""
        gateway = local_gateway()
        if self._gateway is not gateway:
            self._gateway = gateway
            self.session = None
            gateway.held_by(client, self._leave)
        return gateway

    def settle(self) -> None:
        """Let everything be done that has happened so far."""
        if self._gateway is not None:
            self._gateway.settle()

    def _leave(self) -> None:
        """Nobody can close the connection any more, so it just ends."""
        if self.session is not None:
            self.session.discard()
