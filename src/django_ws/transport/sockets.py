"""The ZeroMQ context of this process, its sockets, and waiting for them.

Sockets are plain ones in every mode and are only ever used without blocking; the one thing that
differs is how to wait: under gevent a wait lets other greenlets run. (``zmq.green`` does that, too,
but makes every call pay for it, also those that need not wait.)
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time

import zmq

__all__ = ["new_socket", "terminate", "wait"]

#: Batches that wait in one direction of a link; with what travels between, the bound of its memory
#: is a few hundred batches of at most ``MAX_BATCH``. Policy: the sender waits.
HIGH_WATER = 100

_lock = threading.Lock()
_context: zmq.Context[zmq.Socket[bytes]] | None = None  # guarded by _lock


def _shared_context() -> zmq.Context[zmq.Socket[bytes]]:
    """The context of this process, made on first use; contexts do not survive a fork."""
    global _context
    with _lock:
        if _context is None:
            _context = zmq.Context()
            _context.set(zmq.MAX_SOCKETS, 4096)
        return _context


def terminate() -> None:
    """Let what closed sockets still have to send leave, as long as their LINGER allows
    (zmq_ctx_term(3)); without it, it ends with the process. No thread may use a socket any more."""
    global _context
    with _lock:
        context, _context = _context, None
    if context is not None:
        context.destroy()


def _forget_after_fork() -> None:
    # The child must not touch the parent's sockets, nor wait for a lock that a lost thread holds.
    # pyzmq itself ends neither contexts nor sockets that another pid has made.
    global _context, _lock
    _lock = threading.Lock()
    _context = None


os.register_at_fork(after_in_child=_forget_after_fork)


def new_socket(kind: int) -> zmq.Socket[bytes]:
    """A socket with the bounds that every link here has (``docs/protocol.md``)."""
    socket = _shared_context().socket(kind)
    socket.set(zmq.LINGER, 1000)
    socket.set(zmq.SNDHWM, HIGH_WATER)
    socket.set(zmq.RCVHWM, HIGH_WATER)
    # A backstop against strangers; senders keep to MAX_BATCH or one allowed message.
    socket.set(zmq.MAXMSGSIZE, 1 << 30)
    return socket


@functools.cache
def _is_green() -> bool:
    """Whether gevent has patched this process, which it does before anything else is imported."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def wait(socket: zmq.Socket[bytes], flag: int, timeout: float) -> bool:
    """Wait until a socket can be read or written.

    Args:
        socket: nobody else may use it meanwhile.
        flag: ``zmq.POLLIN`` or ``zmq.POLLOUT``.
        timeout: seconds.

    Returns:
        False if it cannot by then.
    """
    if not _is_green():
        return bool(zmq.zmq_poll([(socket, flag)], int(timeout * 1000)))
    return _wait_green(socket, flag, timeout)


def _wait_green(socket: zmq.Socket[bytes], flag: int, timeout: float) -> bool:
    from gevent.socket import wait_read

    descriptor = int(socket.get(zmq.FD))
    deadline = time.monotonic() + timeout
    # The descriptor is edge-triggered: EVENTS first, and again after each time that it fires.
    while not int(socket.get(zmq.EVENTS)) & flag:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        try:
            wait_read(descriptor, timeout=left, timeout_exc=TimeoutError())
        except TimeoutError:
            continue
    return True
