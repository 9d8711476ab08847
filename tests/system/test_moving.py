"""A handler with plain attributes, moved again and again under load."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from .faults import end_worker, replace_workers
from .load import Load
from .oracle import all_closed, judge
from .server import Project, Server

pytestmark = pytest.mark.system

RESTARTS = 20
#: After each fourth restart the new worker is killed, too.
EVERY = 4


def repeats(project):
    """How many messages were handled again so far."""
    handled = Counter((note[1], note[4]) for note in project.journal("handled"))
    return handled.total() - len(handled)


async def restart_again_and_again(server, clients):
    async with Load(server.url + "carried", clients, rate=5) as load:
        await load.progress()
        for restart in range(1, RESTARTS + 1):
            before = repeats(server.project)
            await replace_workers(server)
            await load.progress()
            assert repeats(server.project) == before, f"restart {restart}"
            if restart % EVERY == 0:
                await end_worker(load, server.workers()[0])
                await load.progress(2, 30)
        await load.settle()
    await all_closed(server.project, load.sessions, 10)
    return load


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("mode", "clients"), [("pool", 30), ("multiprocess", 15)])
def test_attributes_move_through_twenty_restarts(tmp_path, mode, clients):
    """Over ten seconds: twenty times a worker starts, takes over and is used, each in a second.

    In between the worker is killed now and then: since the namespace says ``redeliver``, that may
    repeat messages, but loses none and closes nothing.
    """
    project = Project(tmp_path)
    try:
        server = Server(project, f"--{mode}")
        load = asyncio.run(restart_again_and_again(server, clients))
        verdict = judge(load.sessions, project, load.deaths)
        assert verdict.details == [], (verdict, server.output())
        assert (verdict.lost, verdict.cut, len(load.sessions)) == (0, {}, clients)
        processes = {who: set() for who in (session.who for session in load.sessions)}
        for _, who, pid, *_ in project.journal("handled"):
            processes[who].add(pid)
        moved = RESTARTS + RESTARTS // EVERY
        assert {len(pids) for pids in processes.values()} == {1 + moved}
        assert "cannot move" not in server.output()
        server.stop()
    finally:
        project.remove()
