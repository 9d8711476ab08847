"""One child process: how it is started, what state it is in, and how it ended."""

from __future__ import annotations

import contextlib
import enum
import os
import secrets
import signal
import site
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from .control import CONTROL_FD, Channel

__all__ = ["Child", "IllegalTransition", "Role", "State", "fate", "import_path", "python_command"]


class Role(enum.StrEnum):
    """What a child is for; the value of its ``DJANGO_WS_ROLE``."""

    GATEWAY = "gateway"
    WORKER = "worker"
    WSGI = "wsgi"


class State(enum.Enum):
    """Life of a child, in this order; steps may be left out, but none goes back."""

    STARTING = 1
    READY = 2
    LEAVING = 3
    GONE = 4


class IllegalTransition(Exception):
    """A state that cannot follow the present one."""


#: Signals that reach all processes of a terminal or service, but are meant for the supervisor.
#: A child starts with them blocked, so that none can kill it before it has said what to do with
#: them; the gateway keeps SIGTERM, which makes it drain.
_BLOCKED = {
    Role.GATEWAY: {signal.SIGINT, signal.SIGHUP},
    Role.WORKER: {signal.SIGINT, signal.SIGHUP, signal.SIGTERM},
    Role.WSGI: {signal.SIGINT, signal.SIGHUP, signal.SIGTERM},
}


class Child:
    """A process that the supervisor started, with its control channel.

    It shares the supervisor's process group, so that a handler may use the terminal
    (``breakpoint()``).

    Args:
        role: what it is for.
        command: what to execute.
        environment: variables on top of the supervisor's.
        inherit: descriptors that it gets besides its channel.
        output: descriptor that it writes to; ``None`` for the supervisor's.

    Attributes:
        incarnation: 16 hexadecimal characters, never used twice.
        deadline: when it is killed if it is still there; on the monotonic clock.
        endpoint: the ZeroMQ endpoint that it bound, a worker's once it has said so.
        handled: messages that it has handled, as far as it has said so.
        reported: when it last said so, on the monotonic clock; 0 before it works.
        killed: SIGKILL is on its way.
        explained: it has said why it cannot start.
        asked: it was asked what it is busy with, and has not answered.
        doing: what it is at while it starts, in words that follow "it".
    """

    def __init__(
        self,
        role: Role,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        inherit: Sequence[int] = (),
        output: int | None = None,
    ) -> None:
        self.role = role
        self.incarnation = secrets.token_hex(8)
        self.state = State.STARTING
        self.deadline = float("inf")
        self.endpoint = ""
        self.handled = 0
        self.reported = 0.0
        self.killed = False
        self.explained = False
        self.asked = False
        self.doing = "loads the project" if role is not Role.GATEWAY else "binds its sockets"
        self.started = time.monotonic()
        self.started_at = time.time()
        self.channel, theirs = Channel.pair()
        variables = {
            **os.environ,
            **import_path(),
            **(environment or {}),
            "DJANGO_WS_ROLE": role,
            "DJANGO_WS_INCARNATION": self.incarnation,
            CONTROL_FD: str(theirs.fileno()),
        }
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED[role])
        try:
            self._process = subprocess.Popen(
                list(command),
                env=variables,
                pass_fds=(theirs.fileno(), *inherit),
                stdin=subprocess.DEVNULL if role is Role.GATEWAY else None,
                stdout=output,
                stderr=output,
            )
        except BaseException:
            self.channel.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        self.pid = self._process.pid

    def __str__(self) -> str:
        name = "page server" if self.role is Role.WSGI else self.role
        return f"{name} {self.pid}"

    def become(self, state: State) -> None:
        """Enter a state.

        Raises:
            IllegalTransition: It does not come after the present one.
        """
        if state.value <= self.state.value:
            raise IllegalTransition(f"{self} is {self.state.name} and cannot be {state.name} now")
        self.state = state

    def leave(self, deadline: float, message: dict[str, object] | None = None) -> None:
        """Ask it to go, or go faster; at the deadline (monotonic clock) it is killed."""
        if self.state is State.GONE:
            return
        if self.state is not State.LEAVING:
            self.become(State.LEAVING)
        self.deadline = min(self.deadline, deadline)
        if message is not None:
            self.channel.send(message)

    def kill(self) -> None:
        """SIGKILL: it ends now."""
        if self.state is State.GONE:
            return
        self.leave(time.monotonic())
        self.deadline = float("inf")
        self.killed = True
        self._process.kill()

    def status(self) -> int | None:
        """How it ended, in the sense of ``Popen.returncode``; ``None`` while it runs."""
        return self._process.poll()

    def wait(self) -> None:
        """Wait for the end of a process that was killed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)

    def memory(self) -> int:
        """Resident memory in bytes; 0 if the system does not tell."""
        try:
            with open(f"/proc/{self.pid}/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            return 0


def import_path() -> dict[str, str]:
    """``PYTHONPATH`` with which children find this package where its installation does not do it.

    A project may have it beside ``manage.py`` or on a path of its own making.
    """
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    installed = (*site.getsitepackages(), site.getusersitepackages())
    if home in map(os.path.realpath, installed):
        return {}
    known = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return {"PYTHONPATH": os.pathsep.join(known if home in known else [*known, home])}


def fate(status: int) -> str:
    """An exit status of ``Popen`` in words."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name} ({signal.strsignal(-status) or 'unknown signal'})"


def python_command(*arguments: str) -> tuple[str, ...]:
    """A Python that does not look for modules in the current directory, which is the project's."""
    return (sys.executable, "-P", *arguments)
