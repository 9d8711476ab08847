"""A throw-away Django project, and the commands that serve it as processes of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil

from tests.ports import free_port

__all__ = ["LINKS", "MODES", "Command", "Project", "Server", "until"]

MODES = ("pool", "threaded", "gevent", "multiprocess")
LINKS = ("ipc", "tcp")

_T = TypeVar("_T")


def until(condition: Callable[[], _T], seconds: float = 10.0, what: object = "") -> _T:
    """Wait until the condition is true, and return what it returned."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, what() if callable(what) else (what or condition)
        time.sleep(0.01)
    return result


class Project:
    """A project in a directory of its own.

    Args:
        directory: where it is made.
        link: ``ipc`` or ``tcp``.
        settings: Django settings; a dict adds to the one that is there.
    """

    def __init__(self, directory: Path, link: str = "ipc", **settings: object) -> None:
        self.directory = directory / "project"
        shutil.copytree(Path(__file__).parent / "project", self.directory)
        # The path of a socket has at most 107 bytes, so not below pytest's directories.
        self.endpoints = Path(tempfile.mkdtemp(prefix="ws"))
        if link == "ipc":
            sockets = [f"ipc://{self.endpoints}/push", f"ipc://{self.endpoints}/sub"]
        else:
            sockets = [f"tcp://127.0.0.1:{free_port()}" for _ in range(2)]
        self.flags = ["--push-socket", sockets[0], "--sub-socket", sockets[1]]
        (self.directory / "local.json").write_text(json.dumps(settings))
        (self.directory / "journal").touch()
        self.commands: list[Command] = []

    def environment(self) -> dict[str, str]:
        """Of the processes that belong to it."""
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "settings",  # pytest-django has set it, too
        }

    def run(self, *arguments: str) -> None:
        """Run a management command to its end."""
        command = Command(self, *arguments)
        assert command.process.wait(30) == 0, command.output()

    def journal(self, *what: str, who: str | None = None) -> list[list[object]]:
        """What handlers have noted: what, who, pid, time and more."""
        lines = (self.directory / "journal").read_text().splitlines()
        notes = [json.loads(line) for line in lines]
        return [
            note
            for note in notes
            if (not what or note[0] in what) and (who is None or note[1] == who)
        ]

    def leftovers(self) -> list[str]:
        """Socket and lock files."""
        return sorted(path.name for path in self.endpoints.iterdir())

    def remove(self) -> None:
        """Kill what still runs, and remove what tests don't look at afterwards."""
        for command in self.commands:
            command.kill()
        shutil.rmtree(self.endpoints, ignore_errors=True)


class Command:
    """A management command that runs in a session of its own, so that all its processes are known.

    Attributes:
        process: the foreground process.
    """

    def __init__(self, project: Project, *arguments: str) -> None:
        self.project = project
        self._output = project.directory / f"output{len(project.commands)}"
        project.commands.append(self)
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                cwd=project.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=project.environment(),
                start_new_session=True,
            )

    def output(self) -> str:
        """What it has written so far."""
        return self._output.read_text(errors="replace")

    def until_output(self, pattern: str, seconds: float = 30.0) -> re.Match[str]:
        """Wait until it has written something."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.output())
            assert found or self.process.poll() is None, self.output()
            return found

        found = until(look, seconds, self.output)
        assert found is not None
        return found

    def processes(self) -> list[psutil.Process]:
        """All that came from it and still runs."""
        return list(self._processes())

    def _processes(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.process.pid and process.status() != "zombie":
                    yield process
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue

    def workers(self) -> list[psutil.Process]:
        """The worker processes, but not what they forked."""
        return self._role("worker")

    def gateway(self) -> psutil.Process:
        """The gateway process."""
        (gateway,) = self.gateways()
        return gateway

    def gateways(self) -> list[psutil.Process]:
        """The gateway processes."""
        return self._role("gateway")

    def _role(self, role: str) -> list[psutil.Process]:
        found = []
        for process in self.processes():
            try:
                if (
                    process.environ().get("DJANGO_WS_ROLE") == role
                    and process.ppid() == self.process.pid
                ):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def memory(self) -> dict[str, int]:
        """Resident bytes of the gateway and of all workers."""
        return {
            "gateway": self.gateway().memory_info().rss,
            "workers": sum(process.memory_info().rss for process in self.workers()),
        }

    def stop(self, seconds: float = 15.0) -> None:
        """End it with SIGTERM, and check that it went in good order and left nothing."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(seconds) == 0, self.output()
        until(lambda: not self.processes(), 1.0, self.processes)

    def kill(self) -> None:
        """Kill all its processes."""
        for process in self.processes():
            process.kill()
        self.process.wait()


class Server(Command):
    """``run_wsserver`` with a project, up when made.

    Attributes:
        port: where it listens.
        url: of the ``default`` namespace; append another one's name.
    """

    def __init__(self, project: Project, *flags: str) -> None:
        super().__init__(
            project, "run_wsserver", "127.0.0.1:0", "--noreload", *project.flags, *flags
        )
        found = self.until_output(r"wss?://127\.0\.0\.1:(\d+)")
        self.port = int(found[1])
        self.url = f"{found[0]}/socket/"

    def stop(self, seconds: float = 15.0) -> None:
        super().stop(seconds)
        assert self.project.leftovers() == []
