"""Binding without stealing or being stolen.

ZeroMQ binds an ``ipc://`` path although somebody else listens there, and the file follows the
umask. So a lock file guards each path (:mod:`.files`), and the socket file is created 0600.
"""

from __future__ import annotations

import contextlib
import os

import zmq

from . import files
from .addresses import EndpointError, is_local, may_connect, split
from .sockets import new_socket

__all__ = ["Bound", "EndpointError", "bind", "is_local", "may_connect"]


class Bound:
    """A bound socket with the files that belong to it.

    Attributes:
        socket: the ZeroMQ socket.
        endpoint: where it can be reached.
    """

    def __init__(self, socket: zmq.Socket[bytes], endpoint: str, lock: int | None) -> None:
        self.socket = socket
        self.endpoint = endpoint
        self._lock = lock

    def close(self) -> None:
        """Close the socket and remove its files."""
        self.socket.close(linger=0)
        if self._lock is None:
            return
        path = split(self.endpoint)[1]
        files.remove(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + ".lock")
        os.close(self._lock)
        self._lock = None


def _bind_ipc(kind: int, path: str) -> Bound | None:
    files.check_directory(path)
    files.find(path)
    lock = files.lock(path)
    if lock is None:
        return None
    socket = new_socket(kind)
    before = os.umask(0o177)
    try:
        socket.bind(f"ipc://{path}")
    except zmq.ZMQError as error:
        socket.close(linger=0)
        os.close(lock)
        raise EndpointError(f"ipc://{path}: {error.strerror}") from None
    finally:
        os.umask(before)
    return Bound(socket, f"ipc://{path}", lock)


def _bind_tcp(kind: int, address: str) -> Bound | None:
    socket = new_socket(kind)
    if address.startswith("["):
        socket.set(zmq.IPV6, 1)
    try:
        socket.bind(f"tcp://{address}")
    except zmq.ZMQError as error:
        socket.close(linger=0)
        if error.errno == zmq.EADDRINUSE:
            return None
        raise EndpointError(f"tcp://{address}: {error.strerror}") from None
    endpoint = socket.get(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    host = address.rpartition(":")[0]
    port = endpoint.rstrip(b"\0").rpartition(b":")[2].decode()
    return Bound(socket, f"tcp://{host}:{port}", None)


def bind(kind: int, endpoint: str, *, suffix: str = "") -> Bound:
    """Bind a new socket.

    Args:
        kind: ``zmq.PULL`` or ``zmq.ROUTER``.
        endpoint: where to.
        suffix: where to go instead if a live process has the endpoint: over ipc the path with
            this suffix, over tcp the next free port. Empty: nowhere.

    Raises:
        EndpointError: It is taken, belongs to somebody else, or cannot be bound.
    """
    scheme, address = split(endpoint)
    if not is_local(endpoint):
        raise EndpointError(
            f"{endpoint} is reachable from other machines, which needs CURVE keys; "
            "this release has none, so use ipc:// or a loopback address"
        )
    bound = _bind_ipc(kind, address) if scheme == "ipc" else _bind_tcp(kind, address)
    if bound is None and suffix:
        if scheme == "ipc":
            bound = _bind_ipc(kind, f"{address}.{suffix}")
        else:
            host, _, port = address.rpartition(":")
            for candidate in range(int(port) + 1, min(int(port) + 200, 65536)):
                bound = _bind_tcp(kind, f"{host}:{candidate}")
                if bound is not None:
                    break
    if bound is None:
        raise EndpointError(
            f"{endpoint} is in use by another running process; stop it, or choose another "
            "endpoint (--push-socket, --sub-socket)"
        )
    return bound
