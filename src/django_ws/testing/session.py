"""One connection of a test: its hooks, run in the thread that wants them."""

from __future__ import annotations

from collections.abc import Collection

from ..gateway.shared import Shared
from ..staying import LOGGED_OUT
from ..wire.messages import Position
from ..worker.driver import drive
from ..worker.lifecycle import Call, Lifecycle, Refusal
from ..worker.looks import Look
from .connection import LocalConnection
from .gateway import LocalGateway

__all__ = ["LocalSession"]


class LocalSession:
    """A :class:`.gateway.Peer`.

    Attributes:
        groups: of which it is a member, as the gateway has it; ``None`` for none.
        user, key: primary key of its user, digest of its session's key.
        changed: its user may be another.
    """

    def __init__(self, gateway: LocalGateway, connection: LocalConnection) -> None:
        self.conn = connection.conn
        self.connection = connection
        self.groups: Collection[str] | None = None
        self.user = self.key = ""
        self.changed = False
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
            self.connection.let_in_and_close(refusal.close, refusal.reason)
        except BaseException:
            self.discard()
            raise
        self.connection.accept()
        self._identify()
        self._gateway.changed(self.conn)
        return None

    def run(self, call: Call | None) -> None:
        """Run hooks to their end."""
        drive(self.lifecycle, self.connection, call)
        if self.connection.accepted:
            self._identify()

    def _identify(self) -> None:
        self.user, self.key = self.connection.request.identity()

    def discard(self) -> None:
        """No hook is to run any more."""
        self._gateway.remove(self.conn)

    # ------------------------------------------------------------------ for the gateway

    @property
    def accepted(self) -> bool:
        return self.connection.accepted

    @property
    def live(self) -> bool:
        return self.accepted and not self.connection.closed

    @property
    def closed(self) -> bool:
        return self.connection.accepted and self.connection.closed

    @property
    def info(self) -> bytes:
        return self.connection.encoded_info

    def send_shared(self, message: Shared) -> None:
        self.connection.deliver(message)

    def missed(self, group: str, position: Position) -> None:
        """Memory misses nothing."""

    def give_up(self, code: int, reason: str) -> None:
        self.connection.close(code, reason)

    def look(self) -> None:
        request = self.connection.request
        if Look().find(request.source) is None:
            self.connection.close(*LOGGED_OUT)
        elif not self.lifecycle.refused:
            request.refresh_user()
            self.run(self.lifecycle.user_changed())

    def end(self) -> None:
        self.discard()
        self.run(self.lifecycle.close())
