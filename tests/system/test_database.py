"""Hooks that use the ORM leave no database connection behind."""

from __future__ import annotations

import asyncio

import psutil
import psycopg
import pytest
from websockets.asyncio.client import connect

from .postgres import postgres
from .server import MODES, Command, Project, Server, until

pytestmark = [pytest.mark.system, pytest.mark.load, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def database():
    """A PostgreSQL of its own."""
    with postgres() as settings:
        yield settings


async def _talk(server, number, rounds):
    opening = asyncio.Semaphore(HANDSHAKES)

    async def open_one():
        async with opening:
            return await connect(server.url + "db", proxy=None, compression=None, open_timeout=40)

    async def one():
        async with await open_one() as socket:
            for _ in range(rounds):
                await socket.send("read")
                assert await asyncio.wait_for(socket.recv(), 40) == "read"
            await socket.send("write")
            assert await asyncio.wait_for(socket.recv(), 40)

    await asyncio.gather(*[one() for _ in range(number)])


async def _wait_in_hooks(server, number, count):
    """So many hooks that sit in ``wait``; what ``count`` says meanwhile."""
    sockets = await asyncio.gather(
        *[connect(server.url + "db", proxy=None, open_timeout=40) for _ in range(number)]
    )
    for socket in sockets:
        await socket.send("wait")
    for socket in sockets:
        assert await asyncio.wait_for(socket.recv(), 20) == "waiting"
    # "waiting" is sent just before `wait`, which gives the connection back.
    await asyncio.to_thread(until, lambda: count() == 0, 5, count)
    await asyncio.gather(*[socket.close() for socket in sockets])


#: Connections at once.
NUMBER = 200
#: Of those that are being opened: each needs a process in multiprocess mode, and so many at once
#: may take a busy machine longer than a handshake may wait.
HANDSHAKES = 20


@pytest.mark.parametrize("mode", MODES)
def test_postgresql(tmp_path, database, mode):
    """Over ten seconds in multiprocess mode: 200 times a process starts, and one of PostgreSQL."""
    project = Project(tmp_path, DATABASES={"default": database})
    dsn = f"host={database['HOST']} dbname=postgres user=tests"

    def count():
        with psycopg.connect(dsn) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = 'postgres' AND pid <> pg_backend_pid()"
            ).fetchone()
        return row[0]

    try:
        project.run("migrate", "--run-syncdb", "--verbosity", "0")
        server = Server(project, f"--{mode}")
        asyncio.run(_talk(server, NUMBER, 3))
        until(lambda: len(project.journal("db close")) == NUMBER, 20)
        until(lambda: count() == 0, 5, count)
        asyncio.run(_wait_in_hooks(server, 20, count))
        until(lambda: count() == 0, 5, count)
        assert "Traceback" not in server.output()
        server.stop()
    finally:
        project.remove()


@pytest.mark.parametrize("mode", MODES)
def test_sqlite(tmp_path, mode):
    project = Project(tmp_path)

    def count():
        """Open descriptors of the database file, over all processes."""
        found = 0
        for process in server.processes():
            try:
                found += sum("db.sqlite3" in file.path for file in process.open_files())
            except psutil.NoSuchProcess:
                continue
        return found

    try:
        project.run("migrate", "--run-syncdb", "--verbosity", "0")
        server = Server(project, f"--{mode}")
        asyncio.run(_talk(server, NUMBER, 1))
        until(lambda: len(project.journal("db close")) == NUMBER, 20)
        until(lambda: count() == 0, 5, count)
        asyncio.run(_wait_in_hooks(server, 20, count))
        assert "Traceback" not in server.output()
        server.stop()
    finally:
        project.remove()


def test_processes_share_no_connection_of_a_pool(tmp_path, database):
    """Neither the one of the check for migrations, nor one that ``ready()`` opened."""
    pooled = {**database, "OPTIONS": {"pool": {"min_size": 1}}}
    project = Project(tmp_path, DATABASES={"default": pooled}, QUERY_IN_READY=True)

    async def backends(server):
        sockets = [await connect(server.url + "db", proxy=None) for _ in range(3)]
        for socket in sockets:
            await socket.send("backend")
        found = [await asyncio.wait_for(socket.recv(), 20) for socket in sockets]
        await asyncio.gather(*[socket.close() for socket in sockets])
        return found

    try:
        project.run("migrate", "--run-syncdb", "--verbosity", "0")
        server = Server(project, "--multiprocess")
        found = asyncio.run(backends(server))
        assert len(set(found)) == 3, found
        until(lambda: len(project.journal("db close")) == 3, 20)
        assert "Traceback" not in server.output()
        server.stop()
    finally:
        project.remove()


def test_threads_from_before_the_fork_are_refused_by_name(project):
    (project.directory / "local.json").write_text('{"THREAD_IN_READY": true}')
    command = Command(project, "run_wsserver", "127.0.0.1:0", "--noreload", "--multiprocess")
    assert command.process.wait(20) == 1
    assert "1 do: poller" in command.output()
    assert "AppConfig.ready()" in command.output()
    assert "Traceback" not in command.output()
