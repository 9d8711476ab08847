"""The replies link: a gateway's ROUTER, to which workers and publishers connect DEALERs."""

from __future__ import annotations

import contextlib
import time

import zmq

from .addresses import EndpointError, ipc_path
from .endpoints import bind
from .events import tune
from .files import FileId, find, is_served
from .monitor import Monitor
from .sockets import new_socket, wait

__all__ = ["RepliesReceiver", "RepliesSender", "is_there"]


#: Seconds between looks whether a gateway's socket has appeared, for who waits for it.
_LOOK = 0.02


def is_there(endpoint: str) -> bool:
    """Whether a gateway of this user has a replies endpoint; over tcp that only shows by trying."""
    path = ipc_path(endpoint)
    if not path:
        return True
    try:
        return find(path) is not None and is_served(path)
    except EndpointError:
        return False


class RepliesReceiver:
    """A gateway's end; never blocks.

    Raises:
        EndpointError: The endpoint cannot be bound.
    """

    def __init__(self, endpoint: str) -> None:
        self._bound = bind(zmq.ROUTER, endpoint)
        self.endpoint = self._bound.endpoint
        self._socket = self._bound.socket

    def fileno(self) -> int:
        """An edge-triggered descriptor: after it fired, receive until nothing is left."""
        return int(self._socket.get(zmq.FD))

    def receive(self) -> tuple[bytes, bytes] | None:
        """One batch with the identity of the DEALER it came from; ``None`` if there is none."""
        try:
            parts = self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
        return parts[0], parts[-1]

    def answer(self, identity: bytes, data: bytes) -> None:
        """Answer a request; dropped if the peer is gone, as nobody waits for it then."""
        try:
            self._socket.send_multipart([identity, data], zmq.NOBLOCK)
        except zmq.ZMQError:
            return

    def close(self) -> None:
        """Close the socket and remove its files."""
        self._bound.close()


class RepliesSender:
    """A worker's or publisher's end. Its users take turns under a lock of their own.

    Over ipc it only connects to a socket of this user's, and sends nothing before the connection
    stands and the very same socket is still there. ZeroMQ itself would reconnect to whoever has
    the path by then; so :meth:`connect` does it, which ``send`` calls, too, when it has to.

    Args:
        endpoint: ``--sub-socket`` of one gateway.
        silence: seconds without a sign of life over tcp until the link counts as cut.

    Attributes:
        refusal: why it does not connect, in words; empty if nothing is wrong.
    """

    def __init__(self, endpoint: str, silence: float) -> None:
        self.endpoint = endpoint
        self.refusal = ""
        self._path = ipc_path(endpoint)
        self._found: FileId | None = None  # where it is connected
        self._trusted = not self._path
        self._socket = new_socket(zmq.DEALER)
        self._socket.set(zmq.IMMEDIATE, 1)
        self._socket.set(zmq.RECONNECT_IVL, -1 if self._path else 50)
        self._socket.set(zmq.RECONNECT_IVL_MAX, 400)
        tune(self._socket, endpoint, silence)
        if self._path:
            self.connect()
        else:
            self._socket.connect(endpoint)

    def monitor(self) -> Monitor:
        """A monitor for the thread that asks; make it before the first send."""
        return Monitor(self._socket)

    def connect(self, *, lost: bool = False) -> None:
        """Over ipc, connect if another socket is there now; over tcp ZeroMQ does it.

        Args:
            lost: connect anew, also if it is the same one.
        """
        if not self._path:
            return
        try:
            found = find(self._path)
        except EndpointError as error:
            self.refusal = str(error)
            return
        self.refusal = ""
        if found is None or (found == self._found and not lost) or not is_served(self._path):
            return
        if self._found is not None:
            with contextlib.suppress(zmq.ZMQError):  # it has noticed by itself
                self._socket.disconnect(self.endpoint)
        self._found = found
        self._trusted = False
        self._socket.connect(self.endpoint)

    def _verify(self) -> bool:
        with contextlib.suppress(EndpointError):
            if int(self._socket.get(zmq.EVENTS)) & zmq.POLLOUT:
                self._trusted = self._found is not None and find(self._path) == self._found
        return self._trusted

    def send(self, data: bytes, timeout: float = 0.0) -> bool:
        """Queue one batch.

        Args:
            timeout: seconds to wait while the queue is full or the link is not up.

        Returns:
            False if it could not be queued in time.
        """
        if self._trusted or self._verify():
            try:
                self._socket.send(data, zmq.NOBLOCK)
            except zmq.Again:
                pass
            else:
                return True
        return self._send_within(data, timeout)

    def _send_within(self, data: bytes, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while True:
            self.connect()
            left = deadline - time.monotonic()
            # Not longer at a time: a socket that appears does not wake it.
            up = wait(self._socket, zmq.POLLOUT, max(0.0, min(left, _LOOK)))
            if up and (self._trusted or self._verify()):
                with contextlib.suppress(zmq.Again):
                    self._socket.send(data, zmq.NOBLOCK)
                    return True
            if left <= 0:
                return False

    def receive(self, timeout: float = 0.0) -> bytes | None:
        """An answer of the gateway; ``None`` if there is none within ``timeout`` seconds."""
        try:
            return self._socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            if timeout <= 0 or not wait(self._socket, zmq.POLLIN, timeout):
                return None
            return self.receive()

    def close(self, linger: float = 1.0) -> None:
        """Close; what is queued has ``linger`` seconds to leave."""
        self._socket.close(linger=int(linger * 1000))
