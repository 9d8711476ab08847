"""One namespace of a client of Socket.IO: what its session has for a client."""

from __future__ import annotations

import itertools
import logging
from typing import Protocol

from ...wire.messages import BINARY, TEXT
from ...wire.messages import Kind as CallKind
from ...wire.socketio import RESERVED
from ..outgoing import Membership
from ..session import Client
from ..shared import Shared
from . import socketio
from .engine import Engine
from .socketio import Packet, to_json

__all__ = ["MAX_OWED", "EventSession", "Socket", "Transport"]

logger = logging.getLogger("django_ws.gateway")

#: Acknowledgements of one namespace that handlers still owe; the oldest is forgotten for another.
MAX_OWED = 1024

_EVENT = CallKind.EVENT  # looked up once, not for each packet
_ATTACHED = b'[{"_placeholder":true,"num":0}]'


class EventSession(Protocol):
    """What a namespace needs of a session of the gateway."""

    def attach(self, client: Client) -> None: ...
    def call(
        self, kind: int, name: str, data: bytes, attachments: list[bytes], answer: bool
    ) -> tuple[int, bool]: ...
    def writable(self) -> None: ...
    def disconnected(self, code: int, reason: str) -> None: ...


class Transport(Protocol):
    """What carries all namespaces of a client.

    Attributes:
        engine: what they are carried by.
    """

    @property
    def engine(self) -> Engine: ...
    def welcome(self, socket: Socket, sid: str, pid: str = "") -> None: ...
    def release(self, socket: Socket, code: int, reason: str) -> None: ...
    def resume(self, socket: Socket) -> None: ...
    def close(self, socket: Socket, code: int, reason: str) -> None: ...


class Socket:
    """One namespace of one client: what its session has for a client.

    Args:
        namespaces: all of the client's.
        path: as the client calls it.
        session: its session.
    """

    __slots__ = ("_namespaces", "_owed", "path", "session")

    def __init__(self, namespaces: Transport, path: str, session: EventSession) -> None:
        self.path = path
        self.session = session
        self._namespaces = namespaces
        #: The client's numbers of what it waits for, by ours.
        self._owed: dict[int, bytes] = {}

    def receive(self, packet: Packet) -> bool:
        """Pass an event on; False if no more should come before :meth:`resume`."""
        waits = packet.id != b""
        seq, more = self.session.call(
            _EVENT, packet.name, packet.data, list(packet.attachments), waits
        )
        if waits and seq:
            if len(self._owed) >= MAX_OWED:
                del self._owed[next(itertools.islice(self._owed, 1))]
            self._owed[seq] = packet.id
        return more

    def over(self, code: int, reason: str, *, left: bool) -> None:
        """It is no longer carried.

        Args:
            left: one side has closed this namespace; else what carried it has ended.
        """
        self.session.disconnected(code, reason)

    def settled(self) -> None:
        """A ping was answered: nothing is kept here that could have arrived."""

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
            self._event(socketio.event(self.path, "message", arguments))
        else:
            self._event(socketio.event(self.path, "message", _ATTACHED, 1), [data])

    def send_shared(self, message: Shared) -> None:
        """Send a publication; made once for all in namespaces of this name."""
        path = self.path

        def encode(message: Shared) -> bytes:
            name = message.event or "message"
            if name in RESERVED:
                logger.warning(
                    "a publication as %r is not for clients of Socket.IO: they break off over it",
                    name,
                )
                return b""
            if message.opcode == BINARY:
                return socketio.event(path, name, _ATTACHED, 1)
            value = message.data if message.json else to_json(message.data.decode())
            return socketio.event(path, name, b"[" + value + b"]")

        text = message.encoded((Socket, path), encode)
        if text:
            self._event(text, [message.data] if message.opcode == BINARY else ())

    def emit(self, name: str, data: bytes, attachments: list[bytes]) -> None:
        """Send a named event."""
        self._event(socketio.event(self.path, name, data, len(attachments)), attachments)

    def reply(self, seq: int, code: int, data: bytes, attachments: list[bytes]) -> None:
        """Acknowledge an event; the protocol has no words for a failure, so that has none."""
        number = self._owed.pop(seq, b"")
        if number and not code:
            self._send(socketio.reply(self.path, number, data, len(attachments)), attachments)

    def _event(self, text: bytes, attachments: list[bytes] | tuple[()] = ()) -> None:
        self._send(text, attachments)

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
