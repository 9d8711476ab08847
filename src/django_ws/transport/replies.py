"""The replies link: a gateway's ROUTER, to which workers and publishers connect DEALERs."""

from __future__ import annotations

import zmq

from .endpoints import bind
from .events import tune
from .monitor import Monitor
from .sockets import new_socket, wait

__all__ = ["RepliesReceiver", "RepliesSender"]


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

    Args:
        endpoint: ``--sub-socket`` of one gateway.
        silence: seconds without a sign of life over tcp until the link counts as cut.
    """

    def __init__(self, endpoint: str, silence: float) -> None:
        self.endpoint = endpoint
        self._socket = new_socket(zmq.DEALER)
        self._socket.set(zmq.IMMEDIATE, 1)
        self._socket.set(zmq.RECONNECT_IVL, 50)
        self._socket.set(zmq.RECONNECT_IVL_MAX, 400)
        tune(self._socket, endpoint, silence)
        self._socket.connect(endpoint)

    def monitor(self) -> Monitor:
        """A monitor for the thread that asks; make it before the first send."""
        return Monitor(self._socket)

    def send(self, data: bytes, timeout: float = 0.0) -> bool:
        """Queue one batch.

        Args:
            timeout: seconds to wait while the queue is full or the link is not up.

        Returns:
            False if it could not be queued in time.
        """
        try:
            self._socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            if timeout <= 0 or not wait(self._socket, zmq.POLLOUT, timeout):
                return False
            return self.send(data)
        return True

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
