"""Answers each read with a canned frame: shows what the load generator itself can do."""

import asyncio
import sys
from typing import cast

import uvloop

from . import handshake

MASKED = 4  # bytes that a client's frame has more than a server's


class Echo(asyncio.Protocol):
    opened = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.write = cast(asyncio.Transport, transport).write

    def data_received(self, data: bytes) -> None:
        if self.opened:
            # Only for one frame at a time, which is how the scenario sends.
            size = len(data) - 2 - MASKED
            self.write(bytes((0x81, size)) + b"x" * size)
        else:
            self.opened = True
            self.write(handshake.response(data))


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(Echo, "127.0.0.1", port, backlog=2048)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
