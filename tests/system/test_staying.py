"""Who may stay: changes that are made in a shell beside the server, with two workers."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from tests.ports import free_port

from ..valkey import valkey
from .clients import Client
from .envelopes import EnvelopeClient
from .server import MODES, Command, Project, Server, until

pytestmark = pytest.mark.system

SETTINGS = {
    "INSTALLED_APPS": [
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django_ws",
        "things",
    ],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    "ROOT_URLCONF": "people",
    "ALLOWED_HOSTS": ["127.0.0.1", "testserver"],
    "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
    "DEFAULT_WS_HANDLERS": {
        "person": "people.Person",
        "staff": "people.Staff",
        "token": "people.Token",
    },
}

BACKENDS = ["django.contrib.auth.backends.ModelBackend", "members.models.Anybody"]

#: Runs what it is told, one line of JSON after the other.
LOOP = """
import json, sys
names = {}
for line in sys.stdin:
    exec(json.loads(line), names)
    print("done", json.dumps(names.pop("result", None)), flush=True)
"""

PRELUDE = """
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.db import transaction
from django.test import Client
from django_ws.auth import make_ticket
clients = {}
User = get_user_model()
def login(name, which, backend=None):
    user, _ = User.objects.get_or_create(**{User.USERNAME_FIELD: name})
    client = clients[which] = Client()
    client.force_login(user, backend or settings.AUTHENTICATION_BACKENDS[0])
    return client.session.session_key
may_add = Permission.objects.filter(codename="add_user").first()
"""

LOGGED_OUT = (4401, "logged out")


class Shell:
    """``manage.py shell`` in a process beside the server."""

    def __init__(self, project: Project) -> None:
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings"}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "shell", "-c", LOOP],
            cwd=project.directory, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.run(PRELUDE)

    def run(self, code: str) -> object:
        """Run some Python; returns what it has put into ``result``."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("done "):
                return json.loads(line[5:])
        raise AssertionError(f"the shell has ended: {self.process.wait(10)}")

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *failed: object) -> None:
        self.process.communicate(timeout=10)
        assert failed[0] or self.process.returncode == 0


@contextlib.contextmanager
def serve(directory, *flags: str, settings=SETTINGS, **options: object) -> Iterator[Server]:
    """A server with two workers, whose ``shell`` is a shell beside it."""
    project = Project(directory)
    own = {"ALLOW_MISSING_ORIGIN": True, "SUB_SOCKET": project.flags[3], **options}
    (project.directory / "local.json").write_text(json.dumps({**settings, "DJANGO_WS": own}))
    project.run("migrate", "--run-syncdb", "--verbosity=0")
    try:
        server = Server(project, "--workers=2", *flags)
        with Shell(project) as server.shell:
            yield server
        server.stop()
    finally:
        project.remove()


@pytest.fixture(scope="module", params=MODES)
def server(request, tmp_path_factory):
    with serve(tmp_path_factory.mktemp(request.param), f"--{request.param}") as server:
        yield server


_names = iter(range(1_000_000))


class People:
    """A user of some name with connections in several sessions."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.shell: Shell = server.shell
        self.name = f"user{next(_names)}"
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> People:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def session(self, which: str, backend: str | None = None) -> str:
        key = self.shell.run(f"result = login({self.name!r}, {which!r}, {backend!r})")
        assert isinstance(key, str)
        return key

    def connect(self, key: str, path: str = "person") -> Client:
        cookie = {"Cookie": f"sessionid={key}"}
        client = self._stack.enter_context(Client(self.server, path, additional_headers=cookie))
        return client

    def change(self, code: str) -> None:
        """Change ``user`` in the shell."""
        self.shell.run(f"user = User.objects.get_by_natural_key({self.name!r}); {code}")


@pytest.fixture
def people(server):
    with People(server) as people:
        yield people


def closed_soon(*clients: Client) -> list[tuple[int, str]]:
    """Their close frames, all within a second."""
    started = time.monotonic()
    found = [client.closing(2) for client in clients]
    assert time.monotonic() - started < 1.0
    return found


def test_a_logout_closes_that_session_everywhere(people):
    here, there = people.session("here"), people.session("there")
    mine = [people.connect(here) for _ in range(4)]
    others = [people.connect(there) for _ in range(2)]
    for client in mine[:2]:
        client.ask("who")
    people.shell.run("clients['here'].logout()")
    assert closed_soon(*mine) == [LOGGED_OUT] * 4
    assert [client.ask("still") for client in others] == [f"still {people.name}  False"] * 2


def test_a_hook_that_waits_ends_with_the_logout(people):
    client = people.connect(people.session("here"))
    assert client.ask("wait") == "waiting"
    people.shell.run("clients['here'].logout()")
    assert closed_soon(client) == [LOGGED_OUT]


@pytest.mark.parametrize(
    "change",
    ["clients['here'].logout()", "User.objects.filter(username={name!r}).delete()"],
    ids=["logout", "delete"],
)
def test_a_parked_session_ends_with_the_logout(people, change):
    """Its browser is away at the moment, and cannot come back to it."""
    server, key = people.server, people.session("here")
    cookie = {"Cookie": f"sessionid={key}"}
    who = f"parked {people.name}"
    query = f"&who={quote(who)}"  # other clients have the same names
    client = EnvelopeClient(server, "person", query).begin(additional_headers=cookie)
    client.send("who")
    assert client.next() == ["m", f"who {people.name}  False"]
    client.cut()
    assert server.project.journal("close", who=who) == []
    people.shell.run(change.format(name=people.name))
    until(lambda: server.project.journal("close", who=who), 1.0)
    (note,) = server.project.journal("close", who=who)
    assert note[-1] == 4401
    client.open(additional_headers=cookie)
    client.hello(token=client.token, had=client.had)
    assert client.closed() == 4401


@pytest.mark.parametrize(
    "change",
    [
        "user.set_password('new'); user.save()",
        "user.is_active = False; user.save(update_fields=['is_active'])",
        "user.delete()",
        "User.objects.filter(pk=user.pk).delete()",
    ],
)
def test_what_closes_all_of_a_user(people, change):
    clients = [people.connect(people.session(which)) for which in ("one", "two", "three")]
    clients[0].ask("who")  # so that one has its user loaded
    people.change(change)
    assert closed_soon(*clients) == [LOGGED_OUT] * 3


@pytest.mark.parametrize("which", [0, 1])
def test_one_that_a_worker_took_over_is_known_as_well(people, which):
    """The worker that had let it in is killed. No message before that: it could be in flight."""
    client = people.connect(people.session("here"))
    victims = people.server.workers()
    victims[which].kill()
    until(lambda: len({*people.server.workers()} - {*victims}) == 1)
    assert client.ask("still") == f"still {people.name}  False"
    people.change("user.is_active = False; user.save()")
    assert closed_soon(client) == [LOGGED_OUT]


def test_on_commit_only(people):
    client = people.connect(people.session("here"))
    people.change("atomic = transaction.atomic(); atomic.__enter__(); user.delete()")
    assert client.ask("still") == f"still {people.name}  False"
    people.shell.run("transaction.set_rollback(True); atomic.__exit__(None, None, None)")
    assert client.ask("still") == f"still {people.name}  False"
    people.change("user.delete()")
    assert closed_soon(client) == [LOGGED_OUT]


def test_a_mere_save_closes_none_and_is_told(people):
    clients = [people.connect(people.session(which)) for which in ("one", "two")]
    assert {client.ask("who") for client in clients} == {f"who {people.name}  False"}
    people.session("another login")  # saves last_login, which is none of theirs
    people.change("user.first_name = 'Ann'; user.save()")
    assert {client.receive(1) for client in clients} == {f"1 {people.name} Ann False"}
    people.change("user.user_permissions.add(may_add)")
    assert {client.receive(1) for client in clients} == {f"2 {people.name} Ann True"}
    people.change("user.user_permissions.clear()")
    assert {client.receive(1) for client in clients} == {f"3 {people.name} Ann False"}
    people.change(
        "group, _ = Group.objects.get_or_create(name=user.username); user.groups.add(group)"
    )
    assert {client.receive(1) for client in clients} == {f"4 {people.name} Ann False"}
    people.shell.run("group.permissions.add(may_add)")
    assert {client.receive(1) for client in clients} == {f"5 {people.name} Ann True"}
    people.shell.run("group.delete()")
    assert {client.receive(1) for client in clients} == {f"6 {people.name} Ann False"}


def test_it_is_told_between_the_other_hooks(people):
    client = people.connect(people.session("here"))
    client.send("save", "after")
    assert sorted([client.receive(), client.receive()]) == [
        f"1 {people.name} by a handler False",
        f"after {people.name} by a handler False",
    ]


def test_who_loses_what_a_decorator_asks_for_is_closed(people):
    key = people.session("here")
    people.change("user.user_permissions.add(may_add)")
    client = people.connect(key, "staff")
    assert client.ask("hello") == "hello"
    people.change("user.first_name = 'Ann'; user.save()")
    assert client.ask("still") == "still"
    people.change("user.user_permissions.remove(may_add)")
    assert closed_soon(client) == [(4403, "permission denied")]


def test_who_came_by_a_token_or_a_ticket(people):
    key = people.session("here")
    people.change("result = str(user.pk)")
    pk = people.shell.run("result = str(user.pk)")
    ticket = people.shell.run("result = make_ticket(user)")
    by_token = people.connect("", f"token?user={pk}")
    by_claims = people.connect(key, f"token?claims={pk}")
    by_ticket = people.connect("", f"person?ticket={ticket}")
    everybody = (by_token, by_claims, by_ticket)
    for client in everybody:
        client.ask("who")
    people.change("user.first_name = 'Ann'; user.save()")
    assert {client.receive(1) for client in everybody} == {
        f"1 {people.name} Ann False",
        "1  claims False",
    }
    people.change("user.is_active = False; user.save()")
    assert closed_soon(by_token, by_ticket) == [LOGGED_OUT] * 2
    assert by_claims.receive(1) == "2  claims False"  # only the handler could tell


def test_a_new_password_by_the_page(people):
    """The session that has changed it has another key by then: its page comes back by itself."""
    people.session("here")
    people.change("user.set_password('old'); user.save()")
    mine, other = people.session("here"), people.session("there")
    clients = [people.connect(mine), people.connect(other)]
    status = people.shell.run(
        "words = dict(old_password='old', new_password1='Xy-77-n', new_password2='Xy-77-n')\n"
        "result = clients['here'].post('/password_change/', words).status_code"
    )
    assert status == 302
    assert closed_soon(*clients) == [LOGGED_OUT] * 2
    key = people.shell.run("result = clients['here'].session.session_key")
    assert people.connect(key).ask("back") == f"back {people.name}  False"


# ---------------------------------------------------------------- other users, other sessions


@pytest.mark.parametrize("engine", ["cached_db", "file", "cache"])
def test_a_user_model_and_backends_of_the_projects_own(tmp_path, engine):
    (tmp_path / "kept").mkdir()
    settings = {
        **SETTINGS,
        "INSTALLED_APPS": [*SETTINGS["INSTALLED_APPS"], "members"],
        "AUTH_USER_MODEL": "members.Member",
        "AUTHENTICATION_BACKENDS": BACKENDS,
        "SESSION_ENGINE": f"django.contrib.sessions.backends.{engine}",
        "SESSION_FILE_PATH": str(tmp_path / "kept"),
        "CACHES": {
            "default": {
                "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
                "LOCATION": str(tmp_path / "kept"),
            }
        },
    }
    with serve(tmp_path, "--pool", settings=settings) as server:
        with People(server) as people:
            gone = people.connect(people.session("gone"))
            clients = [people.connect(people.session(each, each)) for each in BACKENDS]
            for client in clients:
                assert client.ask("who") == f"who {people.name}  False"
            people.shell.run("clients['gone'].logout()")
            assert closed_soon(gone) == [LOGGED_OUT]
            people.change("user.first_name = 'Ann'; user.save()")
            assert {client.receive(1) for client in clients} == {f"1 {people.name} Ann False"}
            people.change("user.is_active = False; user.save()")
            assert closed_soon(*clients) == [LOGGED_OUT] * 2
        with People(server) as people:
            clients = [people.connect(people.session(each, each)) for each in BACKENDS]
            people.change("user.set_password('new'); user.save()")
            assert closed_soon(*clients) == [LOGGED_OUT] * 2
            client = people.connect(people.session("again"))
            people.change("user.delete()")
            assert closed_soon(client) == [LOGGED_OUT]


# ---------------------------------------------------------------- by one's own look


@pytest.mark.parametrize("mode", ["pool", "multiprocess"])
def test_what_no_signal_tells_is_found_and_never_all_at_once(tmp_path, mode):
    with serve(tmp_path, f"--{mode}", REVALIDATE=2) as server, People(server) as people:
        clients = [people.connect(people.session(str(number))) for number in range(12)]
        for client in clients:  # the first look does not know whether anything has changed
            assert client.receive(4) == f"1 {people.name}  False"
        people.change("User.objects.filter(pk=user.pk).update(first_name='Ann')")
        for client in clients:
            assert client.receive(4) == f"2 {people.name} Ann False"
        started = time.monotonic()
        people.change("Session.objects.all().delete()")

        def closed_after(client: Client) -> float:
            assert client.closing(4) == LOGGED_OUT
            return time.monotonic() - started

        # At once: which of them is the first depends on when the server began.
        with ThreadPoolExecutor(len(clients)) as threads:
            found = sorted(threads.map(closed_after, clients))
        assert found[-1] < 4
        assert found[-1] - found[0] > 0.2


# ---------------------------------------------------------------- several gateways


def test_on_all_gateways(tmp_path):
    """Two gateways with two workers for both. Six commands have to start, one after the other."""
    project = Project(tmp_path)
    subs = [project.flags[3], f"{project.flags[3]}2"]
    own = {"ALLOW_MISSING_ORIGIN": True, "SUB_SOCKET": ",".join(subs)}
    (project.directory / "local.json").write_text(json.dumps({**SETTINGS, "DJANGO_WS": own}))
    project.run("migrate", "--verbosity=0")
    push = ["--push-socket", project.flags[1]]
    try:
        with Shell(project) as shell, contextlib.ExitStack() as stack:
            everywhere = []
            for sub in subs:
                address = f"127.0.0.1:{free_port()}"
                front = Command(project, "run_wsgateway", address, *push, "--sub-socket", sub)
                front.url, front.shell = f"ws://{address}/socket/", shell
                everywhere.append(stack.enter_context(People(front)))
            for _ in range(2):
                flags = [*push, "--sub-socket", ",".join(subs)]
                Command(project, "run_wsworker", "--noreload", *flags)
            here, there = everywhere[0].session("here"), everywhere[0].session("there")
            for command in project.commands[1:]:
                command.until_output("http://|Quit with CONTROL-C")
            clients = [each.connect(key) for each in everywhere for key in (here, here, there)]
            for client in clients:
                client.ask("who")
            shell.run("clients['here'].logout()")
            assert closed_soon(*clients[:2], *clients[3:5]) == [LOGGED_OUT] * 4
            everywhere[0].change("user.delete()")
            assert closed_soon(clients[2], clients[5]) == [LOGGED_OUT] * 2
        for command in reversed(project.commands[1:]):
            command.stop()
    finally:
        project.remove()


def test_from_a_machine_without_a_gateway(tmp_path):
    """By the engine; if that is away, as soon as it is back: gateways look by themselves then."""
    with (
        valkey("--appendonly", "yes", "--appendfsync", "always") as engine,
        serve(tmp_path, "--gateways=2", ENGINE=engine.url) as server,
        People(server) as people,
    ):
        people.shell.run(
            "from django.test import override_settings\n"
            f"elsewhere = {{**settings.DJANGO_WS, 'SUB_SOCKET': 'ipc://{tmp_path}/nobody'}}\n"
            "override_settings(DJANGO_WS=elsewhere).enable()"
        )
        keys = {which: people.session(which) for which in ("first", "second", "third")}
        clients = {which: [people.connect(key) for _ in range(4)] for which, key in keys.items()}
        for client in clients["third"]:
            client.ask("who")
        people.shell.run("clients['first'].logout()")
        assert closed_soon(*clients["first"]) == [LOGGED_OUT] * 4
        engine.kill()
        server.until_output("the engine at .* is away")
        people.shell.run("clients['second'].logout()")  # has nobody to tell it
        assert clients["second"][0].ask("not yet") == f"not yet {people.name}  False"
        engine.start()
        assert [client.closing(5) for client in clients["second"]] == [LOGGED_OUT] * 4
        # on_user_changed may come though nothing has changed.
        assert clients["third"][0].receive(5) == f"1 {people.name}  False"
        assert clients["third"][0].ask("still") == f"still {people.name}  False"
