"""How a connection begins at servers that are not what they should be; these are simulated."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest

from django_ws.gateway.engine.redis import Redis
from django_ws.group_patterns import lookup
from django_ws.store.urls import parse

from .contract import Ears

OLD = b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n6.2.7\r\n" + b"".join(
    b"$1\r\n%d\r\n$1\r\nx\r\n" % number for number in range(5)
)

#: As servers without HELLO answer it.
OLDER = (
    b"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `me`, `secret`, "
    b"`SETNAME`, `django-ws`, \r\n"
)


def engine_at(url: str) -> Redis:
    """One that begins to connect."""
    return Redis(
        parse(url),
        "project",
        "g",
        lookup({}),
        Ears(),
        loop=asyncio.get_running_loop(),
        counters=Counter(),
    )


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (OLD, "redis 6.2.7 is too old: Redis 7 or Valkey 8 is needed"),
        (OLDER, "it is too old: Redis 7 or Valkey 8 is needed"),
        (b"+OK\r\n", "something else"),
        (b"_\r\n", "something else"),
        (b":1\r\n", "something else"),
        (b"*1\r\n$1\r\nx\r\n", "something else"),
        (b"%1\r\n$7\r\nversion\r\n_\r\n", "something else"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak RESP3"),
        (b"-NOPERM User me has no permissions to run the 'hello' command\r\n", "NOPERM"),
        (b"-DENIED `secret`\r\n", "DENIED"),
    ],
)
def test_it_is_said_what_is_wrong(
    reply: bytes, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And never the password; and it is tried again."""
    tried = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tried
        tried += 1
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await reader.read(1000)
            writer.write(reply)
            await reader.read(1000)
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        engine = engine_at(f"redis://me:secret@127.0.0.1:{port}")
        try:
            async with asyncio.timeout(5):
                while tried < 2:
                    await asyncio.sleep(0.005)
            assert engine.away == float("inf")
        finally:
            engine.close()
            server.close()
            await asyncio.sleep(0)

    asyncio.run(run())
    assert words in caplog.text
    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text


def test_a_sentinel_that_says_nothing_is_left_out() -> None:
    """As that of a machine that has lost its power, maybe with the primary that they looked for."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await reader.read()
        writer.close()

    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await reader.read(1000)
            asked.set()
        writer.close()

    async def run() -> None:
        silent = [await asyncio.start_server(say_nothing, "127.0.0.1", 0) for _ in range(2)]
        servers = [*silent, await asyncio.start_server(serve, "127.0.0.1", 0)]
        hosts = ",".join("{}:{}".format(*each.sockets[0].getsockname()) for each in servers)
        engine = engine_at(f"redis+sentinel://{hosts}/main")
        try:
            async with asyncio.timeout(5):
                await asked.wait()
        finally:
            engine.close()
            for each in servers:
                each.close()
            await asyncio.sleep(0)

    asyncio.run(run())
