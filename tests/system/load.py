"""The load of the fault harness: clients that number what they send, and note what they get.

Each client numbers the messages of a connection from 1; the ``Ledger`` handler notes each in the
journal, counts it in its state, and answers with both numbers.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

__all__ = ["Load", "Session", "back", "soon"]


async def soon(condition: Callable[[], object], seconds: float = 10.0, what: object = "") -> object:
    """Wait until the condition is true."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, what() if callable(what) else (what or condition)
        await asyncio.sleep(0.01)
    return result


@dataclass
class Session:
    """One connection as its client saw it.

    Attributes:
        sent: how many messages were given to the socket.
        answers: numbers that came back, with the handler's count.
        close_code: what the client saw; ``None`` while it sees the connection open.
        ours: the client closed it itself.
    """

    who: str
    sent: int = 0
    answers: list[tuple[int, int]] = field(default_factory=list)
    close_code: int | None = None
    ours: bool = False

    @property
    def settled(self) -> bool:
        """Whether nothing can be expected any more."""
        return self.close_code is not None or (
            bool(self.answers or not self.sent)
            and (not self.sent or self.answers[-1][0] >= self.sent)
        )


class Load:
    """Clients that send at a steady rate, and connect again whenever they are cut.

    Args:
        url: with the namespace.
        clients: how many.
        rate: messages per second of each.
    """

    _names = itertools.count(1)

    def __init__(self, url: str, clients: int, rate: float) -> None:
        self._url = url
        self._rate = rate
        self._clients = clients
        self._sending = True
        self._sockets: dict[str, ClientConnection] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.sessions: list[Session] = []
        self.current: dict[int, Session] = {}
        self.connected_at: list[float] = []
        # By incarnation of a worker, or pid of a connection's own process: when it was dead at the
        # latest, by `time.monotonic()`.
        self.deaths: dict[str | int, float] = {}

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self._clients)]
        await soon(lambda: len(self.current) == self._clients, 20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sending = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def progress(self, messages: int = 2, seconds: float = 15.0) -> None:
        """Wait until every client is connected and has got so many more answers."""
        goal: dict[int, tuple[Session | None, int]] = {}

        def answered(number: int) -> bool:
            session = self.current.get(number)
            if session is None:
                return False
            before, count = goal.get(number, (None, 0))
            if before is not session:
                goal[number] = (session, len(session.answers))
                return False
            return len(session.answers) - count >= messages

        await soon(
            # Not a generator: every client's count has to begin now.
            lambda: min([answered(number) for number in range(self._clients)]),
            seconds,
            lambda: f"no progress: {self.stuck()}",
        )

    def stuck(self) -> list[Session]:
        """Open sessions whose messages were not all answered."""
        return [session for session in self.sessions if not session.settled]

    async def settle(self, seconds: float = 15.0) -> None:
        """Stop sending, wait for the answers that are due, close."""
        self._sending = False
        with contextlib.suppress(AssertionError):  # the oracle says what is missing
            await soon(lambda: not self.stuck(), seconds)
        await asyncio.gather(*[self._close(s) for s in self.sessions if s.who in self._sockets])

    async def _close(self, session: Session) -> None:
        if session.close_code is None:
            session.ours = True
        await self._sockets[session.who].close()

    async def _client(self, number: int) -> None:
        await asyncio.sleep(number / self._clients / self._rate)
        while self._sending:
            session = Session(f"c{next(self._names)}")
            try:
                socket = await self._open(session.who)
            except (OSError, InvalidHandshake, TimeoutError, WebSocketException):
                await asyncio.sleep(0.1)
                continue
            self.connected_at.append(time.monotonic())
            self.sessions.append(session)
            self.current[number] = session
            self._sockets[session.who] = socket
            try:
                await self._talk(socket, session)
            finally:
                if self._sending:
                    self.current.pop(number, None)
                self._sockets.pop(session.who, None)

    async def _open(self, who: str) -> ClientConnection:
        return await connect(
            f"{self._url}?who={who}",
            compression=None,
            proxy=None,
            ping_interval=None,
            max_queue=None,
            open_timeout=5,
        )

    async def _talk(self, socket: ClientConnection, session: Session) -> None:
        sender = asyncio.create_task(self._send(socket, session))
        try:
            async for message in socket:
                number, count = str(message).split()
                session.answers.append((int(number), int(count)))
        except WebSocketException:
            pass
        finally:
            sender.cancel()
            if not session.ours:
                session.close_code = socket.close_code
        await asyncio.gather(sender, return_exceptions=True)

    async def _send(self, socket: ClientConnection, session: Session) -> None:
        while self._sending:
            session.sent += 1
            with contextlib.suppress(WebSocketException):
                await socket.send(str(session.sent))
            await asyncio.sleep(1 / self._rate)


async def back(url: str, seconds: float = 20.0) -> float:
    """Seconds until a new connection is served."""
    began = time.monotonic()
    while True:
        try:
            async with connect(
                url, compression=None, proxy=None, open_timeout=2, close_timeout=0.1
            ) as socket:
                await socket.send("hello")
                await asyncio.wait_for(socket.recv(), 2)
                return time.monotonic() - began
        except (OSError, TimeoutError, WebSocketException):
            assert time.monotonic() - began < seconds, "the service did not come back"
            await asyncio.sleep(0.02)
