"""A bare Tornado echo, on uvloop as the gateway is."""

import asyncio
import sys

import tornado.web
import tornado.websocket
import uvloop


class Echo(tornado.websocket.WebSocketHandler):
    def on_message(self, message):
        self.write_message(message)


async def main(port: int) -> None:
    tornado.web.Application([(r"/socket/", Echo)]).listen(port, "127.0.0.1", backlog=2048)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
