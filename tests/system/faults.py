"""The fault harness: load, faults, and an oracle that accounts for every message.

Each client numbers its messages from 1; the ``Ledger`` handler notes each in the journal, counts it
in its state, and answers with both numbers. What the clients saw and what the journal says is
compared at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from .server import Project, Server

__all__ = ["Load", "Verdict", "judge", "soon"]


async def soon(
    condition: Callable[[], object], seconds: float = 10.0, what: object = ""
) -> object:
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

    async def __aenter__(self) -> Load:
        self._tasks = [
            asyncio.create_task(self._client(number)) for number in range(self._clients)
        ]
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
            lambda: all([answered(number) for number in range(self._clients)]),
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
                socket = await connect(
                    f"{self._url}?who={session.who}",
                    compression=None,
                    proxy=None,
                    ping_interval=None,
                    max_queue=None,
                    open_timeout=5,
                )
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


@dataclass
class Verdict:
    """What the oracle counted.

    Attributes:
        lost: sent, but never handled.
        repeated: handled again.
        reordered: handled or answered after a later one.
        unsignalled: neither handled and answered, nor followed by a close that the client saw.
        wrong_state: handled with a state that does not fit.
        ghosts: accepted connections without an ``on_close``.
        closed_again: ``on_close`` that ran more than once.
        cut: sessions closed by the server, by close code.
    """

    sent: int = 0
    handled: int = 0
    lost: int = 0
    repeated: int = 0
    reordered: int = 0
    unsignalled: int = 0
    wrong_state: int = 0
    ghosts: int = 0
    closed_again: int = 0
    cut: dict[int, int] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in asdict(self).items() if value)

    def note(self, text: str) -> None:
        """Keep a few examples."""
        if len(self.details) < 10:
            self.details.append(text)


def judge(sessions: list[Session], project: Project, *, redelivered: bool = False) -> Verdict:
    """Compare what clients saw with what handlers noted; all connections are closed by now.

    Args:
        redelivered: a message may be answered again, too.
    """
    verdict = Verdict()
    handled: dict[str, list[tuple[int, int, int]]] = {}
    closes: Counter[str] = Counter()
    accepted = set()
    for what, who, pid, _, *more in project.journal():
        if what == "handled":
            handled.setdefault(str(who), []).append((more[0], more[1], pid))  # type: ignore[arg-type]
        elif what == "close":
            closes[str(who)] += 1
        elif what == "connect":
            accepted.add(str(who))
    cut: Counter[int] = Counter()
    for session in sessions:
        notes = handled.get(session.who, [])
        if session.close_code is not None:
            cut[session.close_code] += 1
        _judge_session(verdict, session, notes)
        if closes[session.who] == 0:
            verdict.ghosts += 1
            verdict.note(f"{session.who}: no on_close")
        verdict.closed_again += max(0, closes[session.who] - 1)
    verdict.cut = dict(cut)
    return verdict


def _judge_session(
    verdict: Verdict, session: Session, notes: list[tuple[int, int, int]]
) -> None:
    numbers = [number for number, _, _ in notes]
    seen = set(numbers)
    answered = {number for number, _ in session.answers}
    verdict.sent += session.sent
    verdict.handled += len(seen)
    verdict.repeated += len(numbers) - len(seen)
    for number in range(1, session.sent + 1):
        verdict.lost += number not in seen
        if session.close_code is None and not (number in seen and number in answered):
            verdict.unsignalled += 1
            verdict.note(f"{session.who}: {number} of {session.sent} vanished")
    highest, before, before_pid = 0, 0, 0
    for number, count, pid in notes:
        # Going back is a redelivery, which only another worker does, from there on in order.
        if number <= before and pid == before_pid:
            verdict.reordered += 1
            verdict.note(f"{session.who}: {number} after {before}")
        if number > highest + 1:
            verdict.reordered += 1
            verdict.note(f"{session.who}: {number} after {highest}, a gap")
        highest, before, before_pid = max(highest, number), number, pid
        if count != number:
            verdict.wrong_state += 1
            verdict.note(f"{session.who}: count {count} with {number}")
    answers = [number for number, _ in session.answers]
    first = list(dict.fromkeys(answers))
    if first != sorted(first):
        verdict.reordered += 1
        verdict.note(f"{session.who}: answers {answers[:30]}")
    if len(first) != len(answers) and len(numbers) == len(seen):
        verdict.repeated += len(answers) - len(first)
        verdict.note(f"{session.who}: answers repeated {answers[:30]}")


async def all_closed(project: Project, sessions: list[Session], seconds: float = 5.0) -> float:
    """Wait until ``on_close`` has run for all of them; how long that took, in seconds."""
    began = time.monotonic()
    names = {session.who for session in sessions}
    with contextlib.suppress(AssertionError):  # the oracle says which
        await soon(
            lambda: names <= {note[1] for note in project.journal("close")},
            seconds,
        )
    return time.monotonic() - began


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


Fault = Callable[[Server, Load], Awaitable[None]]
