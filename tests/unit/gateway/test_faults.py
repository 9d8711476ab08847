"""Random courses of events: workers come, retire, refuse and die at any point, browsers come, talk
and leave. Whatever happens, the promises of ``docs/reliability.md`` hold.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any

import pytest

from django_ws.gateway.session import Session
from django_ws.wire.messages import (
    TEXT,
    Accept,
    Close,
    Connect,
    Disconnect,
    GroupSend,
    Join,
    Message,
    Refuse,
    Release,
    Released,
    Restore,
    Retiring,
    Send,
    Snapshot,
    WorkerMessage,
)
from tests.unit.gateway.fakes import FakeClient, FakeWorker, World

SEEDS, STEPS = 80, 400


class Browser:
    """One browser: shakes hands, talks, leaves."""

    def __init__(self, world: World) -> None:
        self.session: Session = world.handshake(address=f"10.0.0.{len(world.senders) % 3}")
        self.client: FakeClient | None = None
        self.said = 0
        self.left = False

    @property
    def closed(self) -> tuple[int, str] | None:
        return self.client.closed if self.client is not None else None

    def step(self, rng: random.Random) -> None:
        session = self.session
        if self.left:
            return
        if self.client is None:
            if session.verdict.done():
                if isinstance(session.verdict.result(), Accept):
                    self.client = FakeClient(session, stays=rng.random() < 0.5)
                    session.attach(self.client)
                else:
                    self.leave()
            elif rng.random() < 0.05:
                self.leave()
        elif self.closed is None and rng.random() < 0.9:
            self.said += 1
            session.receive(TEXT, b"%d" % self.said)
        else:
            self.leave()

    def leave(self) -> None:
        gone = self.closed is not None and self.client is not None and not self.client.stays
        if not self.left and not gone:
            self.session.disconnected(*(self.closed or (1001, "")))
        self.left = True


class Hooks:
    """What all workers together have run: of each connection (what, where), in order."""

    def __init__(self) -> None:
        self.run: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
        #: What workers had that died, by connection; they may or may not have run it.
        self.doubtful: defaultdict[int, Counter[str]] = defaultdict(Counter)
        #: Closed by a handler, so that what was still to come is not for it.
        self.closed: set[int] = set()


class ModelWorker:
    """A worker that handles events in any order that is allowed, and replies when it likes to."""

    def __init__(self, world: World, name: str, policy: str, hooks: Hooks, started: float) -> None:
        self.fake: FakeWorker = world.worker(name, policy, started=started)
        self.name = name
        self.hooks = hooks
        self.queues: dict[int, list[Any]] = {}
        self.over: set[int] = set()
        self.closed: set[int] = set()
        self.unsaid: list[WorkerMessage] = []
        self.acks: dict[int, int] = {}
        self.retired = False
        self.had: list[tuple[int, str]] = []  # events of which no acknowledgement has left

    def receive(self) -> None:
        for event in self.fake.take():
            if isinstance(event, (Connect, Restore)):
                self.queues[event.conn] = [event]
            elif isinstance(event, (Message, Disconnect, Release)):
                if event.conn in self.queues:
                    self.queues[event.conn].append(event)
                if not isinstance(event, Release):
                    self.had.append((event.conn, what(event)))

    def step(self, rng: random.Random) -> None:
        """Handle one event of one connection."""
        self.receive()
        ready = [conn for conn, queue in self.queues.items() if queue]
        if not ready:
            return
        conn = rng.choice(ready)
        event = self.queues[conn].pop(0)
        if isinstance(event, Connect):
            if rng.random() < 0.1:
                self.end(conn, event.seq, Refuse(conn, 403, ""))
                return
            self.unsaid += [Accept(conn, ""), Join(conn, "g")]
        elif isinstance(event, Restore):
            if rng.random() < 0.1:
                self.end(conn, 0, Refuse(conn, 503, "out of processes"))
                return
        elif isinstance(event, Message):
            if conn not in self.closed:
                self.hooks.run[conn].append((what(event), self.name))
                self.unsaid += [Send(conn, TEXT, event.data), GroupSend("g", TEXT, b"x")]
                if rng.random() < 0.05:
                    self.closed.add(conn)
                    self.hooks.closed.add(conn)
                    self.unsaid.append(Close(conn, 4000, "enough"))
        elif isinstance(event, Disconnect):
            self.hooks.run[conn].append(("close", self.name))
            self.end(conn, event.seq)
            return
        elif rng.random() < 0.1:
            self.closed.add(conn)
            self.hooks.closed.add(conn)
            self.unsaid.append(Close(conn, 1012, "service restart"))
            return
        else:
            self.end(conn, 0, Released(conn, Snapshot()))
            return
        self.acks[conn] = event.seq

    def end(self, conn: int, seq: int, *words: WorkerMessage) -> None:
        self.unsaid += words
        if seq:
            self.acks[conn] = seq
        for event in self.queues.pop(conn):
            assert not isinstance(event, Message) or words, "a message behind the end"

    def flush(self) -> None:
        messages, self.unsaid = self.unsaid, []
        acks, self.acks = self.acks, {}
        self.had = [(conn, event) for conn, event in self.had if number(event) > acks.get(conn, 0)]
        if messages or acks:
            self.fake.say(*messages, acks=acks)

    def retire(self) -> None:
        self.retired = True
        self.unsaid.append(Retiring())
        self.flush()

    def die(self, world: World, rng: random.Random) -> None:
        self.receive()
        for conn, event in self.had:
            self.hooks.doubtful[conn][event.partition(" ")[0]] += 1
            self.hooks.doubtful[conn][event] += 1
        if rng.random() < 0.5:
            world.registry.worker_died(self.name)
        else:
            self.fake.link_changes(False)
        world.loop.run()


def what(event: Message | Disconnect) -> str:
    if isinstance(event, Disconnect):
        return f"close {event.seq}"
    return f"{event.data.decode()} {event.seq}"


def number(event: str) -> int:
    return int(event.partition(" ")[2])


class Course:
    """One random course."""

    def __init__(self, world: World, seed: int, policy: str) -> None:
        self.world, self.policy = world, policy
        self.rng = random.Random(seed)
        self.hooks = Hooks()
        self.browsers: list[Browser] = []
        self.workers: list[ModelWorker] = []
        self.names = 0

    def join(self) -> None:
        self.names += 1
        name = f"w{self.names}"
        self.workers.append(
            ModelWorker(self.world, name, self.policy, self.hooks, float(self.names))
        )

    def step(self) -> None:
        rng = self.rng
        match rng.choices(
            ["browser", "talk", "work", "flush", "die", "retire", "join", "expel", "time"],
            [4, 30, 40, 20, 1, 0.7, 2, 0.5, 2],
        )[0]:
            case "browser" if len(self.browsers) < 25:
                self.browsers.append(Browser(self.world))
            case "talk" if self.browsers:
                rng.choice(self.browsers).step(rng)
            case "work" if self.workers:
                rng.choice(self.workers).step(rng)
            case "flush" if self.workers:
                rng.choice(self.workers).flush()
            case "die" if self.workers:
                self.workers.pop(rng.randrange(len(self.workers))).die(self.world, rng)
            case "retire" if self.workers:
                worker = rng.choice(self.workers)
                if not worker.retired:
                    worker.retire()
            case "join" if len(self.workers) < 4:
                self.join()
            case "expel":
                for session in self.world.registry.sessions.find("", "", "g", 0)[:1]:
                    session.give_up(4401, "expelled")
            case "time":
                self.world.loop.advance(0.25)
                for worker in self.workers:
                    worker.fake.beat()

    def finish(self) -> None:
        """Everybody leaves, and a worker lives long enough."""
        self.join()
        for _ in range(200):
            for browser in self.browsers:
                if browser.client is None and not browser.left:
                    browser.step(self.rng)
                elif not browser.left:
                    browser.leave()
            for worker in self.workers:
                for _ in range(20):
                    worker.step(self.rng)
                worker.flush()
            self.world.loop.advance(0.25)
            for worker in self.workers:
                worker.fake.beat()
            if all(browser.left for browser in self.browsers) and not self.world.registry.sessions:
                return

    def check(self) -> None:
        registry, sessions = self.world.registry, self.world.registry.sessions
        assert registry.counters["replies_failed"] == 0
        assert not sessions.by_conn, [s.state for s in sessions.by_conn.values()]
        assert not sessions.waiting
        assert not sessions._homeless
        assert not sessions.groups.members("g")
        for known in registry._workers.values():
            assert not known.sessions
            assert not known.handshakes
        abandoned = registry.counters["on_close_abandoned"]
        for browser in self.browsers:
            abandoned -= self.check_browser(browser)
        assert abandoned >= 0  # some of them may have been run all the same

    def check_browser(self, browser: Browser) -> int:
        """Whether its ``on_close`` was abandoned."""
        session = browser.session
        run, doubtful = self.hooks.run[session.conn], self.hooks.doubtful[session.conn]
        closes = sum(event == "close" for event, _ in run)
        assert closes <= 1 + doubtful["close"], (run, doubtful)
        messages = [event for event, _ in run if event != "close"]
        for event, times in Counter(messages).items():
            allowed = 1 + (doubtful[event] if self.policy == "redeliver" else 0)
            assert times <= allowed, (event, run, doubtful)
        if self.policy == "close":
            assert messages == sorted(messages, key=number)
        if closes and not doubtful["close"]:
            assert run[-1][0] == "close"
        verdict = session.verdict.result() if session.verdict.done() else None
        if not isinstance(verdict, Accept):
            return 0
        if browser.closed is None and session.conn not in self.hooks.closed and not doubtful:
            assert len(set(messages)) == browser.said, (browser.said, run)
        return int(closes == 0)


@pytest.mark.parametrize("policy", ["close", "redeliver"])
def test_random_courses(monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    for seed in range(SEEDS):
        course = Course(World(monkeypatch), seed, policy)
        course.join()
        for _ in range(STEPS):
            course.step()
        course.finish()
        try:
            course.check()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
