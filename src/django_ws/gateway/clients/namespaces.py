"""The namespaces of one Socket.IO client: each a session of its own, over one engine."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Protocol

from ...wire.messages import BINARY, TEXT
from ...wire.messages import Kind as CallKind
from ..outgoing import Membership
from ..shared import Shared
from . import socketio
from .context import Context
from .engine import Engine
from .engineio import AGAIN
from .socketio import Decoder, Kind, Packet, to_json

__all__ = ["MAX_NAMESPACES", "Doorman", "EventSession", "Namespaces"]

#: Namespaces of one client, those that are being asked about included.
MAX_NAMESPACES = 16

#: Acknowledgements of one namespace that handlers still owe; the oldest is forgotten for another.
MAX_OWED = 1024

_ATTACHED = b'[{"_placeholder":true,"num":0}]'


class EventSession(Protocol):
    """What a namespace needs of a session of the gateway."""

    def attach(self, client: Socket) -> None: ...
    def call(
        self, kind: int, name: str, data: bytes, attachments: list[bytes], answer: bool
    ) -> tuple[int, bool]: ...
    def writable(self) -> None: ...
    def disconnected(self, code: int, reason: str) -> None: ...


class Doorman(Protocol):
    """Asks for admission to namespaces."""

    def admit(self, namespaces: Namespaces, path: str, auth: bytes) -> Callable[[], None]:
        """Ask; :meth:`Namespaces.accepted` or :meth:`Namespaces.refused` follows, not at once.

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
        sid: makes the name of a new namespace's session.
    """

    __slots__ = (
        "_context",
        "_deadline",
        "_decoder",
        "_doorman",
        "_full",
        "_lonely",
        "_patience",
        "_sid",
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
        sid: Callable[[], str],
    ) -> None:
        self.engine = engine
        #: By path; None while it is asked about.
        self.sockets: dict[str, Socket | None] = {}
        self._context = context
        self._doorman = doorman
        self._decoder = Decoder(context.max_size)
        self._patience = patience
        self._sid = sid
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
        if packet.kind is Kind.EVENT:
            socket = self.sockets.get(packet.path)
            # Else it crossed the end of its namespace.
            if socket is not None and not socket.receive(packet):
                self._full.add(socket)
        elif packet.kind is Kind.CONNECT:
            self._connect(packet)
        elif packet.kind is Kind.DISCONNECT:
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
            socket.session.disconnected(1000, "")
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
                socket.session.disconnected(code, reason)

    # ------------------------------------------------------------------ for the doorman

    def accepted(self, path: str, session: EventSession) -> None:
        """A handler said yes. The caller made sure that its answer is still waited for."""
        del self._waiting[path]
        socket = self.sockets[path] = Socket(self, path, session)
        self.engine.send_packet(*socketio.connected(path, self._sid()))
        session.attach(socket)

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
        del self.sockets[socket.path]
        self.resume(socket)
        self.engine.send_packet(*socketio.disconnect(socket.path))
        socket.session.disconnected(code, reason)
        if not self.sockets:
            self.engine.close(code, reason)


class Socket:
    """One namespace of one client: what its session has for a client.

    Args:
        namespaces: all of the client's.
        path: as the client calls it.
        session: its session.
    """

    __slots__ = ("_namespaces", "_owed", "path", "session")

    def __init__(self, namespaces: Namespaces, path: str, session: EventSession) -> None:
        self.path = path
        self.session = session
        self._namespaces = namespaces
        #: The client's numbers of what it waits for, by ours.
        self._owed: dict[int, bytes] = {}

    def receive(self, packet: Packet) -> bool:
        """Pass an event on; False if no more should come before :meth:`resume`."""
        waits = packet.id != b""
        seq, more = self.session.call(
            CallKind.EVENT, packet.name, packet.data, list(packet.attachments), waits
        )
        if waits and seq:
            if len(self._owed) >= MAX_OWED:
                del self._owed[next(itertools.islice(self._owed, 1))]
            self._owed[seq] = packet.id
        return more

    # ------------------------------------------------------------------ for the session

    @property
    def writable(self) -> bool:
        """Whether the queued bytes are below ``max_pending``."""
        return self._namespaces.engine.carrier.writable

    @property
    def backlog(self) -> int:
        """Bytes that wait for the client."""
        return self._namespaces.engine.carrier.backlog

    def send(self, opcode: int, data: bytes) -> None:
        """Send a handler's message as the event ``message``."""
        if opcode == TEXT:
            arguments = b"[" + to_json(data.decode()) + b"]"
            self._send(socketio.event(self.path, "message", arguments))
        else:
            self._send(socketio.event(self.path, "message", _ATTACHED, 1), [data])

    def send_shared(self, message: Shared) -> None:
        """Send a publication; made once for all in namespaces of this name."""
        path = self.path

        def encode(message: Shared) -> bytes:
            name = message.event or "message"
            if message.opcode == BINARY:
                return socketio.event(path, name, _ATTACHED, 1)
            value = message.data if message.json else to_json(message.data.decode())
            return socketio.event(path, name, b"[" + value + b"]")

        text = message.encoded((Socket, path), encode)
        self._send(text, [message.data] if message.opcode == BINARY else ())

    def emit(self, name: str, data: bytes, attachments: list[bytes]) -> None:
        """Send a named event."""
        self._send(socketio.event(self.path, name, data, len(attachments)), attachments)

    def reply(self, seq: int, code: int, data: bytes, attachments: list[bytes]) -> None:
        """Acknowledge an event; the protocol has no words for a failure, so that has none."""
        number = self._owed.pop(seq, b"")
        if number and not code:
            self._send(socketio.reply(self.path, number, data, len(attachments)), attachments)

    def _send(self, text: bytes, attachments: list[bytes] | tuple[()] = ()) -> None:
        engine = self._namespaces.engine
        engine.send_packet(TEXT, text)
        for attachment in attachments:
            engine.send_packet(BINARY, attachment)

    def tell(self, news: Membership) -> None:
        """These clients hear nothing of groups but their messages."""

    def close(self, code: int, reason: str) -> None:
        """End this namespace; what was sent before still goes out."""
        self._namespaces.close(self, code, reason)

    def resume(self) -> None:
        """Go on reading."""
        self._namespaces.resume(self)
