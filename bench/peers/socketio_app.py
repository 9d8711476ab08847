"""python-socketio, to be served by uvicorn."""

import asyncio
import time

import socketio

server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
application = socketio.ASGIApp(server)


@server.on("echo")
async def echo(sid, message):
    await server.emit("echo", message, to=sid)


@server.on("sleep")
async def sleep(sid, message):
    await asyncio.to_thread(time.sleep, 0.01)
    await server.emit("echo", message, to=sid)


@server.on("join")
async def join(sid, message):
    await server.enter_room(sid, "fan")
    await server.emit("echo", message, to=sid)


@server.on("fan")
async def fan(sid, message):
    await server.emit("echo", message, room="fan")
