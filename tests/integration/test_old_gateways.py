"""A worker of today and a gateway of the release before, which speaks version 1 of the wire."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_ws.base import WebSocketHandler
from django_ws.options import NamespaceConfig, WorkerConfig
from django_ws.transport.events import EventsSender
from django_ws.transport.replies import RepliesReceiver
from django_ws.worker.main import make
from tests import version_one as old

DEADLINE = 8.0


class Chat(WebSocketHandler):
    """Uses what there was to be used in that release."""

    def on_connect(self) -> None:
        self.join("g")

    def on_message(self, message: str | bytes) -> None:
        self.send(message)
        self.publish("g", "to all")
        self.state["n"] = 1


class Gateway:
    """The old one's sockets, and what it reads."""

    def __init__(self, push: str, sub: str) -> None:
        self.receiver = RepliesReceiver(sub)
        self.sender: EventsSender | None = None
        self.push = push
        self.messages: list[list[Any]] = []
        self.acks: dict[int, int] = {}

    def say(self, data: bytes) -> None:
        deadline = time.monotonic() + DEADLINE
        self.sender = self.sender or EventsSender(self.push, 30.0)
        while not self.sender.send(data):
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, self.messages
            item = self.receiver.receive()
            if item is None:
                time.sleep(0.002)
                continue
            self.messages += old.read(item[1], old.REPLIES)
            self.acks |= old.acks(item[1])

    def heard(self, tag: int) -> bool:
        return any(message[0] == tag for message in self.messages)

    def close(self) -> None:
        if self.sender is not None:
            self.sender.close()
        self.receiver.close()


@pytest.mark.parametrize("mode", ["pool", "threaded"])
def test_a_new_worker_serves_an_old_gateway(tmp_path: Path, mode: str) -> None:
    push, sub = f"ipc://{tmp_path}/push", f"ipc://{tmp_path}/sub"
    gateway = Gateway(push, sub)
    config = WorkerConfig(
        project="p",
        namespaces={"default": NamespaceConfig(handler=f"{__name__}.Chat")},
        push_socket=push,
        sub_sockets=[sub],
        mode=mode,
    )
    worker = make(config, old.WORKER, None)
    thread = threading.Thread(target=worker.run, name="worker")
    thread.start()
    try:
        gateway.until(lambda: gateway.heard(1))
        gateway.say(old.WELCOME)
        gateway.until(lambda: gateway.heard(2))
        gateway.say(old.CONNECT)
        gateway.until(lambda: gateway.acks.get(1) == 1)
        accept, join = gateway.messages[-2:]
        assert accept[:3] == [3, 1, ""]
        assert join[:3] == [7, 1, "g"]
        gateway.say(old.MESSAGES)
        gateway.until(lambda: gateway.acks.get(1) == 3)
        assert [message[3] for message in gateway.messages if message[0] == 5] == [
            b"hello", b"\x00\x01",
        ]  # fmt: skip
        assert gateway.heard(9)
        assert gateway.heard(10)
        gateway.say(old.DISCONNECT)
        gateway.until(lambda: gateway.acks.get(1) == 4)
        gateway.say(old.RESTORE)
        gateway.until(lambda: gateway.heard(12) or gateway.heard(6))
    finally:
        worker.retire(2.0)
        thread.join(DEADLINE)
        gateway.close()
    assert not thread.is_alive()
