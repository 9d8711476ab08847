"""A burst of group messages, from a worker through a gateway to real sockets."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import msgspec

from django_ws.base import WebSocketHandler
from django_ws.gateway.http.server import Server
from django_ws.options import GatewayConfig, Limits, NamespaceConfig
from tests.integration import test_worker_gateway
from tests.integration.gateway_harness import Client
from tests.integration.test_worker_gateway import DEADLINE, Stack, until

MESSAGES, SIZE, READERS = 400, 60_000, 5


class Burst(WebSocketHandler):
    """Publishes a burst; its own messages are numbered along with those of the group."""

    def on_connect(self) -> None:
        self.join("all")

    def on_message(self, message: str) -> None:
        for number in range(MESSAGES):
            self.publish("all", b"%06d" % number + bytes(SIZE - 6))
        self.send("done")


class Reader(threading.Thread):
    """Reads as fast as it can, and notes what came."""

    def __init__(self, port: int, *, begins: bool) -> None:
        super().__init__(name="reader")
        self.client = Client(port)
        self.client.sock.settimeout(2 * DEADLINE)
        self.client.upgrade("/socket/")
        self.begins = begins
        self.numbers: list[int] = []
        self.last = b""

    def run(self) -> None:
        if self.begins:
            self.client.frame(1, b"go")
        while len(self.numbers) < MESSAGES or (self.begins and not self.last):
            first, data = self.client.read()
            if first == 0x82:
                self.numbers.append(int(data[:6]))
                continue
            self.last = data
            if first != 0x81:
                return


def test_quick_readers_get_a_burst_whole_and_nobody_is_closed(tmp_path: Path) -> None:
    sockets = f"ipc://{tmp_path}/push", f"ipc://{tmp_path}/sub"
    stack = Stack(*sockets, "pool", "close", Limits())
    handler = NamespaceConfig(handler=f"{__name__}.Burst")
    stack.worker_config = msgspec.structs.replace(
        stack.worker_config, namespaces={"default": handler}
    )
    test_worker_gateway.gates.clear()

    async def main() -> None:
        registry = await stack.gateway()
        config = GatewayConfig(project="p", port=0, allowed_hosts=["*"])
        server = Server(config, registry, registry.counters)
        port = server.listen()[1]
        readers: list[Reader] = []
        try:
            await stack.worker()
            for index in range(READERS):
                reader = await asyncio.to_thread(Reader, port, begins=index == READERS - 1)
                readers.append(reader)
            for reader in readers:
                reader.start()
            async with asyncio.timeout(4 * DEADLINE):
                while any(reader.is_alive() for reader in readers):
                    await asyncio.sleep(0.01)
            for reader in readers:
                assert reader.numbers == list(range(MESSAGES)), (reader.last, len(reader.numbers))
            assert readers[-1].last == b"done"
            assert registry.counters["closed_slow"] == 0
        finally:
            for reader in readers:
                reader.client.sock.close()
            await until(lambda: registry.connections == 0)
            await stack.stop()
            await server.drain(0.5)

    asyncio.run(main())
