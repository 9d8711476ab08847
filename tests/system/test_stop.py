"""Stopping, dying and pausing, as single clients see it."""

from __future__ import annotations

import os
import signal
import time

import pytest

from .clients import Client, until_served
from .server import Project, Server, until

pytestmark = pytest.mark.system


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


def test_processes_end_with_their_worker_even_if_they_are_stopped(project):
    """Else they would go on, once woken, with connections that another worker has."""
    server = Server(project, "--multiprocess")
    with Client(server, "hooks") as client:
        client.ask("none")
        (worker,) = server.workers()
        forked = worker.children(recursive=True)
        assert len(forked) == 2  # the template and the connection's
        for process in forked:
            process.suspend()
        worker.kill()
        until(lambda: not any(process.is_running() for process in forked), 2, forked)
    server.stop()


def test_on_close_runs_once_also_when_the_template_dies(project):
    """Processes must not go on while their worker, which has lost its template, ends."""
    server = Server(project, "--multiprocess")
    clients = [Client(server, "hooks") for _ in range(20)]
    for client in clients:
        client.ask("none")
    template = server.workers()[0].children()[0]
    for number, client in enumerate(clients):
        client.send(f"nap {number * 0.02}")  # so that on_close comes at all times of that end
    template.kill()
    for client in clients:
        client.close()
    for client in clients:
        client.until_noted("close")
    server.stop()
    assert [len(client.notes("close")) for client in clients] == [1] * 20


@pytest.mark.load  # what has been said leaves by a thread of ZeroMQ, which needs a core for that
def test_on_close_is_acknowledged_before_another_hook_kills_the_worker(project):
    """One message that kills must not make all the ``on_close`` run again that its thread had done
    just before. Those of the last moment may: what a killed process was about to send is gone."""
    server = Server(project, "--pool")
    clients = [Client(server, "hooks") for _ in range(40)]
    with Client(server, "hooks") as poison:
        for client in [*clients, poison]:
            client.ask("none")
        (worker,) = server.workers()
        worker.suspend()  # so that all of it arrives at once
        for client in clients:
            client.vanish()
        poison.send("exit")
        worker.resume()
        assert poison.closing()[0] == 1012
        for client in clients:
            client.until_noted("close")
    server.stop()
    again = sum(len(client.notes("close")) - 1 for client in clients)
    assert again < 10  # most of the 40 if acknowledgements waited for the end of the batch


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


@pytest.mark.load  # a new worker has to be there before HANG_TIMEOUT is over once more
def test_a_worker_paused_for_too_long_counts_as_dead(tmp_path):
    project = Project(tmp_path, DJANGO_WS={"HANG_TIMEOUT": 4})
    try:
        server = Server(project)
        with Client(server, "again") as client:
            assert client.ask("1") == "1 1"
            (paused,) = server.workers()
            paused.suspend()
            client.send("2", "3")
            answer = client.receive(15)
            if answer == "1 1":  # it was paused before it had acknowledged that one
                answer = client.receive()
            assert answer == "2 2"
            assert client.receive() == "3 3"
        until(lambda: not paused.is_running(), 5)
        # The gateway and the supervisor's own look may both tell.
        assert server.output().count("does not respond; it is killed") == 1
        server.stop()
    finally:
        project.remove()


def test_a_loop_goes_on_in_the_new_worker(server):
    with Client(server, "loop") as client:
        client.send("0.05")
        assert client.receive() == "1"
        old = {worker.pid for worker in server.workers()}
        server.process.send_signal(signal.SIGHUP)
        until(lambda: not old & {worker.pid for worker in server.workers()}, 20, server.output)
        # What was sent meanwhile, and some that only the new worker can have sent.
        turns = [int(client.receive()) for _ in range(60)]
        assert turns == list(range(2, 62))
    assert client.until_noted("close")[-1] == ["close", 1000, ""]


def test_plain_attributes_move_through_restarts_and_a_kill(project):
    server = Server(project)
    with Client(server, "attributes") as client:
        pids = set()
        for number in range(1, 5):
            room, count, last, pid = client.ask(f"m{number}").split()
            assert (room, count, last) == (client.who, str(number), f"m{number}")
            assert pid not in pids
            pids.add(pid)
            (old,) = server.workers()
            if number == 4:
                break
            if number == 3:
                with Client(server, "") as other:  # by then the message before is acknowledged
                    assert other.ask("hello") == "hello"
                old.kill()
            else:
                server.process.send_signal(signal.SIGHUP)
            until(lambda old=old: server.workers() and old not in server.workers(), 20)
    assert client.until_noted("close")[-1] == ["close", 1000, ""]
    server.stop()


def test_a_message_that_kills_every_worker_does_not_go_round_for_ever(project):
    server = Server(project)
    with Client(server, "poison") as client:
        client.send("true", "exit")
        assert client.closing(20)[0] == 1012
        client.until_noted("close")
    # A death may come before "true" is acknowledged; that is handled anew then, in a third worker,
    # too. Once it is acknowledged, that is progress, and the count begins anew, for the last time.
    deaths = client.notes("message")
    assert deaths == [["message", "exit"]] * len(deaths)
    opened = len(client.notes("open"))
    assert opened <= 3 <= len(deaths) <= opened + 2
    until_served(server, server.url)
    server.stop()
