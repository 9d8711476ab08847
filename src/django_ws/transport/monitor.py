"""Notices that a peer is gone: ZeroMQ's socket monitor (zmq_socket_monitor(3))."""

from __future__ import annotations

import zmq
from zmq.utils.monitor import parse_monitor_message

__all__ = ["Monitor"]

_GONE = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_CONNECT_RETRIED
_HERE = zmq.EVENT_HANDSHAKE_SUCCEEDED
_WATCHED = _GONE | _HERE


class Monitor:
    """Watches one connecting socket; used by the one thread that made it."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._watched = socket
        self._socket = socket.get_monitor_socket(_WATCHED)

    def fileno(self) -> int:
        """An edge-triggered descriptor: drain with :meth:`changes` whenever it fires."""
        return int(self._socket.get(zmq.FD))

    def changes(self) -> list[bool]:
        """What happened since the last call: True for connected, False for gone."""
        found: list[bool] = []
        while True:
            try:
                message = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return found
            found.append(bool(parse_monitor_message(message)["event"] & _HERE))

    def close(self) -> None:
        """Stop watching; before the watched socket is closed."""
        self._watched.disable_monitor()
        self._socket.close(linger=0)
