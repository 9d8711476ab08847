"""Gateway and workers as separate commands, killed and restarted; and how everything stops."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import time

import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from .clients import Client, until_served
from .faults import RawClient
from .server import LINKS, Command, Project, Server, free_port, until

pytestmark = pytest.mark.system


class Halves:
    """Both halves; ``url`` is the gateway's."""

    def __init__(self, project):
        self.project = project
        self.port = free_port()
        self.url = f"ws://127.0.0.1:{self.port}/socket/"

    def gateway(self):
        command = Command(
            self.project, "run_wsgateway", f"127.0.0.1:{self.port}", *self.project.flags
        )
        command.until_output(r"http://")
        return command

    def worker(self):
        return Command(self.project, "run_wsworker", "--noreload", *self.project.flags)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("gateway_first", [True, False])
def test_either_half_may_start_first_be_killed_and_come_back(tmp_path, link, gateway_first):
    project = Project(tmp_path, link)
    halves = Halves(project)
    try:
        if gateway_first:
            gateway, worker = halves.gateway(), halves.worker()
        else:
            worker = halves.worker()
            worker.until_output("Quit with CONTROL-C")
            gateway = halves.gateway()
        until_served(worker, halves.url)
        client = Client(halves, "hooks")
        client.ask("none")
        worker.kill()
        worker = halves.worker()
        until_served(worker, halves.url)
        # Nothing of it was in flight, so it has just moved.
        assert client.ask("after") in ("had none", "had after")
        gateway.kill()
        client.until_noted("close")
        gateway = halves.gateway()
        until_served(worker, halves.url)
        worker.stop()
        gateway.stop()
        assert project.leftovers() == []
    finally:
        project.remove()


def test_without_a_worker_upgrades_get_503_after_the_deadline(tmp_path):
    project = Project(tmp_path, DJANGO_WS={"HANDSHAKE_TIMEOUT": 1})
    halves = Halves(project)
    try:
        gateway = halves.gateway()
        began = time.monotonic()
        with pytest.raises(InvalidStatus) as refused:
            Client(halves)
        assert refused.value.response.status_code == 503
        assert 0.8 < time.monotonic() - began < 3
        gateway.stop()
    finally:
        project.remove()


@pytest.mark.parametrize("link", LINKS)
def test_a_second_server_at_the_same_endpoint_is_refused(tmp_path, link):
    project = Project(tmp_path, link)
    try:
        server = Server(project)
        second = Command(project, "run_wsserver", "127.0.0.1:0", "--noreload", *project.flags)
        assert second.process.wait(20) == 1
        assert "CommandError" in second.output()
        assert project.flags[3].partition("://")[2] in second.output()
        assert "Traceback" not in second.output()
        with Client(server) as client:
            assert client.ask("hello") == "hello"
        server.stop()
    finally:
        project.remove()


def test_sigterm_closes_browsers_1001_and_runs_every_on_close(project):
    server = Server(project)
    clients = [Client(server, "hooks") for _ in range(20)]
    loops = [Client(server, "loop") for _ in range(5)]
    for client in clients:
        client.ask("none")
    for client in loops:
        client.send("0.05")
        client.receive()
    clients[0].send("nap 1")
    until(lambda: clients[0].notes())
    server.process.send_signal(signal.SIGTERM)
    assert {client.closing()[0] for client in clients + loops} == {1001}
    assert server.process.wait(10) == 0
    for client in clients + loops:
        assert [note[1] for note in client.notes("close")] == [1001]
    assert clients[0].notes()[-2] == ["message", "nap 1"]
    assert project.leftovers() == []
    assert server.processes() == []


def test_killing_the_supervisor_leaves_nothing_behind(project):
    server = Server(project, "--multiprocess", "--workers", "2")
    clients = [Client(server, "hooks") for _ in range(4)]
    for client in clients:
        client.ask("none")
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    until(lambda: not server.processes(), 15, server.processes)
    until(lambda: not project.leftovers(), 5, project.leftovers)
    for client in clients:
        assert client.notes("close")


def test_a_crash_of_one_handler_process_stays_alone(project):
    server = Server(project, "--multiprocess")
    with Client(server, "hooks") as other, Client(server, "hooks") as client:
        other.ask("none")
        client.send("true", "exit")
        assert client.closing()[0] == 1011
        client.until_noted("close")
        assert other.ask("more") in ("had none", "had more")
    server.stop()


def test_a_client_knows_within_a_quarter_second_that_its_worker_died(project):
    server = Server(project)
    with Client(server, "sleep") as client:
        client.send("20")
        client.until_noted("sleep")
        began = time.monotonic()
        server.workers()[0].kill()
        assert client.closing()[0] == 1012
        took = time.monotonic() - began
    print(f"known after {took * 1000:.0f} ms")
    assert took < 0.25
    until(lambda: client.notes("close"), 10)
    server.stop()


def test_a_paused_worker_gets_no_new_connections(project):
    server = Server(project, "--workers", "2")
    workers = server.workers()
    with Client(server, "state") as client:
        pid = int(client.ask("x").split()[1])
        paused = next(worker for worker in workers if worker.pid == pid)
        paused.suspend()
        try:
            server.until_output("is silent", 3)
            for _ in range(5):
                with Client(server, "state") as another:
                    assert int(another.ask("x").split()[1]) != pid
            client.send("x")
        finally:
            paused.resume()
        assert client.receive() == f"2 {pid}"
    server.stop()


def test_a_worker_paused_for_too_long_counts_as_dead(tmp_path):
    project = Project(tmp_path, DJANGO_WS={"HANG_TIMEOUT": 2})
    try:
        server = Server(project)
        with Client(server, "again") as client:
            assert client.ask("1") == "1 1"
            (paused,) = server.workers()
            paused.suspend()
            client.send("2", "3")
            assert client.receive(15) == "2 2"
            assert client.receive() == "3 3"
        until(lambda: not paused.is_running(), 5)
        server.stop()
    finally:
        project.remove()


def test_tls(tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run(
            [*command, "-keyout", key, "-out", certificate], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("no openssl here")
    project = Project(tmp_path)
    try:
        server = Server(project, "--certfile", str(certificate), "--keyfile", str(key))
        assert server.url.startswith("wss://")
        context = ssl.create_default_context(cafile=certificate)
        with Client(server, "hooks", ssl=context) as client:
            assert client.ask("none") == "had none"
        assert client.until_noted("close")[-1] == ["close", 1000, ""]
        with Client(server, ssl=context) as client:
            for size in (0, 1, 1000, 65536):
                assert client.ask("x" * size) == "x" * size
        with Client(server, "sender", ssl=context) as client:
            assert client.ask("bytes 1048576") == b"x" * 1048576
            server.process.send_signal(signal.SIGTERM)
            assert client.closing()[0] == 1001
        assert server.process.wait(15) == 0
    finally:
        project.remove()


def test_kwargs_of_the_url_and_missing_origin(tmp_path):
    project = Project(tmp_path, DJANGO_WS={"ALLOW_MISSING_ORIGIN": False})
    try:
        pattern = r"/ws/(?P<room>\d+)(?:/(?P<namespace>\w*))?"
        server = Server(project, "--websocket-url", pattern)
        server.url = f"ws://127.0.0.1:{server.port}/ws/"
        origin = "http://127.0.0.1"
        with Client(server, "42/door", origin=origin) as client:
            client.send("kwargs")
            client.receive()
            client.receive()
            assert client.receive() == '[{"room": "42"}, "door", null]'
        with Client(server, "7", origin=origin) as client:
            assert client.ask("default") == "default"
        for path, options, status in (("7", {}, 403), ("seven", {"origin": origin}, 404)):
            with pytest.raises(InvalidStatus) as refused:
                Client(server, path, **options)
            assert refused.value.response.status_code == status
        server.stop()
    finally:
        project.remove()


def test_a_hanging_hook_is_reported_and_closed(project):
    server = Server(project)
    with Client(server, "hang") as client, Client(server) as other:
        client.send("3")
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
