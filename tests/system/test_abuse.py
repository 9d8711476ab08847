"""When there is nothing left to serve with: descriptors, threads, disk, a hook's patience."""

from __future__ import annotations

import time

import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from .clients import Client, until_served
from .raw import RawClient
from .server import Server, until

pytestmark = pytest.mark.system


def test_a_hanging_hook_is_reported_and_closed(project):
    server = Server(project)
    with Client(server, "hang") as client, Client(server) as other:
        client.send("1.5")
        assert client.closing()[0] == 1011
        assert other.ask("x") == "x"
    found = server.until_output(r"time\.sleep\(float\(message\)\)", 5)
    assert found
    server.stop()


def test_no_descriptors_left_refuses_new_and_keeps_old(project):
    server = Server(project)
    gateway = server.gateway()
    with Client(server) as old:
        old.ask("x")
        number = gateway.num_fds() + 5
        gateway.rlimit(psutil.RLIMIT_NOFILE, (number, number))
        extra = []
        for _ in range(20):
            try:
                extra.append(connect(server.url, proxy=None, open_timeout=0.3).__enter__())
            except (OSError, TimeoutError, InvalidStatus):
                break
        assert len(extra) < 20
        assert old.ask("still here") == "still here"
        before = sum(gateway.cpu_times()[:2])
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 1)
        assert sum(gateway.cpu_times()[:2]) - before < 0.5  # no busy loop
        for socket in extra:
            socket.close()
        until_served(server, server.url, 10)
    server.stop()


def test_no_threads_left_refuses_new_and_keeps_old(project):
    server = Server(project, "--threaded")
    (worker,) = server.workers()
    with Client(server) as old:
        old.ask("x")
        size = worker.memory_info().vms + 4 * 2**20  # less than the stack of a thread
        unlimited = worker.rlimit(psutil.RLIMIT_AS)
        worker.rlimit(psutil.RLIMIT_AS, (size, unlimited[1]))
        extra, statuses = [], set()
        for _ in range(20):
            try:
                extra.append(RawClient(server, ""))
            except ConnectionRefusedError as error:
                statuses.add(" 503 " in str(error))
        assert statuses == {True}
        assert old.ask("still here") == "still here"
        worker.rlimit(psutil.RLIMIT_AS, unlimited)
        until_served(server, server.url, 10)
        for client in extra:
            client.socket.close()
    server.stop()


def test_a_full_disk_takes_the_log_but_nothing_else(project):
    server = Server(project)
    for process in server.processes():
        process.rlimit(psutil.RLIMIT_FSIZE, (0, 0))  # every write to a file fails from now on
    written = server.output()
    with Client(server) as other, Client(server, "sender") as client:
        client.send("no size")  # the handler raises, and the traceback cannot be written
        assert client.closing()[0] == 1011
        assert other.ask("x") == "x"
    with Client(server) as newcomer:
        assert newcomer.ask("x") == "x"
    server.stop()
    assert server.output() == written
