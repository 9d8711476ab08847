"""Which zmq this process uses, and its context.

Under gevent it is ``zmq.green``, whose blocking calls yield to other greenlets. One context serves
a process; a fork starts without one, since contexts do not survive it (pyzmq, "Thread safety").
"""

from __future__ import annotations

import os
import sys
import threading

import zmq

__all__ = ["context", "is_green", "new_socket"]

_lock = threading.Lock()
_context: zmq.Context[zmq.Socket[bytes]] | None = None  # guarded by _lock


def is_green() -> bool:
    """Whether gevent has patched this process's threads."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def context() -> zmq.Context[zmq.Socket[bytes]]:
    """The context of this process, made on first use."""
    global _context
    with _lock:
        if _context is None:
            if is_green():
                from zmq import green

                _context = green.Context()
            else:
                _context = zmq.Context()
            assert _context is not None
            _context.set(zmq.MAX_SOCKETS, 4096)
        return _context


def _forget_after_fork() -> None:
    # The child must not touch the parent's sockets, nor wait for a lock that a lost thread holds.
    # pyzmq itself ends neither contexts nor sockets that another pid has made.
    global _context, _lock
    _lock = threading.Lock()
    _context = None


os.register_at_fork(after_in_child=_forget_after_fork)


def new_socket(kind: int) -> zmq.Socket[bytes]:
    """A socket with the bounds that every link here has (``docs/protocol.md``)."""
    socket = context().socket(kind)
    socket.set(zmq.LINGER, 1000)
    socket.set(zmq.SNDHWM, 1000)
    socket.set(zmq.RCVHWM, 1000)
    # A backstop against strangers; senders keep to MAX_BATCH or one allowed message.
    socket.set(zmq.MAXMSGSIZE, 1 << 30)
    return socket
