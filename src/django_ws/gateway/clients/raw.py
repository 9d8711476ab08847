"""A plain client by way of Engine.IO: a handler's messages, as they are."""

from __future__ import annotations

from ...wire.messages import TEXT
from ..outgoing import Membership
from ..shared import Shared
from .context import Session
from .engine import Engine
from .named import as_message, plain_data

__all__ = ["RawClient"]


class RawClient:
    """What one session needs of an engine that carries it alone.

    Args:
        engine: carries it.
        session: its ``upper`` from now on.
    """

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine, session: Session) -> None:
        self._engine = engine
        engine.upper = session

    @property
    def writable(self) -> bool:
        """Whether the queued bytes are below ``max_pending``."""
        return self._engine.carrier.writable

    @property
    def backlog(self) -> int:
        """Bytes that wait for the client."""
        return self._engine.carrier.backlog

    def send(self, opcode: int, data: bytes) -> None:
        """Send a message."""
        self._engine.send(opcode, data)

    def send_shared(self, message: Shared) -> None:
        """Send a publication."""
        self._engine.send(message.opcode, plain_data(message))

    def emit(self, name: str, data: bytes, attachments: list[bytes]) -> None:
        """Send a named event as JSON; the worker lets none with attachments pass."""
        self.send(TEXT, as_message(name, data))

    def reply(self, seq: int, code: int, data: bytes, attachments: list[bytes]) -> None:
        """Plain clients ask nothing."""

    def tell(self, news: Membership) -> None:
        """These clients hear nothing of groups but their messages."""

    def close(self, code: int, reason: str) -> None:
        """End the connection; what was sent before still goes out."""
        self._engine.close(code, reason)

    def resume(self) -> None:
        """Go on reading."""
        self._engine.resume()
