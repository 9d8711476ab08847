"""Every fault of the harness, in its short form."""

from __future__ import annotations

import asyncio

import pytest

from .faults import FAULTS, run
from .server import MODES, Project, Server

pytestmark = [pytest.mark.system, pytest.mark.load, pytest.mark.timeout(90)]


def check(tmp_path, fault, namespace, *flags, link="ipc", clients=60):
    settings = {"ALLOW_MISSING_ORIGIN": True, **FAULTS[fault].settings}
    project = Project(tmp_path, link, DJANGO_WS=settings)
    try:
        server = Server(project, *FAULTS[fault].flags, *flags)
        report = asyncio.run(run(fault, server, namespace, clients=clients, rate=5))
        print(fault, namespace, *flags, link, report.verdict, report.figures)
        assert report.wrong() == [], (report, server.output())
        if not FAULTS[fault].stops:
            server.stop()
        assert project.leftovers() == []
    finally:
        project.remove()
    return report


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "processes_killed"])
def test_fault(tmp_path, fault):
    check(tmp_path, fault, "again" if "killed" in fault else "ledger")


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("fault", ["worker_killed", "workers_replaced"])
def test_workers_go_in_the_other_modes(tmp_path, fault, mode):
    check(tmp_path, fault, "again", f"--{mode}", clients=30)


@pytest.mark.parametrize("fault", ["worker_killed", "workers_replaced", "gateway_killed"])
def test_over_tcp(tmp_path, fault):
    check(tmp_path, fault, "ledger", link="tcp")


def test_processes_go_in_multiprocess_mode(tmp_path):
    check(tmp_path, "processes_killed", "again", "--multiprocess", link="tcp", clients=30)
