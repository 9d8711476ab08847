"""The events link: a gateway PUSHes batches of events, each worker PULLs its own.

One PUSH per worker incarnation, never reused: it does not reconnect, so what it could not deliver
is known to be undelivered.
"""

from __future__ import annotations

import contextlib

import zmq

from .addresses import EndpointError, ipc_path, split
from .endpoints import Bound, bind
from .files import find
from .monitor import Monitor
from .sockets import new_socket, wait

__all__ = ["EventsReceiver", "EventsSender"]


class EventsReceiver:
    """A worker's end. One thread at a time may receive.

    Args:
        endpoint: ``--push-socket``.
        suffix: makes the endpoint unique if another worker has it.

    Raises:
        EndpointError: It cannot be bound.
    """

    def __init__(self, endpoint: str, suffix: str) -> None:
        self._bound: Bound = bind(zmq.PULL, endpoint, suffix=suffix)
        self.endpoint = self._bound.endpoint
        self._receive = self._bound.socket.recv

    def receive(self, timeout: float, most: int = 32) -> list[bytes]:
        """Receive what is there, at most ``most`` batches.

        Args:
            timeout: seconds to wait for the first.
        """
        batches: list[bytes] = []
        # To find out by an exception that there is nothing costs twice as much as to ask.
        if timeout > 0 and not wait(self._bound.socket, zmq.POLLIN, timeout):
            return batches
        receive = self._receive
        with contextlib.suppress(zmq.Again):
            for _ in range(most):
                batches.append(receive(zmq.NOBLOCK))
        return batches

    def close(self) -> None:
        """Close the socket and remove its files."""
        self._bound.close()


class EventsSender:
    """A gateway's end, for one worker incarnation; never blocks.

    Args:
        endpoint: what the worker announced.
        silence: seconds without a sign of life over tcp until the link counts as cut.

    Raises:
        EndpointError: It is an ipc socket of another user's.
    """

    def __init__(self, endpoint: str, silence: float) -> None:
        self._socket = new_socket(zmq.PUSH)
        self._socket.set(zmq.IMMEDIATE, 1)
        self._socket.set(zmq.RECONNECT_IVL, -1)
        self._socket.set(zmq.LINGER, 0)
        tune(self._socket, endpoint, silence)
        self._monitor = Monitor(self._socket)
        self._path = ipc_path(endpoint)
        self._trusted = not self._path
        try:
            self._found = find(self._path) if self._path else None
            self._socket.connect(endpoint)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """An edge-triggered descriptor (zmq_getsockopt(3), ZMQ_FD)."""
        return int(self._socket.get(zmq.FD))

    def monitor_fileno(self) -> int:
        """Descriptor of :meth:`changes`."""
        return self._monitor.fileno()

    def changes(self) -> list[bool]:
        """See :meth:`.Monitor.changes`."""
        return self._monitor.changes()

    def send(self, data: bytes) -> bool:
        """Queue one batch; False if the worker's queue is full or it is not connected yet."""
        if not self._trusted and not self._verify():
            return False
        try:
            self._socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _verify(self) -> bool:
        """Whether the link is up, and to the very socket that was looked at before connecting."""
        with contextlib.suppress(EndpointError):
            if self._found and self.writable() and find(self._path) == self._found:
                self._trusted = True
        return self._trusted

    def writable(self) -> bool:
        """Whether :meth:`send` would succeed; also re-arms :meth:`fileno`."""
        return bool(int(self._socket.get(zmq.EVENTS)) & zmq.POLLOUT)

    def close(self) -> None:
        """Close at once; what is queued is lost."""
        self._monitor.close()
        self._socket.close(linger=0)


def tune(socket: zmq.Socket[bytes], endpoint: str, silence: float) -> None:
    """ZMTP heartbeats over tcp only: over ipc a pause must not look like an end."""
    if split(endpoint)[0] == "tcp":
        socket.set(zmq.HEARTBEAT_IVL, 5000)
        socket.set(zmq.HEARTBEAT_TIMEOUT, int(silence * 1000) + 5000)
        if split(endpoint)[1].startswith("["):
            socket.set(zmq.IPV6, 1)
