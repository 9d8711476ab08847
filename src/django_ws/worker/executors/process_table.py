"""The processes of a worker, and the selector that waits for what their sockets can do."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

from ...wire.messages import Disconnect, Event
from ..connection import WorkerConnection
from .process import ConnectionProcess

__all__ = ["ProcessTable"]


class ProcessTable:
    """See the module. ``_processes`` and ``_keys`` are guarded by ``_lock``; one thread selects.

    Attributes:
        selector: has each process as ``data``.
        held: those that are not read at the moment; the selecting thread's.
    """

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.held: list[ConnectionProcess] = []
        self._lock = threading.Lock()
        self._processes: dict[int, ConnectionProcess] = {}  # by key
        self._keys = 0

    # ------------------------------------------------------------------ any thread

    def add(
        self, connection: WorkerConnection, sock: socket.socket, last: Disconnect | None
    ) -> ConnectionProcess:
        """A process that is about to be made, and from now on may be heard and end.

        Args:
            sock: the worker's end of the stream.
            last: it only runs ``on_close``, for this.
        """
        sock.setblocking(False)
        with self._lock:
            self._keys += 1
            process = ConnectionProcess(self._keys, connection, sock, last)
            self._processes[process.key] = process
        self.selector.register(sock, selectors.EVENT_READ, process)
        return process

    def get(self, key: int) -> ConnectionProcess | None:
        """The process that the template knows by ``key``."""
        with self._lock:
            return self._processes.get(key)

    def all(self) -> list[ConnectionProcess]:
        """All processes, as a copy."""
        with self._lock:
            return list(self._processes.values())

    def drop(self, process: ConnectionProcess) -> bool:
        """Forget a process. False if that was done before."""
        with self._lock:
            if self._processes.pop(process.key, None) is None:
                return False
        self.deafen(process)
        with process.lock:
            process.dead = True
            process.socket.close()
        return True

    def post(self, process: ConnectionProcess, event: Event | None) -> None:
        """Send an event; ``None`` asks looping hooks to end."""
        with process.lock:
            if not process.dead:
                process.post(event)
                if process.blocked:
                    self._look(process)

    # ------------------------------------------------------------------ the selecting thread

    def write(self, process: ConnectionProcess) -> None:
        """Go on where :meth:`post` had to stop."""
        with process.lock:
            if not process.dead:  # it may have been dropped in this very turn
                process.write()
                self._look(process)

    def deafen(self, process: ConnectionProcess) -> None:
        """Look no more: its stream is at the end."""
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(process.socket)

    def hold(self, process: ConnectionProcess) -> None:
        """Read no further: publications have no window, so this is what holds up a process whose
        gateway takes nothing."""
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(process.socket)
            self.held.append(process)

    def read_held(self) -> None:
        """Read on what was held, as far as there is room again."""
        held, self.held = self.held, []
        for process in held:
            link = process.connection.link
            link.flush()
            with process.lock:
                if process.dead:
                    continue
                if link.congested:
                    self.held.append(process)
                else:
                    self.selector.register(process.socket, _events(process), process)

    def _look(self, process: ConnectionProcess) -> None:
        """Look for what its socket can do; with its lock held."""
        with contextlib.suppress(KeyError, ValueError):  # held, or at its end
            self.selector.modify(process.socket, _events(process), process)


def _events(process: ConnectionProcess) -> int:
    return selectors.EVENT_READ | (selectors.EVENT_WRITE if process.blocked else 0)
