"""Gateway and workers as separate commands: whichever starts first, is killed, comes back."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus

from tests.ports import free_port

from .clients import Client, until_served
from .raw import RawClient
from .server import LINKS, MODES, Command, Project, Server, until

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


def test_a_worker_that_stands_still_for_too_long_is_killed_and_replaced(tmp_path):
    project = Project(tmp_path, DJANGO_WS={"HANG_TIMEOUT": 1})
    halves = Halves(project)
    try:
        gateway, worker = halves.gateway(), halves.worker()
        until_served(worker, halves.url)
        (still,) = worker.workers()
        still.suspend()
        worker.until_output(f"The worker {still.pid} does not respond; it is killed")
        until(lambda: not still.is_running(), 5)
        until_served(worker, halves.url)
        assert worker.output().count("does not respond") == 1
        worker.stop()
        gateway.stop()
    finally:
        project.remove()


def test_without_a_drain_timeout_a_gateway_waits_for_on_close(tmp_path):
    project = Project(tmp_path, DJANGO_WS={"DRAIN_TIMEOUT": None})
    halves = Halves(project)
    try:
        gateway, worker = halves.gateway(), halves.worker()
        until_served(worker, halves.url)
        client = Client(halves, "sleep")
        client.send("1")
        client.until_noted("sleep")
        gateway.process.send_signal(signal.SIGTERM)
        assert client.closing()[0] == 1001
        assert gateway.process.wait(15) == 0
        assert client.notes("close") == [["close", 1001, "server shutting down"]]
        assert "not acknowledged" not in gateway.output()
        worker.stop()
    finally:
        project.remove()


def test_a_gateway_says_when_a_setting_of_its_own_has_changed(tmp_path):
    project = Project(tmp_path)
    halves = Halves(project)
    try:
        gateway, worker = halves.gateway(), halves.worker()
        until_served(worker, halves.url)
        with (project.directory / "settings.py").open("a") as file:
            file.write('\nDJANGO_WS["ALLOWED_ORIGINS"] = ["https://other.example"]\n')
        worker.process.send_signal(signal.SIGHUP)
        gateway.until_output("ALLOWED_ORIGINS changed since this gateway was started: restart")
        worker.stop()
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


@dataclasses.dataclass
class Gateway:
    """One of several, with a replies link of its own."""

    project: Project
    port: int
    sub_socket: str

    def __post_init__(self):
        self.url = f"ws://127.0.0.1:{self.port}/socket/"
        self.start()

    def start(self):
        self.command = Command(
            self.project,
            "run_wsgateway",
            f"127.0.0.1:{self.port}",
            *self.project.flags[:2],
            "--sub-socket",
            self.sub_socket,
        )
        self.command.until_output(r"http://")


@pytest.fixture(params=[f"{mode}-{link}" for mode in MODES for link in LINKS])
def side_by_side(tmp_path, request) -> Iterator[tuple[Gateway, Gateway]]:
    """Two gateways on two ports, and one worker that serves both."""
    mode, link = request.param.split("-")
    project = Project(tmp_path, link)
    first = project.flags[3]
    second = f"{first}2" if link == "ipc" else f"tcp://127.0.0.1:{free_port()}"
    try:
        pair = Gateway(project, free_port(), first), Gateway(project, free_port(), second)
        flags = [*project.flags[:2], "--sub-socket", f"{first},{second}", f"--{mode}"]
        worker = Command(project, "run_wsworker", "--noreload", *flags)
        for gateway in pair:
            until_served(worker, gateway.url)
        yield pair
        for gateway in pair:
            gateway.command.stop()
        worker.stop()
        assert project.leftovers() == []
    finally:
        project.remove()


def test_a_gateway_that_is_killed_costs_the_other_one_nothing(side_by_side):
    first, second = side_by_side
    gone = Client(first, "hooks")
    gone.ask("none")
    with Client(second, "hooks") as client:
        client.ask("none")
        first.command.kill()
        assert gone.until_noted("close")[-1][1] == 1006
        assert client.ask("again") in ("had none", "had again")
        first.start()
        until_served(first.command, first.url)
        assert client.notes("close") == []


def test_what_on_connect_publishes_reaches_members_at_the_other_one(side_by_side):
    """Without an engine each gateway has to be told."""
    first, second = side_by_side
    with Client(second, "rooms") as member:
        member.receive()  # its position
        with Client(first, "rooms?greets=1") as client:
            client.receive()
            assert client.receive() == "here I am"
            assert member.receive() == "here I am"


def test_a_gateway_that_stands_still_does_not_hold_up_the_other_one(side_by_side):
    first, second = side_by_side
    flooders = [RawClient(first, f"flood?who=flooder{number}") for number in range(4)]
    with Client(first) as still, Client(second) as client:
        assert still.ask("before") == "before"
        for flooder in flooders:
            flooder.send("500")
        first.command.process.send_signal(signal.SIGSTOP)
        try:
            until_end = time.monotonic() + 1.5
            slowest = 0.0
            while time.monotonic() < until_end:
                began = time.monotonic()
                assert client.ask("hello") == "hello"
                slowest = max(slowest, time.monotonic() - began)
            assert slowest < 0.5
        finally:
            first.command.process.send_signal(signal.SIGCONT)
        assert still.ask("after") == "after"
    for flooder in flooders:
        flooder.socket.close()


def test_two_checkouts_with_default_sockets_do_not_meet(tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory(prefix="ws") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        projects = [Project(tmp_path / name) for name in ("one", "two")]
        try:
            for project in projects:
                project.flags = []
            one, two = servers = [Server(project) for project in projects]
            with Client(one, "state") as first, Client(two, "state") as second:
                pids = [int(client.ask("x").split()[1]) for client in (first, second)]
            assert pids == [server.workers()[0].pid for server in servers]
            for server in servers:
                server.stop()
            assert os.listdir(runtime) == ["django-ws"]
            assert os.listdir(f"{runtime}/django-ws") == []
        finally:
            for project in projects:
                project.remove()


def test_a_worker_of_another_checkout_is_refused_with_both_named(tmp_path):
    ours, theirs = Project(tmp_path / "ours"), Project(tmp_path / "theirs")
    theirs.flags = ours.flags
    halves = Halves(ours)
    try:
        gateway, worker = halves.gateway(), halves.worker()
        until_served(worker, halves.url)
        stranger = Command(theirs, "run_wsworker", "--noreload", *theirs.flags)
        assert stranger.process.wait(20) == 1
        for output in (stranger.output(), gateway.output()):
            assert f"{ours.directory} (settings 'settings')" in output
            assert f"{theirs.directory} (settings 'settings')" in output
        assert "CommandError: This worker cannot run" in stranger.output()
        with Client(halves) as client:
            assert client.ask("hello") == "hello"
        worker.stop()
        gateway.stop()
    finally:
        ours.remove()
        theirs.remove()


def test_a_release_in_a_directory_of_its_own_goes_on_if_the_project_has_a_name(tmp_path):
    named = {"DJANGO_WS": {"PROJECT": "shop"}}
    before, after = Project(tmp_path / "before", **named), Project(tmp_path / "after", **named)
    after.flags = before.flags
    halves = Halves(before)
    try:
        gateway = halves.gateway()
        worker = Command(after, "run_wsworker", "--noreload", *after.flags)
        until_served(worker, halves.url)
        worker.stop()
        gateway.stop()
    finally:
        before.remove()
        after.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_halves_of_two_users_both_say_what_is_wrong(tmp_path):
    project = Project(tmp_path)
    halves = Halves(project)
    try:
        gateway, worker = halves.gateway(), halves.worker()
        until_served(worker, halves.url)
        gateway.stop()
        # As if it had been started by nobody: the file is all that the others see.
        with socket.socket(socket.AF_UNIX) as impostor:
            path = project.flags[3].removeprefix("ipc://")
            impostor.bind(path)
            impostor.listen()
            os.chown(path, 65534, -1)
            worker.until_output("belongs to another user, 'nobody', while this process runs as", 3)
            second = Command(project, "run_wsgateway", "0", *project.flags)
            assert second.process.wait(10) == 1
            assert "belongs to another user, 'nobody'" in second.output()
            assert worker.output().count("belongs to another user") == 1
        os.unlink(path)
        gateway = halves.gateway()
        until_served(worker, halves.url)
        worker.stop()
        gateway.stop()
    finally:
        project.remove()


def test_each_half_says_that_it_waits_for_the_other(tmp_path):
    project = Project(tmp_path)
    halves = Halves(project)
    try:
        worker = halves.worker()
        project.flags[3] += "2"
        gateway = halves.gateway()
        gateway.until_output("no worker has come to .* does one run", 10)
        worker.until_output("no gateway has answered at .* does one run", 10)
        gateway.stop()
        worker.stop()
    finally:
        project.remove()


def test_what_killed_workers_left_is_gone_with_the_next_start(project):
    server = Server(project, "--workers", "3")
    until(lambda: len(project.leftovers()) == 8, 10, project.leftovers)
    server.kill()
    # The gateway may have had time to remove its own.
    assert len([name for name in project.leftovers() if name.startswith("push")]) == 6
    server = Server(project)
    until(lambda: len(project.leftovers()) == 4, 5, project.leftovers)
    server.stop()


@pytest.mark.parametrize("mode", MODES)
def test_a_worker_tells_the_project_of_each_gateway_that_starts(tmp_path, mode):
    project = Project(tmp_path)
    halves = Halves(project)
    try:
        worker = Command(project, "run_wsworker", "--noreload", f"--{mode}", *project.flags)
        known = []
        for _ in range(2):
            gateway = halves.gateway()
            until_served(worker, halves.url)
            with Client(halves, "where") as client:
                known.append(client.ask("where"))
            gateway.kill()
        until(lambda: [note[1] for note in project.journal("gateway")] == known, 5, project.journal)
        assert len(set(known)) == 2
        assert project.journal("gateway")[0][4] == project.flags[3]
        worker.stop()
    finally:
        project.remove()
