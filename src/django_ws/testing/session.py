"""One connection of a test: its hooks, run in the thread that wants them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..base import WebSocketHandler
from ..gateway.shared import Shared
from ..wire.messages import Handshake
from ..worker.driver import drive
from ..worker.lifecycle import Call, Lifecycle, Refusal
from .connection import LocalConnection
from .gateway import LocalGateway

__all__ = ["LocalSession"]


class LocalSession:
    """A :class:`.gateway.Peer`; arguments as of :class:`.LocalConnection`.

    Attributes:
        groups: of which it is a member, as the gateway has it; ``None`` for none.
    """

    def __init__(
        self,
        gateway: LocalGateway,
        handshake: Handshake,
        kwargs: Mapping[str, Any],
        handler_class: type[WebSocketHandler],
        *,
        reraise: bool,
        waits: int,
    ) -> None:
        self.conn = gateway.number()
        self.groups: Collection[str] | None = None
        self.connection = LocalConnection(
            self.conn, gateway, handshake, kwargs, handler_class, reraise=reraise, waits=waits
        )
        self._gateway = gateway
        gateway.add(self)

    @property
    def lifecycle(self) -> Lifecycle:
        """Its hooks."""
        return self.connection.lifecycle

    def connect(self) -> Refusal | None:
        """Run ``on_connect``. Returns the refusal, if there is no connection."""
        try:
            self.run(self.lifecycle.connect())
        except Refusal as refusal:
            if not refusal.close:
                self.discard()
                return refusal
            self.lifecycle.refused = True
            self.connection.close(refusal.close, refusal.reason)
        except BaseException:
            self.discard()
            raise
        self.connection.accepted = True
        self._gateway.changed(self.conn)
        return None

    def run(self, call: Call | None) -> None:
        """Run hooks to their end."""
        drive(self.lifecycle, self.connection, call)

    def discard(self) -> None:
        """No hook is to run any more."""
        self._gateway.remove(self.conn)

    # ------------------------------------------------------------------ for the gateway

    @property
    def live(self) -> bool:
        return self.connection.accepted and not self.connection.closed

    @property
    def closed(self) -> bool:
        return self.connection.accepted and self.connection.closed

    @property
    def accepted(self) -> bool:
        return self.connection.accepted

    @property
    def user(self) -> str:
        return self.connection.request.identity()[0]

    @property
    def key(self) -> str:
        return self.connection.request.identity()[1]

    @property
    def info(self) -> bytes:
        return self.connection.encoded_info

    def send_shared(self, message: Shared) -> None:
        self.connection.deliver(message)

    def give_up(self, code: int, reason: str) -> None:
        self.connection.close(code, reason)

    def end(self) -> None:
        self.discard()
        self.run(self.lifecycle.close())
