"""A registry whose loop, clock and sockets are the test's."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from django_ws.gateway import workers
from django_ws.gateway.outgoing import Membership
from django_ws.gateway.session import Session
from django_ws.gateway.shared import Shared
from django_ws.gateway.workers import Registry
from django_ws.options import GatewayConfig, GroupConfig, Limits
from django_ws.wire.codec import ReplyBatch, decode_answer, decode_events, encode
from django_ws.wire.messages import (
    WIRE_VERSION,
    Accept,
    Connect,
    GatewayAnswer,
    Handshake,
    Heartbeat,
    Hello,
    NamespaceInfo,
    Role,
    Welcome,
    WorkerMessage,
)

PUSH = "ipc:///run/ws_push"


class FakeTimer:
    def __init__(self, when: float, callback: Callable[[], Any]) -> None:
        self.when, self.callback, self.cancelled = when, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """Runs what is due when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.soon: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.timers: list[FakeTimer] = []
        self.readers: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> None:
        self.soon.append((callback, args))

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> FakeTimer:
        timer = FakeTimer(self.now + delay, lambda: callback(*args))
        self.timers.append(timer)
        return timer

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> FakeTimer:
        return self.call_later(when - self.now, callback, *args)

    def add_reader(self, fd: int, callback: Callable[..., Any], *args: Any) -> None:
        self.readers[fd] = (callback, args)

    def remove_reader(self, fd: int) -> None:
        del self.readers[fd]

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)  # type: ignore[arg-type]

    def get_debug(self) -> bool:
        return False

    def fire(self, fd: int) -> None:
        """Something can be read from a descriptor."""
        callback, args = self.readers[fd]
        callback(*args)
        self.run()

    def run(self) -> None:
        """Run what was to run soon, and what that makes run soon."""
        while self.soon:
            todo, self.soon = self.soon, []
            for callback, args in todo:
                callback(*args)

    def advance(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass, running timers on the way."""
        end = self.now + seconds
        self.run()
        while self.now < end:
            self.now = min(end, self.now + step)
            due = [timer for timer in self.timers if timer.when <= self.now]
            self.timers = [timer for timer in self.timers if timer.when > self.now]
            for timer in due:
                if not timer.cancelled:
                    timer.callback()
            self.run()


class FakeSender:
    """Stands for the PUSH socket to one worker."""

    numbers = itertools.count(100)

    def __init__(self, endpoint: str, silence: float) -> None:
        self.endpoint = endpoint
        self.number = next(self.numbers)
        self.sent: list[Any] = []
        self.events: list[bool] = []
        self.full = False
        self.closed = False

    def fileno(self) -> int:
        return self.number * 2

    def monitor_fileno(self) -> int:
        return self.number * 2 + 1

    def changes(self) -> list[bool]:
        events, self.events = self.events, []
        return events

    def send(self, data: bytes) -> bool:
        assert not self.closed
        if not self.full:
            self.sent.append(decode_events(data))
        return not self.full

    def writable(self) -> bool:
        return not self.full

    def close(self) -> None:
        self.closed = True


class FakeReceiver:
    """Stands for the ROUTER."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.batches: list[tuple[bytes, bytes]] = []
        self.answers: list[tuple[bytes, GatewayAnswer]] = []
        self.closed = False

    def fileno(self) -> int:
        return 7

    def receive(self) -> tuple[bytes, bytes] | None:
        return self.batches.pop(0) if self.batches else None

    def answer(self, identity: bytes, data: bytes) -> None:
        self.answers.append((identity, decode_answer(data)))

    def close(self) -> None:
        self.closed = True


class FakeClient:
    """Stands for a browser's connection."""

    def __init__(self, session: Session, stays: bool = False) -> None:
        self.session = session
        self.writable = True
        self.backlog = 0
        self.got: list[bytes] = []
        self.told: list[Membership] = []
        self.closed: tuple[int, str] | None = None
        self.resumed = 0
        self.stays = stays

    def send(self, opcode: int, data: bytes) -> None:
        self.got.append(data)

    def send_shared(self, message: Shared) -> None:
        self.got.append(message.data)

    def emit(self, name: str, data: bytes, attachments: list[bytes]) -> None:
        self.got.append(name.encode() + data + b"".join(attachments))

    def reply(self, seq: int, code: int, data: bytes, attachments: list[bytes]) -> None:
        self.got.append(b"%d:%d:" % (seq, code) + data + b"".join(attachments))

    def tell(self, news: Membership) -> None:
        self.told.append(news)
        self.got.append(b"left" if news.position is None else b"joined %d" % news.position.offset)

    def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = (code, reason)
            if not self.stays:
                self.session.disconnected(code, reason)

    def resume(self) -> None:
        self.resumed += 1


class FakeWorker:
    """The other end of a worker's links."""

    def __init__(self, world: World, incarnation: str, namespaces: Any, started: float) -> None:
        self.world = world
        self.incarnation = incarnation
        self.namespaces = namespaces
        self.started = started
        self.endpoint = f"{PUSH}.{incarnation}"
        self.number = 0
        self.read = 0  # batches taken from the sender
        self.project = "p"
        self.fingerprints: dict[str, str] = {}
        self.resumes = True

    @property
    def sender(self) -> FakeSender:
        (sender,) = [s for s in self.world.senders if s.endpoint == self.endpoint][-1:]
        return sender

    def push(self, batch: ReplyBatch, identity: bytes = b"") -> None:
        identity = identity or self.incarnation.encode()
        self.world.replies.batches.append((identity, encode(batch)))
        self.world.loop.fire(7)

    def batch(
        self, messages: list[WorkerMessage], number: int, receiver: str | None = None, **acks: Any
    ) -> Any:
        return ReplyBatch(
            WIRE_VERSION,
            self.project,
            self.incarnation,
            self.world.registry.incarnation if receiver is None else receiver,
            number,
            self.read,
            messages,
            acks.get("acks", {}),
            Role.WORKER,
        )

    def hello(self, link: int = 0, identity: bytes = b"") -> None:
        hello = Hello(
            self.endpoint,
            link,
            4711,
            self.started,
            self.namespaces,
            self.fingerprints,
            WIRE_VERSION,
            resumes=self.resumes,
        )
        self.push(self.batch([hello], 0, ""), identity)

    def join(self) -> FakeWorker:
        """Say Hello, take the Welcome, beat once."""
        self.hello()
        assert isinstance(self.take()[0], Welcome)
        self.beat()
        return self

    def beat(self, accepting: bool = True) -> None:
        self.push(self.batch([Heartbeat(accepting)], 0))

    def say(self, *messages: WorkerMessage, acks: dict[int, int] | None = None) -> None:
        """One counted batch of replies."""
        self.number += 1
        self.push(self.batch(list(messages), self.number, acks=acks or {}))

    def take(self) -> list[Any]:
        """The events that came since the last time."""
        self.world.loop.advance(0.002, 0.002)  # events may wait a millisecond for company
        batches = self.sender.sent[self.read :]
        self.read = len(self.sender.sent)
        return [event for batch in batches for event in batch.messages]

    def link_changes(self, *up: bool) -> None:
        self.sender.events.extend(up)
        self.world.loop.fire(self.sender.monitor_fileno())


class World:
    """A registry and everything around it."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        fingerprints: dict[str, str] | None = None,
        incarnation: str = "gw",
        groups: dict[str, GroupConfig] | None = None,
        **limits: Any,
    ) -> None:
        self.loop = FakeLoop()
        self.senders: list[FakeSender] = []
        self.killed: list[str] = []

        def sender(endpoint: str, silence: float) -> FakeSender:
            self.senders.append(FakeSender(endpoint, silence))
            return self.senders[-1]

        monkeypatch.setattr(workers, "EventsSender", sender)
        monkeypatch.setattr(workers, "RepliesReceiver", FakeReceiver)
        config = GatewayConfig(
            project="p",
            push_socket=PUSH,
            limits=Limits(**limits),
            fingerprints=fingerprints or {},
            groups=groups or {},
        )
        self.registry = Registry(
            config,
            incarnation,
            loop=self.loop,  # type: ignore[arg-type]
            on_kill=self.killed.append,
            started=0.5,
        )
        with pytest.raises(StopIteration):
            self.registry.start().send(None)
        self.replies: FakeReceiver = self.registry._link  # type: ignore[assignment]
        self.loop.run()

    def worker(
        self, incarnation: str = "w1", policy: str = "close", started: float = 1.0, **others: str
    ) -> FakeWorker:
        """A worker that is ready."""
        names = {"default": NamespaceInfo(policy)}
        names |= {name: NamespaceInfo(value) for name, value in others.items()}
        return FakeWorker(self, incarnation, names, started).join()

    def stranger(self, incarnation: str, **changes: Any) -> FakeWorker:
        """A worker that has said nothing yet."""
        worker = FakeWorker(self, incarnation, {"default": NamespaceInfo()}, 1.0)
        for name, value in changes.items():
            setattr(worker, name, value)
        return worker

    def handshake(self, namespace: str = "default", address: str = "127.0.0.1") -> Session:
        """A browser asks to connect."""
        client = (address, 1)
        return self.registry.connect(
            Handshake(namespace, {}, "http", "/socket", "", [], client, client, [], 0.0)
        )

    def connection(
        self, worker: FakeWorker, stays: bool = False, user: str = "", key: str = ""
    ) -> tuple[Session, FakeClient]:
        """A connection that the worker has accepted."""
        session = self.handshake()
        assert [type(event) for event in worker.take()] == [Connect]
        worker.say(Accept(session.conn, "", user, key), acks={session.conn: 1})
        client = FakeClient(session, stays)
        session.attach(client)
        return session, client
