"""Addresses of the links: parsing, and binding without stealing or being stolen.

ZeroMQ binds an ``ipc://`` path although somebody else listens there, and the file follows the
umask. So a lock file guards each path, and the socket file is created 0600. The lock is taken with
``lockf``: a forked child does not inherit it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import ipaddress
import os
import stat

import zmq

from ..options import MAX_IPC_PATH
from .sockets import new_socket

__all__ = ["Bound", "EndpointError", "bind", "is_local", "may_connect"]


class EndpointError(Exception):
    """An endpoint cannot be used; the text says why and what to do."""


def split(endpoint: str) -> tuple[str, str]:
    """Scheme and address of an endpoint.

    Raises:
        EndpointError: It is neither ``ipc://PATH`` nor ``tcp://HOST:PORT``.
    """
    scheme, separator, address = endpoint.partition("://")
    if separator and scheme == "ipc" and address:
        if len(os.fsencode(address)) > MAX_IPC_PATH:
            raise EndpointError(f"{endpoint}: the path is longer than {MAX_IPC_PATH} bytes")
        return scheme, address
    if separator and scheme == "tcp" and address.rpartition(":")[2].isdigit():
        return scheme, address
    raise EndpointError(f"{endpoint}: an endpoint is ipc:///PATH or tcp://HOST:PORT")


def is_local(endpoint: str) -> bool:
    """Whether only this machine can reach the endpoint."""
    scheme, address = split(endpoint)
    if scheme == "ipc":
        return True
    host = address.rpartition(":")[0].strip("[]")
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def may_connect(endpoint: str, configured: str) -> bool:
    """Whether an announced endpoint lies where this project's own do.

    Args:
        endpoint: what a worker announced.
        configured: ``--push-socket``.
    """
    try:
        scheme, address = split(endpoint)
    except EndpointError:
        return False
    own_scheme, own_address = split(configured)
    if scheme != own_scheme:
        return False
    if scheme == "ipc":
        return address == own_address or (
            address.startswith(own_address + ".")
            and os.path.dirname(address) == os.path.dirname(own_address)
        )
    return address.rpartition(":")[0] == own_address.rpartition(":")[0]


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
        for name in (path, path + ".lock"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        os.close(self._lock)
        self._lock = None


def _take_lock(path: str) -> int | None:
    """Lock ``path``; ``None`` if a live process has it."""
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            lock = os.open(path + ".lock", flags, 0o600)
        except OSError as error:
            raise EndpointError(
                f"ipc://{path}: cannot create its lock file ({error.strerror}); "
                "choose a directory that this user may write to"
            ) from None
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return None
            raise
        # Whoever had it may have removed the file meanwhile: then this lock guards nothing.
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(lock).st_ino == os.stat(path + ".lock").st_ino:
                return lock
        os.close(lock)


def _check_owner(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise EndpointError(f"ipc://{path}: {error.strerror}") from None
    if found.st_uid != os.geteuid():
        raise EndpointError(f"ipc://{path} belongs to another user; choose another path")
    if not stat.S_ISSOCK(found.st_mode):
        raise EndpointError(f"ipc://{path} is there already and is no socket; choose another path")


def _bind_ipc(kind: int, path: str) -> Bound | None:
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise EndpointError(
            f"ipc://{path}: there is no directory {directory}; create it, or choose another "
            "endpoint (--push-socket, --sub-socket)"
        )
    _check_owner(path)
    lock = _take_lock(path)
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
