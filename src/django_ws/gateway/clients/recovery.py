"""A namespace whose client can have it back: Socket.IO's connection state recovery.

Its client is told a ``pid``, and every event ends with one more argument, the offset, which the
client's library remembers. Back with both, it is sent what came after the offset.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from .engine import Engine
from .engineio import AGAIN
from .lasting import REPLACED, REPLACED_WORDS, Keeper, State, entered
from .namespace import EventSession, Socket, Transport

__all__ = ["OVERHEAD", "LastingSession", "LastingSocket"]

#: Bytes to count for a kept event besides what is sent of it.
OVERHEAD = 64

#: Codes of ends that the client has not meant: its library says so if it leaves a namespace, and
#: 1000 and 1005 are what the end of the transport alone looks like. But 1001 is a page that is
#: left, and who was too slow for what was sent (3008) would be again.
_RECOVERABLE = (AGAIN | {1000, 1005}) - {1001, 3008}


class LastingSession(EventSession, Protocol):
    """What is needed of its session.

    Attributes:
        address: the client's, as it began.
        live: nobody has closed it.
    """

    @property
    def address(self) -> str: ...
    @property
    def live(self) -> bool: ...
    def resume(self) -> None: ...


class LastingSocket(Socket):
    """See the module.

    An event is kept until a ping that was sent after it is answered. What is kept is bounded by
    ``max_pending``; policy: of a client that is there the oldest is forgotten, after a ping at half
    of it, and a session whose client is away is given up.

    Args:
        path: as the client calls it.
        session: its session.
        sid: names the client.
        pid: brings it back; nobody but the client may know it.
        mark: begins the session's offsets, and those of no other one: a client that has lost a
            session and has heard nothing in its next one still tells the offset of the former.
        max_pending: bytes that may be kept.
    """

    __slots__ = (
        "_code",
        "_keeper",
        "_kept",
        "_mark",
        "_max_pending",
        "_reason",
        "_sent",
        "_session",
        "_size",
        "pid",
        "sid",
        "state",
    )

    # What carries it: ``_namespaces``, while it is connected.

    def __init__(
        self,
        path: str,
        session: LastingSession,
        sid: str,
        pid: str,
        mark: str,
        keeper: Keeper,
        max_pending: int,
    ) -> None:
        self.path = path
        self.session = session
        self.sid = sid
        self.pid = pid
        self.state = State.NEW
        self._owed = {}
        self._session = session
        self._mark = mark
        self._keeper = keeper
        self._max_pending = max_pending
        self._sent = 0  # events, so the number of the last one
        #: The last events: how many pings had been sent before, the text, and attachments.
        self._kept: deque[tuple[int, bytes, list[bytes] | tuple[()]]] = deque()
        self._size = 0
        self._code, self._reason = 1006, ""  # as what carried it last has ended

    @property
    def address(self) -> str:
        """See :class:`..parking.Guest`."""
        return self._session.address

    @property
    def live(self) -> bool:
        """Whether nobody has closed its session."""
        return self._session.live

    # ------------------------------------------------------------------ clients

    def had(self, offset: str) -> int | None:
        """The number of the last event that a client has.

        Args:
            offset: that it tells; empty if it tells none.

        Returns:
            None if it cannot go on from there.
        """
        number = 0
        mark, _, digits = offset.rpartition("-")
        if mark == self._mark:
            if not (digits.isascii() and digits.isdecimal() and len(digits) < 20):
                return None
            number = int(digits)
        return number if self._sent - len(self._kept) <= number <= self._sent else None

    def attach(self, transport: Transport, had: int) -> None:
        """Go on over something that carries it.

        Args:
            had: see :meth:`had`.
        """
        before = self._namespaces if self.state is State.CONNECTED else None
        if self.state is State.PARKED:
            self._keeper.unpark(self.pid)
        self.state = entered(self.state, State.CONNECTED)
        self._namespaces = transport
        if before is not None:
            self._owed.clear()
            before.release(self, REPLACED, REPLACED_WORDS)
        transport.welcome(self, self.sid, self.pid)
        while len(self._kept) > self._sent - had:
            self._forget()
        pings = transport.engine.pings
        again, self._kept = self._kept, deque()
        for _, text, attachments in again:
            self._kept.append((pings, text, attachments))
            self._send(text, attachments)
        self.session.writable()
        self._session.resume()

    def over(self, code: int, reason: str, *, left: bool) -> None:
        """See :meth:`.Socket.over`."""
        self._code, self._reason = code, reason
        self._owed.clear()  # its library has told whoever waited that there will be no answer
        self.settled()
        if (
            left
            or code not in _RECOVERABLE
            or not self._session.live
            or not self._keeper.park(self.pid)
        ):
            self._end(code, reason)
            return
        self.state = entered(self.state, State.PARKED)
        del self._namespaces
        self.session.writable()  # what waits is kept here now

    def give_up(self, reason: str) -> None:
        """See :class:`..parking.Guest`."""
        if self.state is State.CONNECTED:
            self._namespaces.release(self, REPLACED, reason)
        self._end(self._code, self._reason or reason)

    def _end(self, code: int, reason: str) -> None:
        if self.state is not State.OVER:
            self.state = entered(self.state, State.OVER)
            self._kept.clear()
            self._keeper.forget(self.pid)
            self.session.disconnected(code, reason)

    # ------------------------------------------------------------------ what is kept

    def settled(self) -> None:
        """Forget what has arrived."""
        pongs = self._namespaces.engine.pongs
        while self._kept and self._kept[0][0] < pongs:
            self._forget()

    def _forget(self) -> None:
        _, text, attachments = self._kept.popleft()
        self._size -= _size(text, attachments)

    def _event(self, text: bytes, attachments: list[bytes] | tuple[()] = ()) -> None:
        if self.state is State.OVER:
            return
        self._sent += 1
        text = text[:-1] + f',"{self._mark}-{self._sent}"]'.encode()
        size, most = _size(text, attachments), self._max_pending
        self._size += size
        if self.state is not State.CONNECTED:
            self._kept.append((0, text, attachments))
            if self._size - size <= most < self._size:
                self._keeper.give_up_soon(self.pid, "too much waits for the client")
            return
        engine = self._namespaces.engine
        self._kept.append((engine.pings, text, attachments))
        self._send(text, attachments)
        if self._size > most // 2:
            self._relieve(engine)

    def _relieve(self, engine: Engine) -> None:
        if engine.pings == engine.pongs:
            engine.ping()
        while self._size > self._max_pending:
            self._forget()

    # ------------------------------------------------------------------ for the session

    @property
    def writable(self) -> bool:
        """Whether more may be said: while parked it is, until too much is kept."""
        return self.state is not State.CONNECTED or self._namespaces.engine.carrier.writable

    @property
    def backlog(self) -> int:
        """Bytes that wait for the client."""
        if self.state is State.CONNECTED:
            return self._namespaces.engine.carrier.backlog
        return self._size

    def close(self, code: int, reason: str) -> None:
        """End the session; to a client that is there what was sent before still goes out."""
        if self.state is State.CONNECTED:
            self._namespaces.close(self, code, reason)
        else:
            self._end(code, reason)

    def resume(self) -> None:
        """Go on reading."""
        if self.state is State.CONNECTED:
            self._namespaces.resume(self)


def _size(text: bytes, attachments: list[bytes] | tuple[()]) -> int:
    return len(text) + sum(map(len, attachments)) + OVERHEAD
