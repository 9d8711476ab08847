"""The control channel between the supervisor and one child: JSON objects, one a line.

The supervisor makes a pair of Unix sockets and hands one end to the child, whose number is in the
environment. The end of the stream tells each side that the other one is gone, however it went.
"""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

__all__ = ["CONTROL_FD", "LAST_WORDS", "MAX_LINE", "MAX_UNSENT", "Channel"]

logger = logging.getLogger("django_ws.supervisor")

#: Environment variable with the number of the child's descriptor.
CONTROL_FD = "DJANGO_WS_CONTROL_FD"

#: Bytes that wait for a peer that does not read: of log records, and as many of all the rest, so
#: that no burst of records keeps out an order. Policy: drop the newest, and count it.
MAX_UNSENT = 4 * 1024 * 1024

#: Bytes of one message. A peer that sends more is broken: the channel counts as ended.
MAX_LINE = 16 * 1024 * 1024

#: Seconds for :meth:`Channel.finish` of a process that cannot start, or ends.
LAST_WORDS = 1.0

_CHUNK = 64 * 1024
_CHUNKS_A_TURN = 64


class Channel:
    """One end of a control channel. ``send`` is safe in any thread; ``receive`` belongs to one.

    Nothing here blocks. What the kernel does not take is kept, orders and reports before log
    records, and sent with the next ``send``, ``receive`` or ``flush``. So whoever waits must also
    wait for the descriptor to become writable while :attr:`unsent` says so, or nothing may ever
    leave: :meth:`wait` does it, and ``on_unsent`` tells those who cannot look each time.

    Args:
        sock: a connected stream socket, which the channel then owns.

    Attributes:
        dropped: messages that :data:`MAX_UNSENT` cost.
        on_unsent: called, in the thread that sends, when something has to wait; set before others
            send.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self.on_unsent: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._begun = bytearray()  # the rest of a line that has left in part; guarded by _lock
        self._orders = _Queue()  # guarded by _lock
        self._records = _Queue()  # guarded by _lock
        self.dropped = 0  # guarded by _lock
        self._received = bytearray()
        self._ended = False

    @classmethod
    def pair(cls) -> tuple[Self, socket.socket]:
        """A channel, and the socket for the other process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(ours), theirs

    @classmethod
    def from_env(cls) -> Self | None:
        """The channel to this process's supervisor; ``None`` without one.

        Only the first call finds it: the variable is removed and the descriptor closed on exec, so
        that no process which this one starts takes itself for the supervisor's child.
        """
        number = os.environ.pop(CONTROL_FD, "")
        if not number.isdigit():
            return None
        try:
            sock = socket.socket(fileno=int(number))
        except OSError:
            return None
        sock.set_inheritable(False)
        return cls(sock)

    def fileno(self) -> int:
        """The descriptor, for selectors and event loops; -1 once closed."""
        return self._socket.fileno()

    @property
    def unsent(self) -> int:
        """Bytes that the kernel has not taken yet."""
        with self._lock:
            return self._unsent()

    def _unsent(self) -> int:
        return len(self._begun) + self._orders.size + self._records.size

    def send(self, message: dict[str, object]) -> bool:
        """Send one message, without waiting. Those with the op ``log`` stand back for all others.

        Returns:
            False if it was dropped: the peer is gone, or has not read :data:`MAX_UNSENT` bytes.
        """
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            if self._socket.fileno() < 0:
                return False
            queue = self._records if message.get("op") == "log" else self._orders
            if queue.size + len(line) > MAX_UNSENT:
                self.dropped += 1
                return False
            queue.put(line)
            sent = self._flush()
            waits = self._unsent() > 0
        if waits and self.on_unsent is not None:
            self.on_unsent()
        return sent

    def flush(self) -> bool:
        """Pass on what the kernel takes by now. False if the peer is gone."""
        with self._lock:
            return self._flush()

    def _flush(self) -> bool:
        while True:
            if not self._begun:
                queue = self._orders if self._orders.size else self._records
                if not queue.size:
                    return True
                self._begun += queue.take()
            try:
                sent = self._socket.send(self._begun[:_CHUNK])
            except (BlockingIOError, InterruptedError):
                return True
            except OSError:
                self._begun.clear()
                self._orders = _Queue()
                self._records = _Queue()
                return False
            del self._begun[:sent]

    def wait(self, timeout: float) -> bool:
        """Wait until something has come, and meanwhile send what could not be sent at once.

        Args:
            timeout: seconds.

        Returns:
            Whether there is something to :meth:`receive`; False may come before the time is over.
        """
        unsent = [self._socket] if self.unsent else []
        readable, writable, _ = select.select([self._socket], unsent, [], timeout)
        if writable:
            self.flush()
        return bool(readable)

    def finish(self, seconds: float) -> None:
        """Send what still waits, for at most so long: the process is about to end."""
        deadline = time.monotonic() + seconds
        while self.flush() and self.unsent:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            select.select([], [self._socket], [], left)

    def receive(self) -> list[dict[str, object]]:
        """The messages that have arrived; an empty list if there are none.

        Raises:
            EOFError: The other end is closed, and everything it sent has been returned.
        """
        self.flush()
        if not self._ended:
            self._read()
        *lines, rest = bytes(self._received).split(b"\n")
        self._received[:] = rest
        if len(rest) > MAX_LINE:
            logger.error("a control message is over %d bytes; closing the channel", MAX_LINE)
            self._received.clear()
            self._ended = True
        messages = [message for line in lines if (message := _decode(line)) is not None]
        if self._ended and not messages:
            raise EOFError("the other end of the control channel is closed")
        return messages

    def _read(self) -> None:
        for _ in range(_CHUNKS_A_TURN):
            try:
                data = self._socket.recv(_CHUNK)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                self._ended = True
                return
            self._received += data

    def close(self) -> None:
        """Close this end; the other one reads its end of file."""
        with self._lock:
            self._socket.close()


class _Queue:
    """Lines in order, and their size in bytes."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self.size = 0

    def put(self, line: bytes) -> None:
        self._lines.append(line)
        self.size += len(line)

    def take(self) -> bytes:
        line = self._lines.popleft()
        self.size -= len(line)
        return line


def _decode(line: bytes) -> dict[str, object] | None:
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        logger.error("ignored a control message that is no JSON object")
        return None
    return message
