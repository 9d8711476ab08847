"""Gateway and workers as separate commands: whichever starts first, is killed, comes back."""

from __future__ import annotations

import time

import pytest
from websockets.exceptions import InvalidStatus

from .clients import Client, until_served
from .server import LINKS, Command, Project, Server, free_port

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
