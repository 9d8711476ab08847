"""A WebSocket that carries an engine: the connection of any client, with pings of Engine.IO's.

One that comes with the name of a session that polls is on trial until the client says so.
"""

from __future__ import annotations

from ...wire.messages import TEXT
from .engine import POLLING, PROBING, WEBSOCKET, Carrier, Engine
from .engineio import PROBE, PROBED, UPGRADE
from .plain import Connection
from .polling import Poller

__all__ = ["Probe", "WebSocket"]


class WebSocket(Connection):
    """Carries an engine."""

    __slots__ = ()

    def ping(self) -> None:
        """Ask for a sign of life; the client wants to be asked, however much waits for it."""
        if isinstance(self._session, Engine):
            self._session.ping()

    def carry(self, engine: Engine, slot: int) -> None:
        """Carry an engine that was polled.

        Args:
            slot: of its pings, which go on as they were.
        """
        self._session = engine
        self._context.pings.discard(self)
        self._context.pings.add(self, slot)


class Probe:
    """A WebSocket on trial, as its connection sees it.

    Args:
        engine: that polls.
        poller: carries it until the upgrade.
    """

    def __init__(self, engine: Engine, poller: Poller) -> None:
        self._engine = engine
        self._poller = poller
        self._connection: WebSocket | None = None

    @property
    def conn(self) -> int:
        """Its number."""
        return self._engine.conn

    def attach(self, client: Carrier) -> None:
        """The WebSocket is open."""
        assert isinstance(client, WebSocket)
        if self._engine.state is POLLING:
            self._engine.enter(PROBING)
            self._connection = client
        else:
            client.close(1008, "this session does not poll")

    def receive(self, opcode: int, data: bytes) -> bool:
        """Take a packet."""
        connection = self._connection
        self._poller.heard = True
        if connection is None or opcode != TEXT:
            pass
        elif data == PROBE:
            connection.send(TEXT, PROBED)
            self._poller.make_way()
            return True
        elif data == UPGRADE and self._engine.state is PROBING and not self._poller.busy:
            self._upgrade(connection)
            return True
        if connection is not None:
            connection.close(1008, "no probe")
        return True

    def _upgrade(self, connection: WebSocket) -> None:
        engine = self._engine
        engine.enter(WEBSOCKET)
        engine.carrier = connection
        connection.carry(engine, self._poller.slot)
        for packet in self._poller.upgrade():
            connection.send(*packet)
        engine.writable()

    def give_up(self) -> None:
        """It takes too long."""
        if self._connection is not None and self._engine.state is PROBING:
            self._connection.close(1008, "no upgrade")

    def writable(self) -> None:
        """Nothing waits."""

    def disconnected(self, code: int, reason: str) -> None:
        """The trial is over; polling goes on."""
        if self._connection is not None and self._engine.state is PROBING:
            self._engine.enter(POLLING)
        self._connection = None
