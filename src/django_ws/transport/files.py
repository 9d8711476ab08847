"""The files of ipc endpoints: socket, lock, directory. None of another user's is ever used.

An ipc socket belongs to whoever binds its path first, so each side looks whose it is: before it
binds, before it connects, and once more when the connection stands. What is not this user's is
refused in words; nothing is followed that is a link, and nothing deleted that is not ours.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import pwd
import re
import socket
import stat
from collections.abc import Iterable, Iterator

from ..options import MAX_IPC_PATH
from .addresses import EndpointError, ipc_path

__all__ = [
    "FileId",
    "check_directory",
    "default_endpoints",
    "find",
    "is_served",
    "lock",
    "make_directories",
    "private_directory",
    "remove",
    "remove_leftovers",
    "sweep",
    "user",
]

#: What tells a file from whatever else was or will be at its path: device, inode, and when it was
#: made or moved there (nanoseconds), since inodes are used again.
FileId = tuple[int, int, int]

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFREG: "a regular file",
    stat.S_IFSOCK: "a socket",
}

_ELSEWHERE = "choose another path (PUSH_SOCKET, SUB_SOCKET; --push-socket, --sub-socket)"


def user(uid: int) -> str:
    """A user's name, for messages."""
    try:
        return f"{pwd.getpwuid(uid).pw_name!r}"
    except KeyError:
        return f"uid {uid}"


def _check(path: str, shown: str, found: os.stat_result, kind: int) -> None:
    """Refuse what is of another kind, or another user's."""
    where = shown if shown == f"ipc://{path}" else f"{shown}: {path}"
    if stat.S_IFMT(found.st_mode) != kind:
        what = _KINDS.get(stat.S_IFMT(found.st_mode), "a device")
        raise EndpointError(
            f"{where} is there already and is {what}, not {_KINDS[kind]}; {_ELSEWHERE}"
        )
    if found.st_uid != os.geteuid():
        raise EndpointError(
            f"{where} belongs to another user, {user(found.st_uid)}, while this process "
            f"runs as {user(os.geteuid())}; run gateway and workers as the same user, or "
            f"{_ELSEWHERE}"
        )


def _look(path: str, shown: str, kind: int) -> os.stat_result | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EndpointError(f"{shown}: {path}: {error.strerror}; {_ELSEWHERE}") from None
    _check(path, shown, found, kind)
    return found


# ---------------------------------------------------------------- directories


def private_directory() -> str:
    """Where default endpoints lie: a directory that only this user can look into."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    # Not root's after `su`, and none that leaves no room for the names of sockets.
    if os.path.isabs(runtime) and len(os.fsencode(runtime)) <= MAX_IPC_PATH - 48:
        with contextlib.suppress(OSError):
            found = os.stat(runtime)
            if (
                stat.S_ISDIR(found.st_mode)
                and found.st_uid == os.geteuid()
                and not found.st_mode & 0o077
            ):
                return os.path.join(runtime, "django-ws")
    return f"/tmp/django-ws-{os.geteuid()}"


def default_endpoints(project: str) -> tuple[str, str]:
    """The events and the replies endpoint of a project that names none.

    Args:
        project: what tells it from all others of this user.
    """
    digest = hashlib.sha256(project.encode(errors="surrogateescape")).hexdigest()[:12]
    path = os.path.join(private_directory(), digest)
    return f"ipc://{path}.push", f"ipc://{path}.sub"


def make_directories(endpoints: Iterable[str]) -> None:
    """Make the private directory if an endpoint lies in it.

    Raises:
        EndpointError: What is there in its place is not private.
    """
    private = private_directory()
    if private not in {os.path.dirname(ipc_path(endpoint)) for endpoint in endpoints}:
        return
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(private, 0o700)
    except OSError as error:
        raise EndpointError(f"cannot create {private}: {error.strerror}; {_ELSEWHERE}") from None
    found = _look(private, "the directory of the default sockets", stat.S_IFDIR)
    if found is None or found.st_mode & 0o077:
        raise EndpointError(
            f"{private} is open to other users; make it private (chmod 700), or {_ELSEWHERE}"
        )


def check_directory(path: str) -> None:
    """Refuse a place where anybody may put a file in the place of ours.

    Args:
        path: of the socket.
    """
    directory = os.path.dirname(path) or "."
    try:
        mode = os.stat(directory).st_mode
    except OSError:
        mode = 0
    if not stat.S_ISDIR(mode):
        raise EndpointError(
            f"ipc://{path}: there is no directory {directory}; create it, or choose another "
            "endpoint (--push-socket, --sub-socket)"
        )
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise EndpointError(
            f"ipc://{path}: anybody may replace files in {directory}; take that away "
            f"(chmod o-w, or chmod +t as /tmp has it), or {_ELSEWHERE}"
        )


# ---------------------------------------------------------------- sockets


def find(path: str) -> FileId | None:
    """The socket at a path; ``None`` if there is none.

    Raises:
        EndpointError: What is there is not a socket of this user's.
    """
    found = _look(path, f"ipc://{path}", stat.S_IFSOCK)
    if found is None:
        return None
    check_directory(path)
    return found.st_dev, found.st_ino, found.st_ctime_ns


def is_served(path: str) -> bool:
    """Whether a process takes connections at a socket file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def remove(path: str) -> None:
    """Remove a socket, if it is this user's."""
    with contextlib.suppress(EndpointError, FileNotFoundError):
        if _look(path, path, stat.S_IFSOCK):
            os.unlink(path)


# ---------------------------------------------------------------- locks


def lock(path: str) -> int | None:
    """Lock a path; ``None`` if a live process has it. The lock lasts until it is closed.

    ZeroMQ binds a path although somebody else listens there, so this is what guards it. Taken with
    ``lockf``: a forked child does not inherit it.

    Raises:
        EndpointError: The lock file cannot be made, or is not this user's.
    """
    while True:
        descriptor = _open_lock(path, os.O_CREAT)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return None
            raise
        # Whoever had it may have removed the file meanwhile: then this lock guards nothing.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.lstat(path + ".lock")):
                return descriptor
        os.close(descriptor)


def _open_lock(path: str, create: int) -> int:
    """Open a lock file; with ``create`` 0 it has to be there.

    Raises:
        FileNotFoundError: It is not.
        EndpointError: It is none of this user's.
    """
    name, shown = path + ".lock", f"ipc://{path}"
    # First a look: to open a FIFO or a device may do something, and the reason that open gives for
    # a link or another user's file is hard to understand.
    _look(name, shown, stat.S_IFREG)
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(name, flags | create, 0o600)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise EndpointError(
            f"{shown}: cannot open its lock file ({error.strerror}); "
            "choose a directory that this user may write to"
        ) from None
    try:
        _check(name, shown, os.fstat(descriptor), stat.S_IFREG)
    except EndpointError:
        os.close(descriptor)
        raise
    return descriptor


# ---------------------------------------------------------------- what killed processes leave


def remove_leftovers(endpoint: str) -> bool:
    """Remove the files of an ``ipc://`` endpoint, unless a live process has it.

    Returns:
        Whether there was something to remove.
    """
    path = ipc_path(endpoint)
    if not path:
        return False
    try:
        descriptor = _open_lock(path, 0)
    except FileNotFoundError:
        return _remove_unlocked(path)
    except EndpointError:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # If the file was replaced meanwhile, the lock that counts is somebody else's.
        if not os.path.samestat(os.fstat(descriptor), os.lstat(path + ".lock")):
            return False
        remove(path)
        os.unlink(path + ".lock")
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _remove_unlocked(path: str) -> bool:
    """A socket without a lock file is nobody's if nobody serves it."""
    try:
        if find(path) is None or is_served(path):
            return False
    except EndpointError:
        return False
    remove(path)
    return True


def sweep(endpoint: str) -> None:
    """Remove what dead workers left beside the events endpoint: ``PATH.INCARNATION``."""
    path = ipc_path(endpoint)
    for other in set(_suffixed(path)) if path else ():
        remove_leftovers(f"ipc://{other}")


def _suffixed(path: str) -> Iterator[str]:
    directory, name = os.path.split(path)
    pattern = re.compile(re.escape(name) + r"\.[0-9a-f]{16}")
    try:
        with os.scandir(directory or ".") as entries:
            names = [entry.name.removesuffix(".lock") for entry in entries]
    except OSError:
        return
    yield from (os.path.join(directory, each) for each in names if pattern.fullmatch(each))
