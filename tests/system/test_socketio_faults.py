"""What is promised when something breaks holds for clients of Socket.IO, by polling, too."""

from __future__ import annotations

import asyncio

import pytest

from .faults import FAULTS, run
from .server import Project, Server
from .socketio_load import TRANSPORTS, SocketLoad

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]

#: Faults, and what becomes of messages in flight.
STORIES = [
    ("worker_killed", "again"),
    ("worker_killed", "ledger"),
    ("workers_replaced", "ledger"),
    ("gateway_killed", "ledger"),
    ("stopped", "ledger"),
]
CLIENTS = 20


def check(tmp_path, fault, namespace, transport, *flags):
    settings = {"ALLOW_MISSING_ORIGIN": True, **FAULTS[fault].settings}
    project = Project(tmp_path, DJANGO_WS=settings)
    try:
        server = Server(project, "--socketio", *FAULTS[fault].flags, *flags)

        async def play():
            load = SocketLoad(transport, server.port, f"/{namespace}", CLIENTS, 5)
            return await run(fault, server, namespace, clients=CLIENTS, rate=5, load=load)

        report = asyncio.run(play())
        print(fault, namespace, transport, *flags, report.verdict, report.figures)
        # How soon it is back is a matter of plain clients, too: test_faults.py has that bound.
        wrong = [line for line in report.wrong() if not line.startswith("back after")]
        assert wrong == [], (report, server.output())
        if not FAULTS[fault].stops:
            server.stop()
        assert project.leftovers() == []
    finally:
        project.remove()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("fault", "namespace"), STORIES)
def test_fault(tmp_path, fault, namespace, transport):
    """Each takes up to ten seconds, since processes have to start again."""
    check(tmp_path, fault, namespace, transport)


@pytest.mark.parametrize("mode", ["gevent", "multiprocess"])
@pytest.mark.parametrize(("fault", "namespace"), [STORIES[0], STORIES[2]])
def test_in_other_modes(tmp_path, fault, namespace, mode):
    check(tmp_path, fault, namespace, "polling", f"--{mode}")
