"""Every example of docs/client-protocol.md, played against a gateway.

The gateway is real, from the listening socket to the links; the test is the client, and the worker
that does what an example needs.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from django_ws.gateway.outgoing import Membership
from django_ws.gateway.workers import Registry
from django_ws.options import GatewayConfig, GroupConfig, Limits
from django_ws.transport.events import EventsReceiver
from django_ws.transport.replies import RepliesSender
from django_ws.wire.codec import Batch, decode_events, encode
from django_ws.wire.messages import (
    BINARY,
    TEXT,
    WIRE_VERSION,
    Accept,
    Connect,
    Emit,
    GroupSend,
    Heartbeat,
    Hello,
    Join,
    Leave,
    NamespaceInfo,
    Position,
    Reply,
    Resume,
    Resumed,
    Role,
    Send,
    Welcome,
)
from tests.integration.gateway_harness import DEADLINE, Client, Gateway, wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "client-protocol.md").read_text()
BLOCKS = re.findall(r"^```v1\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)

PLACEHOLDER = b'{"_placeholder":true,"num":0}'


class RealGateway(Gateway):
    """With a registry of workers."""

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        registry = Registry(self.config, "gw", loop=loop, on_kill=lambda _: None)
        await registry.start()
        self.registry = registry  # type: ignore[assignment]  # in place of the harness's fake
        await super()._serve()


class Worker:
    """Says what the test wants."""

    def __init__(self, push: str, sub: str) -> None:
        self._events = EventsReceiver(push, "w1")
        self._replies = RepliesSender(sub, 5.0)
        self._number = self._received = 0
        self.came: list[Any] = []
        hello = Hello(
            self._events.endpoint,
            0,
            1,
            1.0,
            {"default": NamespaceInfo()},
            {},
            WIRE_VERSION,
            "",
            True,
        )
        wait_until(lambda: self._hello(hello))
        self.beat()

    def _hello(self, hello: Hello) -> bool:
        self._replies.connect()
        self._send(Batch(1, "p", "w1", "", 0, 0, [hello], {}, Role.WORKER))
        self.take(0.05)
        return any(isinstance(event, Welcome) for event in self.came)

    def _send(self, batch: Batch[Any]) -> None:
        wait_until(lambda: self._replies.send(encode(batch)))

    def beat(self) -> None:
        self._say(0, [Heartbeat(True)], {})

    def say(self, *messages: Any, acks: dict[int, int] | None = None) -> None:
        self._number += 1
        self._say(self._number, list(messages), acks or {})

    def _say(self, number: int, messages: list[Any], acks: dict[int, int]) -> None:
        self._send(
            Batch(
                WIRE_VERSION, "p", "w1", "gw", number, self._received, messages, acks, Role.WORKER
            )
        )

    def take(self, seconds: float = 0.2) -> list[Any]:
        """All that has come so far."""
        for data in self._events.receive(seconds):
            batch = decode_events(data)
            self._received = batch.number
            self.came.extend(batch.messages)
        return self.came

    def wait_for(self, kind: type, seq: int = 0) -> Any:
        """The last event of a kind, or with this number."""

        def look() -> Any:
            found = [e for e in self.take(0.05) if isinstance(e, kind)]
            found = [e for e in found if not seq or getattr(e, "seq", 0) == seq]
            return found[-1] if found else None

        return wait_until(look, f"{kind.__name__} {seq}")

    def close(self) -> None:
        self._events.close()
        self._replies.close()


class Player:
    """Plays one example."""

    def __init__(self, gateway: RealGateway, worker: Worker) -> None:
        self.gateway, self.worker = gateway, worker
        self.sessions = gateway.registry.sessions  # type: ignore[attr-defined]
        self.client: Client | None = None
        self.conn = 0
        self.tokens: dict[str, str] = {}
        self.joined: set[str] = set()
        self.acked = 0
        self.epoch = ""

    # ------------------------------------------------------------------ before

    def prepare(self, lines: list[str]) -> None:
        """Let groups be as far as the example finds them."""
        first: dict[str, int] = {}
        past: dict[str, list[str]] = {}
        for line in lines:
            if line[:2] not in ("> ", "< "):
                continue
            words = json.loads(line[2:].partition(" | ")[0])
            if words[0] == "hello":
                for since in words[1].get("since", ()):
                    first.setdefault(since["group"], since["offset"])
            elif words[0] in ("g", "h", "j"):
                first.setdefault(words[3], words[4] - (words[0] != "j"))
                if words[0] == "h":
                    past.setdefault(words[3], []).append(words[7])
        for group, offset in first.items():
            for text in ["before"] * offset + past.get(group, []):
                self.worker.say(GroupSend(group, TEXT, text.encode()))
        for group in first:
            self.gateway.call(lambda group=group: self._look(group))

    def _look(self, group: str) -> None:
        def done(position: Any) -> None:
            self.epoch = position.epoch

        self.sessions.groups.engine.position(group, done)

    # ------------------------------------------------------------------ the example

    def play(self, line: str) -> None:
        self.worker.beat()
        mark, rest = line[0], line[2:]
        if mark == "=":
            self.client = Client(self.gateway.port)
            answer = self.client.upgrade(Sec__WebSocket__Protocol="django-ws.v1")
            assert answer["sec-websocket-protocol"] == "django-ws.v1"
        elif mark == "x":
            self.end(int(rest))
        elif mark in "<>":
            text, _, after = rest.partition(" | ")
            for word, real in {"5d2c": self.epoch, **self.tokens}.items():
                text = text.replace(f'"{word}"', f'"{real}"')
            body = bytes.fromhex(after) if after else None
            (self.sent if mark == ">" else self.expected)(text, body)

    def end(self, code: int) -> None:
        assert self.client is not None
        if code == 1006:
            self.client.sock.close()
            parking = self.gateway.server._parking
            wait_until(lambda: len(parking) == 1, "a parked session")
        else:
            self.gateway.call(lambda: self.sessions.by_conn[self.conn].give_up(code, ""))
            while (frame := self.client.read())[0] != 0x88:
                pass
            assert int.from_bytes(frame[1][:2]) == code
            self.client.frame(8, frame[1])
            self.client.sock.close()

    def sent(self, text: str, body: bytes | None) -> None:
        """What the client sends."""
        assert self.client is not None
        self.client.frame(
            TEXT if body is None else BINARY,
            text.encode() + (b"" if body is None else b"\n" + body),
        )
        words = json.loads(text)
        if words[0] in ("m", "r", "e", "x"):
            event = self.worker.wait_for(object, words[1] + 1)
            assert event.conn == self.conn

    def expected(self, text: str, body: bytes | None) -> None:
        """What the client hears: made to happen, then heard."""
        words = json.loads(text)
        if words[0] == "welcome":
            self.welcome(words[1])
            return
        had = words[1] if words[0] == "a" else words[2]
        acks = {}
        if had > self.acked:
            self.acked, acks = had, {self.conn: had + 1}
        self.act(words, body, acks)
        expected = text.encode() if body is None else text.encode() + b"\n" + body
        while (came := self.read()) != expected:
            assert came.startswith(b'["a",'), (came, expected)

    def act(self, words: list[Any], body: bytes | None, acks: dict[int, int]) -> None:
        conn = self.conn
        kind, *rest = words[0], *words[3:]
        opcode, data = (TEXT, b"") if body is None else (BINARY, body)
        attached = [] if body is None else [body]
        message: Any = None
        match kind, rest:
            case "m", _:
                message = Send(conn, opcode, data or rest[0].encode())
            case "e", [name, *args]:
                arguments = compact(args[0]) if args else b"[%b]" % PLACEHOLDER
                message = Emit(conn, name, arguments, attached)
            case "ok", [call, *value]:
                message = Reply(
                    conn, call + 1, 0, compact(*value) if value else PLACEHOLDER, attached
                )
            case "err", [call, code, reason]:
                message = Reply(conn, call + 1, code, reason.encode())
            case "g", [group, _, _, name, *value]:
                if name:
                    message = GroupSend(group, TEXT, compact(value[0][0]), 0, name, True)
                else:
                    message = GroupSend(group, opcode, data or value[0].encode())
            case "j", [group, *_] if group not in self.joined:
                self.joined.add(group)
                message = Join(conn, group)
            case "j", [group, offset, epoch, recovered]:  # as when its engine was away
                news = Membership(group, Position(offset, epoch), recovered)
                self.gateway.call(lambda: self.sessions.by_conn[conn].tell(news))
            case "l", [group]:
                message = Leave(conn, group)
        if message is not None or acks:
            self.worker.say(*([message] if message is not None else ()), acks=acks)

    def welcome(self, expected: dict[str, Any]) -> None:
        if expected["resumed"]:
            question = self.worker.wait_for(Resume)
            self.worker.say(Resumed(question.conn, question.request, 0, "", False))
        else:
            self.conn += 1
            self.joined.clear()
            self.acked = 0
            connect = self.worker.wait_for(Connect)
            wait_until(lambda: self.worker.wait_for(Connect).conn == self.conn)
            connect = self.worker.wait_for(Connect)
            self.worker.say(Accept(connect.conn, ""), acks={connect.conn: 1})
        kind, options = json.loads(self.read())
        assert kind == "welcome"
        for name, value in expected.items():
            if name == "token":
                self.tokens.setdefault(value, options[name])
                assert len(options[name]) >= 22  # 128 bits
            elif name == "id":
                assert options[name] == f"gw-{self.conn}"
            else:
                assert options[name] == (1000 if name == "silence" else value), name
        assert options.keys() == expected.keys()

    def read(self) -> bytes:
        """The next envelope."""
        assert self.client is not None
        self.client.sock.settimeout(DEADLINE)
        while (frame := self.client.read())[0] not in (0x81, 0x82):
            assert frame[0] == 0x89, frame  # a ping
        return frame[1]


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def arrived(lines: list[str]) -> list[str]:
    """Without what the client had sent in vain: its session comes back without that."""
    welcome = next((i for i, line in enumerate(lines) if '"resumed":true' in line), None)
    if welcome is None:
        return lines
    had = json.loads(lines[welcome][2:])[1]["had"]
    lost = [
        i
        for i, line in enumerate(lines[:welcome])
        if line.startswith('> ["m"') and json.loads(line[2:])[1] > had
    ]
    return [line for i, line in enumerate(lines) if i not in lost]


@contextmanager
def playing(directory: Path) -> Iterator[Player]:
    push, sub = f"ipc://{directory}/push", f"ipc://{directory}/sub"
    config = GatewayConfig(
        project="p",
        port=0,
        push_socket=push,
        sub_socket=sub,
        allowed_hosts=["127.0.0.1"],
        groups={"*": GroupConfig(history_size=100)},
        limits=Limits(ping_interval=0.5, ping_timeout=0.5),
    )
    gateway = RealGateway(config)
    gateway.start()
    try:
        worker = Worker(push, sub)
        try:
            yield Player(gateway, worker)
        finally:
            gateway.drain(0.2)
            gateway.join()
            worker.close()
    finally:
        gateway.stop()


@pytest.mark.parametrize("block", BLOCKS, ids=range(1, len(BLOCKS) + 1))
def test_an_example_of_the_page(block: str) -> None:
    # The path of a socket has at most 107 bytes, so not below pytest's directories.
    with tempfile.TemporaryDirectory(prefix="ws") as directory, playing(Path(directory)) as player:
        lines = arrived(block.splitlines())
        player.prepare(lines)
        for line in lines:
            player.play(line)
        if player.client is not None:
            player.client.sock.close()
