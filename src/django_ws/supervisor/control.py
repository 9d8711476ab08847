"""The control channel between the supervisor and one child: JSON objects, one a line.

The supervisor makes a pair of Unix sockets and hands one end to the child, whose number is in the
environment. The end of the stream tells each side that the other one is gone, however it went.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

__all__ = ["CONTROL_FD", "MAX_LINE", "MAX_UNSENT", "Channel"]

logger = logging.getLogger("django_ws.supervisor")

#: Environment variable with the number of the child's descriptor.
CONTROL_FD = "DJANGO_WS_CONTROL_FD"

#: Bytes that wait for a peer that does not read. Policy: drop the newest message, and count it.
MAX_UNSENT = 4 * 1024 * 1024

#: Bytes of one message. A peer that sends more is broken: the channel counts as ended.
MAX_LINE = 16 * 1024 * 1024

_CHUNK = 64 * 1024
_CHUNKS_A_TURN = 64


class Channel:
    """One end of a control channel. ``send`` is safe in any thread; ``receive`` belongs to one.

    Nothing here blocks. What the kernel does not take is kept and sent with the next ``send``,
    ``receive`` or ``flush``; whoever waits with a selector can ask :attr:`unsent` whether to wait
    for the descriptor to become writable, too.

    Args:
        sock: a connected stream socket, which the channel then owns.

    Attributes:
        dropped: messages that :data:`MAX_UNSENT` cost.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._lock = threading.Lock()
        self._unsent = bytearray()  # guarded by _lock
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
            return len(self._unsent)

    def send(self, message: dict[str, object]) -> bool:
        """Send one message, without waiting.

        Returns:
            False if it was dropped: the peer is gone, or has not read :data:`MAX_UNSENT` bytes.
        """
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            if self._socket.fileno() < 0:
                return False
            if len(self._unsent) + len(line) > MAX_UNSENT:
                self.dropped += 1
                return False
            self._unsent += line
            return self._flush()

    def flush(self) -> bool:
        """Pass on what the kernel takes by now. False if the peer is gone."""
        with self._lock:
            return self._flush()

    def _flush(self) -> bool:
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent[:_CHUNK])
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self._unsent.clear()
                return False
            del self._unsent[:sent]
        return True

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


def _decode(line: bytes) -> dict[str, object] | None:
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        logger.error("ignored a control message that is no JSON object")
        return None
    return message
