"""Order and isolation: many connections at once, some of them slow, greedy or deaf."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from websockets.asyncio.client import connect
from websockets.sync.client import connect as connect_blocking

from .clients import Client
from .raw import Flooders, RawClient
from .server import Project, Server, until

pytestmark = [pytest.mark.system, pytest.mark.load]


async def open_all(server, path, number):
    """Open so many connections at once."""
    return await asyncio.gather(
        *[
            connect(server.url + path, proxy=None, compression=None, open_timeout=30)
            for _ in range(number)
        ]
    )


async def close_all(sockets):
    await asyncio.gather(*[socket.close() for socket in sockets])


def test_two_hundred_connections_keep_their_order(server):
    async def talk(number, socket):
        expected = [f"{number} {count}" for count in range(50)]
        for message in expected:
            await socket.send(message)
        async with asyncio.timeout(40):
            assert [await socket.recv() for _ in expected] == expected

    async def main():
        sockets = await open_all(server, "", 200)
        await asyncio.gather(*[talk(*item) for item in enumerate(sockets)])
        await close_all(sockets)

    asyncio.run(main())


def test_blocking_handlers_run_at_the_same_time(server):
    number = 16 if "multiprocess" in server.process.args[-1] else 100

    async def main():
        sockets = await open_all(server, "sleep", number)
        began = time.monotonic()
        await asyncio.gather(*[socket.send("0.2") for socket in sockets])
        assert set(await asyncio.gather(*[socket.recv() for socket in sockets])) == {"done"}
        took = time.monotonic() - began
        await close_all(sockets)
        return took

    assert asyncio.run(main()) < 1.5


def latencies(server, until_true):
    """Round trips in seconds, one after the other, until something is true."""
    found = []
    with connect_blocking(server.url, proxy=None, compression=None) as socket:
        while not until_true():
            began = time.monotonic()
            socket.send("x")
            socket.recv(10)
            found.append(time.monotonic() - began)
    return sorted(found)


def test_a_blocking_handler_delays_nobody(server):
    with Client(server, "sleep") as blocker:
        blocker.send("2")
        blocker.until_noted("sleep")
        began = time.monotonic()
        found = latencies(server, lambda: time.monotonic() - began > 1.2)
        with Client(server) as newcomer:
            assert newcomer.ask("hello") == "hello"
        assert blocker.receive() == "done"
        assert time.monotonic() - began < 3
    assert found[-1] < 1.0
    assert found[len(found) // 2] < 0.05


def test_a_client_that_never_stops_sending_starves_nobody(server):
    with Flooders(server, "", 2) as flooders:
        until(lambda: flooders.sent > 500)
        began = time.monotonic()
        found = latencies(server, lambda: time.monotonic() - began > 1)
    assert len(found) > 20
    assert found[len(found) // 2] < 0.1


def test_a_client_that_does_not_read_stops_only_its_own_handler(server):
    before = sum(server.memory().values())
    client = RawClient(server, "flood?who=deaf", receive_buffer=4096)
    client.send("100000")
    seen = []
    watch = threading.Thread(
        target=lambda: seen.extend(latencies(server, lambda: server.project.journal("flood")))
    )
    watch.start()
    try:
        (note,) = until(lambda: server.project.journal("flood", who="deaf"))
    finally:
        watch.join()
        client.socket.close()
    error, sent, waited, _ = note[4:]
    assert error == "SendTimeout"
    assert 0.9 < waited < 2.0
    assert sent < 20_000_000  # the window, and what the kernel takes
    assert sum(server.memory().values()) - before < 30_000_000
    assert seen[len(seen) // 2] < 0.1


@pytest.mark.parametrize("mode", ["pool"])
def test_more_loops_than_threads(tmp_path, mode):
    project = Project(tmp_path)
    try:
        server = Server(project, "--pool", "4")

        async def main():
            sockets = await open_all(server, "loop", 40)
            for socket in sockets:
                await socket.send("0.05")
            async with asyncio.timeout(20):
                for socket in sockets:
                    assert [await socket.recv() for _ in range(3)] == ["1", "2", "3"]
                async with connect(server.url, proxy=None) as echo:
                    await echo.send("x")
                    assert await echo.recv() == "x"
            await close_all(sockets)

        asyncio.run(main())
        until(lambda: len(project.journal("close")) == 40)
        server.stop()
    finally:
        project.remove()
