"""The process from which multiprocess mode forks one child per connection.

Forked from the worker before that has a thread, a socket or a database connection, with Django and
the handlers loaded, so a child is warm at once and inherits nothing that it could break.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NoReturn

from .. import hygiene
from .base import CannotStart

__all__ = ["Template"]

logger = logging.getLogger("django_ws.worker")

#: Request: key. Report: key, pid (0: no process could be made), wait status (-1: it has started).
_REQUEST = struct.Struct("!Q")
_REPORT = struct.Struct("!Qqi")

#: Seconds that the template has to end its children and itself.
CLOSE_TIMEOUT = 5.0

#: Signals that the supervisor acts on, and nobody else (see ``supervisor/boot.py``).
PASSED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_Handler = Callable[[int, FrameType | None], Any] | int | None

#: Of Linux' prctl(2).
PR_SET_PDEATHSIG = 1


class Template:
    """The worker's end. Used by one thread to :meth:`request`, by one to read :meth:`reports`."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self._socket = sock
        self.pid = pid

    @classmethod
    def fork(cls, child: Callable[[socket.socket], None], close: list[int]) -> Template:
        """Fork the template; call it in a process with one thread.

        Args:
            child: what each connection's process runs; it gets its end of the socket pair.
            close: descriptors that the template must not keep.

        Raises:
            CannotStart: There are other threads.
        """
        hygiene.end_of_process()
        _refuse_threads()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = _fork()
        if not pid:
            _be_template(theirs, child, [ours.fileno(), *close])
        theirs.close()
        return cls(ours, pid)

    def request(self, key: int, end: socket.socket) -> None:
        """Ask for a process that gets ``end``; what became of it is reported under ``key``.

        Raises:
            OSError: The template is gone.
        """
        socket.send_fds(self._socket, [_REQUEST.pack(key)], [end.fileno()])

    def fileno(self) -> int:
        """For a selector that waits for reports."""
        return self._socket.fileno()

    def report(self) -> tuple[int, int, int] | None:
        """The next report: key, pid, wait status or -1 for a start; ``None`` at the end."""
        try:
            data = self._socket.recv(_REPORT.size)
        except ConnectionError:  # it was killed, with requests still unread
            data = b""
        if not data:
            return None
        key, pid, status = _REPORT.unpack(data)
        return key, pid, status

    def close(self) -> None:
        """Let the template end, and with it whatever children still run."""
        self._socket.close()
        deadline = time.monotonic() + CLOSE_TIMEOUT
        with contextlib.suppress(ChildProcessError):
            while not os.waitpid(self.pid, os.WNOHANG)[0]:
                if time.monotonic() > deadline:
                    os.kill(self.pid, signal.SIGKILL)
                    os.waitpid(self.pid, 0)
                    return
                time.sleep(0.01)


def _refuse_threads() -> None:
    """A fork takes no thread along, but the locks that they have just then, for ever."""
    # Not threading.enumerate(), which misses those that `_thread` started.
    others = sorted(set(sys._current_frames()) - {threading.get_ident()})
    if not others:
        return
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    raise CannotStart(
        "--multiprocess forks processes, which is not safe while other threads run, and "
        f"{len(others)} do: {', '.join(names.get(ident, 'unnamed') for ident in others)}. Start "
        "threads where they are needed first (in a hook, say), and not when modules are imported "
        "or in AppConfig.ready()."
    )


def _fork() -> int:
    """``os.fork()`` for a process that goes with its parent and leaves signals to the supervisor,
    unlike those that hooks fork."""
    handlers = {number: signal.getsignal(number) for number in PASSED}
    parent = os.getpid()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED)
    try:
        pid = os.fork()
        if not pid:
            _go_with(parent, handlers)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def _go_with(parent: int, handlers: Mapping[signal.Signals, _Handler]) -> None:
    """Be killed when ``parent`` ends, even if stopped, or in a hook that keeps the GIL: nothing may
    run on here while another worker has the connections already. Elsewhere than on Linux the end of
    the socket to the worker has to do.

    Args:
        handlers: the parent's, of the signals that forking has given back.
    """
    for number, handler in handlers.items():
        signal.signal(number, handler)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it ended before


def _be_template(
    requests: socket.socket, child: Callable[[socket.socket], None], close: list[int]
) -> NoReturn:
    """Be the template."""
    code = 1
    try:
        for descriptor in close:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        _serve(requests, child)
        code = 0
    except BaseException:
        logger.exception("the template process failed")
    finally:
        logging.shutdown()
        os._exit(code)


def _serve(requests: socket.socket, child: Callable[[socket.socket], None]) -> None:
    """Fork on request, report ends, until the worker's end is closed."""
    wake_in, wake_out = os.pipe()
    os.set_blocking(wake_out, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
    children: dict[int, int] = {}  # pid to key
    # Not sent with a wait: the worker may itself be waiting for a request to be taken. Bounded by
    # the children.
    reports: deque[bytes] = deque()
    while True:
        _tell(requests, reports)
        readable, _, _ = select.select(
            [requests.fileno(), wake_in], [requests.fileno()] if reports else [], [], 5.0
        )
        if wake_in in readable:
            os.read(wake_in, 4096)
            _reap(children, reports)
        if requests.fileno() not in readable:
            continue
        try:
            data, descriptors, _, _ = socket.recv_fds(requests, _REQUEST.size, 1)
        except ConnectionError:  # the worker was killed, with reports still unread
            data = b""
        if not data:
            break
        (key,) = _REQUEST.unpack(data)
        end = socket.socket(fileno=descriptors[0])
        try:
            pid = _fork()
        except OSError as error:
            logger.error("no process for a new connection: %s", error)
            reports.append(_REPORT.pack(key, 0, -1))
        else:
            if not pid:
                _become(child, end, [requests.fileno(), wake_in, wake_out])
            children[pid] = key
            reports.append(_REPORT.pack(key, pid, -1))
        end.close()
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in children:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _reap(children: dict[int, int], reports: deque[bytes]) -> None:
    while children:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        key = children.pop(pid, 0)
        if key:
            reports.append(_REPORT.pack(key, pid, status))


def _tell(requests: socket.socket, reports: deque[bytes]) -> None:
    """Send as many reports as the worker takes now."""
    with contextlib.suppress(BlockingIOError, ConnectionError):  # its end is seen by receiving
        while reports:
            requests.send(reports[0], socket.MSG_DONTWAIT)
            reports.popleft()


def _become(
    child: Callable[[socket.socket], None], end: socket.socket, close: list[int]
) -> NoReturn:
    """Be a connection's process."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in close:
            os.close(descriptor)
        child(end)
        code = 0
    except BaseException:
        logger.exception("a connection's process failed")
    finally:
        # Not sys.exit(): what the template would do at its end is not the child's to do.
        logging.shutdown()
        os._exit(code)
