"""Removes the socket and lock files that killed processes leave behind."""

from __future__ import annotations

import contextlib
import fcntl
import os

__all__ = ["remove_leftovers"]


def remove_leftovers(endpoint: str) -> bool:
    """Remove the files of an ``ipc://`` endpoint, unless a live process has it locked.

    Returns:
        Whether there was something to remove.
    """
    if not endpoint.startswith("ipc://"):
        return False
    path = endpoint.removeprefix("ipc://")
    try:
        lock = os.open(path + ".lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # If the file was replaced meanwhile, the lock that counts is somebody else's.
        if os.fstat(lock).st_ino != os.stat(path + ".lock").st_ino:
            return False
        for name in (path, path + ".lock"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        return True
    except OSError:
        return False
    finally:
        os.close(lock)
