"""The namespaces of one Socket.IO client: each a session of its own, over one engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from . import socketio
from .context import Context
from .engine import Engine
from .engineio import AGAIN
from .namespace import Socket
from .socketio import CONNECT, DISCONNECT, EVENT, Decoder, Packet

__all__ = ["MAX_AUTH", "MAX_NAMESPACES", "Doorman", "Namespaces"]

#: Namespaces of one client, those that are being asked about included.
MAX_NAMESPACES = 16

#: Bytes of what a client says with its wish for a namespace, which is kept as long as that lasts.
MAX_AUTH = 16 * 1024


class Doorman(Protocol):
    """Asks for admission to namespaces."""

    def admit(self, namespaces: Namespaces, path: str, auth: bytes) -> Callable[[], None]:
        """Ask; :meth:`Namespaces.welcome` or :meth:`Namespaces.refused` follows, not at once.

        Returns:
            Tells that nobody waits for the answer any more.
        """


class Namespaces:
    """What an engine carries for a client of Socket.IO.

    Args:
        context: shared by all.
        engine: carries it; this is its ``upper`` from now on.
        doorman: lets sessions begin.
        deadline: seconds without a namespace until the client is sent away; 0 for never.
        patience: seconds for a packet's attachments; 0 for any time.
    """

    __slots__ = (
        "_context",
        "_deadline",
        "_decoder",
        "_doorman",
        "_full",
        "_lonely",
        "_patience",
        "_timer",
        "_waiting",
        "engine",
        "sockets",
    )

    def __init__(
        self,
        context: Context,
        engine: Engine,
        doorman: Doorman,
        *,
        deadline: float,
        patience: float,
    ) -> None:
        self.engine = engine
        #: By path; None while it is asked about.
        self.sockets: dict[str, Socket | None] = {}
        self._context = context
        self._doorman = doorman
        self._decoder = Decoder(context.max_size)
        self._patience = patience
        #: What ends the wait for a verdict, by path.
        self._waiting: dict[str, Callable[[], None]] = {}
        self._full: set[Socket] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = deadline
        #: Ends a client without a namespace.
        self._lonely: asyncio.TimerHandle | None = None
        engine.upper = self
        self._look()

    def _look(self) -> None:
        """A client without a namespace has until the deadline to ask for one."""
        if self._deadline and not self.sockets:
            self._lonely = self._context.loop.call_later(
                self._deadline, self.engine.close, 1008, "no namespace"
            )

    # ------------------------------------------------------------------ for the engine

    def receive(self, opcode: int, data: bytes) -> bool:
        """Take a message; see :meth:`.engine.Engine.receive`."""
        decoder = self._decoder
        packet = decoder.feed(opcode, data)
        if packet is None:
            if self._timer is None and self._patience:
                self._timer = self._context.loop.call_later(self._patience, self._incomplete)
            return True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if packet.kind is EVENT:
            socket = self.sockets.get(packet.path)
            # Else it crossed the end of its namespace.
            if socket is not None and not socket.receive(packet):
                self._full.add(socket)
        elif packet.kind is CONNECT:
            self._connect(packet)
        elif packet.kind is DISCONNECT:
            self._leave(packet.path)
        return not self._full

    def _incomplete(self) -> None:
        self._timer = None
        self.engine.fail("attachments did not come")

    def _connect(self, packet: Packet) -> None:
        path = packet.path
        if path in self.sockets:
            self.engine.fail("a namespace twice")
        elif len(self.sockets) >= MAX_NAMESPACES:
            self.engine.send_packet(*socketio.refused(path, "Too many namespaces"))
        elif len(packet.data) > MAX_AUTH:
            self.engine.send_packet(*socketio.refused(path, "The auth is too big"))
        else:
            if self._lonely is not None:
                self._lonely.cancel()
                self._lonely = None
            self.sockets[path] = None
            self._waiting[path] = self._doorman.admit(self, path, packet.data)

    def _leave(self, path: str) -> None:
        if (left := self._waiting.pop(path, None)) is not None:
            left()
        socket = self.sockets.pop(path, None)
        if socket is not None:
            self.resume(socket)
            socket.over(1000, "", left=True)
        if self._lonely is None:
            self._look()

    def writable(self) -> None:
        """The engine's queue fell below ``max_pending`` again."""
        for socket in list(self.sockets.values()):
            if socket is not None:
                socket.session.writable()

    def disconnected(self, code: int, reason: str) -> None:
        """The client is gone."""
        for timer in (self._timer, self._lonely):
            if timer is not None:
                timer.cancel()
        for left in self._waiting.values():
            left()
        sockets = list(self.sockets.values())
        self.sockets.clear()
        self._waiting.clear()
        self._full.clear()
        for socket in sockets:
            if socket is not None:
                socket.over(code, reason, left=False)

    def settled(self) -> None:
        """A ping was answered."""
        for socket in self.sockets.values():
            if socket is not None:
                socket.settled()

    # ------------------------------------------------------------------ for the doorman

    def welcome(self, socket: Socket, sid: str, pid: str = "") -> None:
        """A handler said yes. The caller made sure that its answer is still waited for.

        Args:
            sid: names the client, in this namespace.
            pid: brings it back; empty if nothing can.
        """
        path = socket.path
        del self._waiting[path]
        self.sockets[path] = socket
        if pid:
            self.engine.settled = self.settled
        self.engine.send_packet(*socketio.connected(path, sid, pid))

    def refused(self, path: str, message: str, status: int) -> None:
        """Somebody said no."""
        del self._waiting[path], self.sockets[path]
        self.engine.send_packet(*socketio.refused(path, message, status))
        self._look()

    # ------------------------------------------------------------------ for sockets

    def resume(self, socket: Socket) -> None:
        """A namespace takes events again."""
        if socket in self._full:
            self._full.discard(socket)
            if not self._full:
                self.engine.resume()

    def close(self, socket: Socket, code: int, reason: str) -> None:
        """A namespace is closed by us."""
        if self.sockets.get(socket.path) is not socket:
            return
        if code in AGAIN:
            # It connects anew only if the whole transport ends.
            self.engine.close(code, reason)
            return
        self.release(socket, code, reason)
        socket.over(code, reason, left=True)

    def release(self, socket: Socket, code: int, reason: str) -> None:
        """A namespace is not carried here any more."""
        if self.sockets.get(socket.path) is not socket:
            return
        del self.sockets[socket.path]
        self.resume(socket)
        self.engine.send_packet(*socketio.disconnect(socket.path))
        if not self.sockets:
            self.engine.close(code, reason)
