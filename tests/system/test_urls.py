"""A namespace's own URL, with a converter of the project's."""

from __future__ import annotations

import signal

import pytest
from websockets.exceptions import InvalidStatus

from .clients import Client
from .server import Project, Server, until

pytestmark = pytest.mark.system


def test_kwargs_are_converted_also_in_the_next_worker(tmp_path):
    project = Project(tmp_path)
    try:
        server = Server(project)
        server.url = server.url.removesuffix("socket/")
        with Client(server, "ws/day/2026-11-25/") as client:
            kind, day, worker = client.ask("x").split()
            assert (kind, day) == ("date", "2026-11-25")
            server.process.send_signal(signal.SIGHUP)
            until(lambda: client.ask("x").split()[2] != worker)
            assert client.ask("x").split()[:2] == ["date", "2026-11-25"]
        for path in ("ws/day/2026-13-25/", "ws/day/today/", "socket/day"):
            with pytest.raises(InvalidStatus) as refused:
                Client(server, path)
            assert refused.value.response.status_code == 404
        server.stop()
    finally:
        project.remove()
