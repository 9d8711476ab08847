"""The floor of a fan-out: one process, one frame, one loop of ``transport.write()``.

No framework, no groups, no second process; frames by the sans-I/O core of websockets, as the
gateway has them. Every message is sent to all.
"""

import asyncio
import sys
from typing import cast

import uvloop
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from . import handshake

transports: set[asyncio.Transport] = set()


class Member(asyncio.Protocol):
    opened = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        transports.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        if not self.opened:
            self.opened = True
            self.transport.write(handshake.response(data))
            transports.add(self.transport)
            return
        core = ServerProtocol(state=State.OPEN)
        core.receive_data(data)
        for event in core.events_received():
            assert isinstance(event, Frame)
            frame = Frame(Opcode.TEXT, event.data).serialize(mask=False)
            for transport in transports:
                transport.write(frame)


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(Member, "127.0.0.1", port, backlog=2048)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
