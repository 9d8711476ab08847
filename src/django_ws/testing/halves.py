"""Gateway and worker of a test: the one a process, the other a thread of this one."""

from __future__ import annotations

import abc
import logging
import secrets
import tempfile
import threading
import time
import traceback

import msgspec

from ..options import GatewayConfig, WorkerConfig
from ..supervisor.child import Child, Role, fate, python_command
from ..supervisor.control import Channel
from ..worker.main import Worker, make

__all__ = ["GatewayProcess", "Half", "ServerError", "WorkerThread"]

#: Seconds for a half to end in good order.
STOP = 5.0

#: Bytes of a gateway's last words that are shown.
LAST_WORDS = 4000


class ServerError(Exception):
    """The server of a test does not start, or has ended by itself; the text is for people."""


class Half(abc.ABC):
    """Either of them, as it is seen through its control channel.

    Args:
        name: for people.
        channel: to it.

    Attributes:
        port: where a gateway listens.
    """

    def __init__(self, name: str, channel: Channel) -> None:
        self.name = name
        self.port = 0
        self._channel = channel
        self._stopping = False
        self._ended = False  # set by the listening thread before it looks why
        # Each set by the listening thread before it sets _heard, and read after that.
        self._ready = False
        self._problem = ""
        self._heard = threading.Event()
        self._listener = threading.Thread(target=self._listen, name=f"test-{name}", daemon=True)
        self._listener.start()

    def wait(self, deadline: float) -> None:
        """Wait until it is ready.

        Args:
            deadline: on the monotonic clock.

        Raises:
            ServerError: It does not start.
        """
        self._heard.wait(max(0.0, deadline - time.monotonic()))
        self.check()
        if not self._ready:
            raise ServerError(f"the {self.name} is not ready in time")

    def check(self) -> None:
        """See that it still runs.

        Raises:
            ServerError: It does not.
        """
        if self._problem:
            raise ServerError(self._problem)

    def _listen(self) -> None:
        try:
            while True:
                self._channel.wait(1.0)
                for message in self._channel.receive():
                    self._said(message)
        except EOFError:
            self._ended = True
            if not self._stopping and not self._problem:
                self._problem = f"the {self.name} {self._fate()}"
            self._heard.set()

    def _said(self, message: dict[str, object]) -> None:
        match message:
            case {"op": "ready"}:
                port = message.get("port")
                self.port = port if isinstance(port, int) else 0
                self._ready = True
                self._heard.set()
            case {"op": "failed", "message": str(words)}:
                self._problem = f"the {self.name} does not start: {words}"
                self._heard.set()
            case {"op": "log", "name": str(name), "level": int(level), "message": str(words)}:
                logging.getLogger(name).log(level, "%s", words)

    @abc.abstractmethod
    def _fate(self) -> str:
        """How it ended, in words that follow its name."""

    def _end(self, order: str) -> None:
        """Ask it to end; nothing that it does from now on is a problem."""
        self._stopping = True
        self._channel.send({"op": order, "seconds": STOP})

    def _close(self) -> None:
        self._listener.join(STOP)
        self._channel.close()


class GatewayProcess(Half):
    """A gateway."""

    def __init__(self, config: GatewayConfig) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (stop() closes it)
        self._child = Child(
            Role.GATEWAY,
            python_command("-m", "django_ws.gateway"),
            output=self._output.fileno(),
        )
        super().__init__("gateway", self._child.channel)
        self._channel.send({"op": "config", "config": msgspec.to_builtins(config)})

    def check(self) -> None:
        # While the listening thread waits for it, nobody else is told its status.
        if self._ended or self._child.status() is not None:
            self._listener.join(STOP)  # it is about to hear of that
        super().check()

    def stop(self) -> None:
        """Close all connections, and end."""
        self._end("drain")
        self._listener.join(2 * STOP)
        if self._listener.is_alive():
            self._child.kill()
        self._child.wait()
        self._close()
        self._output.close()

    def _fate(self) -> str:
        self._child.wait()
        status = self._child.status()
        self._output.seek(0)
        words = self._output.read().decode(errors="replace").strip()[-LAST_WORDS:]
        return f"{fate(status or 0)}" + (f":\n{words}" if words else "")


class WorkerThread(Half):
    """A worker.

    Raises:
        Exception: A handler cannot be imported, or the endpoint cannot be bound.
    """

    def __init__(self, config: WorkerConfig) -> None:
        ours, theirs = Channel.pair()
        self._theirs = Channel(theirs)
        self._words = "ended"
        try:
            self.worker: Worker = make(config, secrets.token_hex(8), self._theirs)
        except BaseException:
            ours.close()
            self._theirs.close()
            raise
        self._thread = threading.Thread(target=self._run, name="test-worker-main", daemon=True)
        super().__init__("worker", ours)
        self._thread.start()

    def _run(self) -> None:
        try:
            code = self.worker.run()
            self._words = f"ended with status {code}, see its log"
        except BaseException:
            self._words = f"failed:\n{traceback.format_exc()}"
        finally:
            self._theirs.close()

    def stop(self) -> None:
        """End all its threads.

        Raises:
            ServerError: Hooks still run that do not end.
        """
        self._end("stop")
        self._thread.join(3 * STOP)
        self._close()
        if self._thread.is_alive() or self.worker.stuck:
            raise ServerError(
                "a handler's hook does not end, although its connection is closed: hooks that loop "
                "are to ask self.wait()"
            )

    def _fate(self) -> str:
        return self._words
