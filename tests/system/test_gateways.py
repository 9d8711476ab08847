"""Several gateways on one port, as real processes that share an engine."""

from __future__ import annotations

import http.client
import json
import signal
from collections import Counter
from contextlib import ExitStack, suppress

import psutil
import pytest
from websockets.exceptions import ConnectionClosed

from ..valkey import valkey
from .clients import Client
from .server import Command, Project, Server, until
from .test_publishing import outside

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Three gateways and two workers; it has to stop in good order, too."""
    project = Project(tmp_path_factory.mktemp("gateways"))
    with valkey() as engine:
        own = {
            "ENGINE": engine.url,
            "GATEWAYS": 3,
            "SUB_SOCKET": project.flags[3],
            "DRAIN_TIMEOUT": 4,
            "GROUPS": {"room*": {"history_size": 1000, "history_ttl": 60, "presence": True}},
        }
        (project.directory / "local.json").write_text(json.dumps({"DJANGO_WS": own}))
        project.run("migrate", "--verbosity=0")
        try:
            server = Server(project, "--workers=2")
            yield server
            server.stop()
        finally:
            project.remove()


def where(clients: list[Client]) -> Counter[str]:
    """How many clients are at which gateway."""
    return Counter(str(client.ask("where")) for client in clients)


def everywhere(server: Server, stack: ExitStack, gateways: int = 3) -> dict[str, Client]:
    """A client at each gateway."""
    found: dict[str, Client] = {}

    def complete() -> bool:
        client = stack.enter_context(Client(server, "where"))
        found.setdefault(str(client.ask("where")), client)
        return len(found) == gateways

    until(complete)
    return found


def ready(server: Server) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request("GET", "/-/ready")
        return connection.getresponse().status
    finally:
        connection.close()


def test_connections_spread_over_the_gateways_and_workers_serve_all(server):
    assert "3 gateways on this port" in server.output()
    assert len(server.project.leftovers()) == 2 * (2 + 3)  # sockets and locks
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(server, "where")) for _ in range(60)]
        counted = where(clients)
        assert len(counted) == 3
        assert min(counted.values()) >= 5  # 20 each, as the kernel's hash has it


def test_one_gateway_dies_and_the_others_serve_on(server):
    gateways = server.gateways()
    with ExitStack() as stack:
        clients = everywhere(server, stack)
        gateways[0].kill()
        closed = [name for name, client in clients.items() if not lives(client)]
        assert len(closed) == 1
        until(lambda: len(server.gateways()) == 3)
        for _ in range(20):
            with Client(server) as client:
                assert client.ask("hello") == "hello"
        del clients[closed[0]]
        new = set(everywhere(server, stack)) - set(clients)
        assert new != set(closed)
        assert where(list(clients.values())).total() == 2


def lives(client: Client) -> bool:
    try:
        return bool(client.ask("where"))
    except Exception:
        return False


def replaced(old: set[int], now: list[psutil.Process]) -> bool:
    """Whether there are as many as before, all of them new."""
    pids = {process.pid for process in now}
    return len(pids) == len(old) and not pids & old


def test_a_reload_of_the_workers_closes_nobody(server):
    workers = {process.pid for process in server.workers()}
    with ExitStack() as stack:
        clients = everywhere(server, stack)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: replaced(workers, server.workers()), 20)
        assert sorted(where(list(clients.values()))) == sorted(clients)


def test_gateways_are_renewed_while_others_let_everybody_in(server):
    old = {process.pid for process in server.gateways()}
    with ExitStack() as stack:
        clients = everywhere(server, stack)
        server.process.send_signal(signal.SIGUSR2)

        def renewed() -> bool:
            assert ready(server) == 200
            with suppress(ConnectionClosed), Client(server) as client:
                client.send("hello")  # closed at once, perhaps, but nobody is refused meanwhile
            return replaced(old, server.gateways())

        until(renewed, 20)
        for client in clients.values():
            assert client.closing() == (1012, "server restarting")
    with ExitStack() as stack:
        everywhere(server, stack)


def test_a_publication_reaches_members_at_all_gateways_once(server):
    with ExitStack() as stack:
        # So many that each gateway has some.
        first, *others = members = [stack.enter_context(Client(server, "rooms")) for _ in range(40)]
        (position,) = {client.receive() for client in members}
        offset, _ = json.loads(position)
        assert outside(server, 30, "fork") == f"{offset + 32} last 40"
        expected = ["from a child", *map(str, range(30)), "last"]
        for client in members:
            assert [client.receive() for _ in expected] == expected
        first.send("to all", "outer")  # the latter not to itself
        for client in others:
            assert [client.receive(), client.receive()] == ["to all", "from anywhere"]
        assert first.receive() == "to all"
        assert first.ask("again") == "again"


def heard(client: Client, number: int) -> list[tuple[str, str, int]]:
    return [tuple(json.loads(client.receive())) for _ in range(number)]


def voices(server: Server, stack: ExitStack, group: str) -> dict[Client, str]:
    """At least 12 members of a group, some at each gateway; each hears all.

    A test has a group of its own: what the members of another one say when they leave may be late.
    """
    found: dict[Client, str] = {}
    while len(found) < 12 or len(set(found.values())) < 3:
        assert len(found) < 100
        client = stack.enter_context(Client(server, f"voices?group={group}"))
        found[client] = str(client.ask("where"))
        client.send("here")
        for each in found:
            assert heard(each, 1) == [(client.who, "here", 0)]
    return found


def test_what_a_hook_or_a_thread_publishes_stays_in_order_in_whichever_way(server):
    with ExitStack() as stack:
        members = voices(server, stack, "ways")
        for client in members:
            client.send("all")
        counted = {"thread": 40, "hook": 40, "commit": 20, "async": 10}
        expected = {
            (client.who, kind): list(range(number))
            for client in members
            for kind, number in counted.items()
        }
        for client in members:
            found: dict[tuple[str, str], list[int]] = {}
            for who, kind, number in heard(client, 110 * len(members)):
                found.setdefault((who, kind), []).append(number)
            assert found == expected


def test_handlers_whose_gateway_has_died_publish_by_another_one(server):
    with ExitStack() as stack:
        members = voices(server, stack, "survivors")
        server.gateways()[0].kill()
        said: dict[Client, list[str]] = {}
        for client, gateway in members.items():
            before = []
            with suppress(ConnectionClosed):
                client.send("where")
                while (message := client.receive()) != gateway:
                    before.append(json.loads(message)[0])
                said[client] = before
        left = {client.who for client in members if client not in said}
        assert left
        for client, before in said.items():
            rest = heard(client, len(left) - len(before))
            assert {*before, *(who for who, _, _ in rest)} == left
        until(lambda: len(server.gateways()) == 3)


def test_another_server_on_the_port_is_refused(server, tmp_path):
    other = Project(tmp_path / "other")
    try:
        address = f"127.0.0.1:{server.port}"
        engine = "redis://127.0.0.1:1/0"  # it does not come to that
        flags = ["--noreload", *other.flags, "--gateways=2", "--engine", engine]
        command = Command(other, "run_wsserver", address, *flags)
        assert command.process.wait(20) == 1
        assert "Address already in use" in command.output()
    finally:
        other.remove()
