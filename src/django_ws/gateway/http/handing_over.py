"""How a connection gets its bytes once Tornado has served the upgrade request.

Without TLS the socket moves on to uvloop's own transport. TLS cannot move: there
:class:`StreamTransport` makes an asyncio transport of Tornado's stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from tornado.iostream import StreamClosedError

from .streams import SecureStream, Stream

__all__ = ["StreamTransport", "hand_over"]

#: Bytes that are read in one go.
CHUNK = 64 * 1024


async def hand_over(stream: Stream, make: Callable[[bytes], asyncio.Protocol]) -> None:
    """Let a protocol continue a stream that nobody else uses any more.

    The socket is not duplicated, so this works with no descriptor left.

    Args:
        stream: of a client; its owner hears that it moved, or, if this fails, of its end.
        make: makes the protocol; its argument is what the peer has already sent.

    Raises:
        OSError: The peer is gone.
    """
    if stream.closed():
        raise ConnectionResetError
    if isinstance(stream, SecureStream):
        stream.move()
        StreamTransport(stream, make(b""))
        return
    # One read takes everything that is buffered; if nothing is, it may wait and is given up.
    future = asyncio.ensure_future(stream.read_bytes(stream.max_buffer_size, partial=True))
    early = future.result() if future.done() and not future.exception() else b""
    if stream.closed():
        raise ConnectionResetError
    sock = stream.give_away()
    try:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: make(early), sock)
    except BaseException:
        sock.close()
        stream.owner.closed(stream)
        raise
    stream.owner.moved(stream)


class StreamTransport(asyncio.Transport):
    """An asyncio transport over a Tornado stream, as far as a connection needs one.

    Args:
        stream: an open stream that nobody else reads.
        protocol: gets ``connection_made`` at once.
    """

    def __init__(self, stream: Stream, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._stream = stream
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._queued = 0
        self._high = CHUNK
        self._over = False
        self._closing = False
        self._paused = False
        self._reading = False
        #: What came in although reading was paused meanwhile.
        self._held = b""
        stream.set_nodelay(True)
        stream.set_close_callback(self._lost)
        protocol.connection_made(self)
        self._read()

    # ------------------------------------------------------------------ reading

    def _read(self) -> None:
        if self._reading or self._paused or self._closing:
            return
        try:
            future = asyncio.ensure_future(self._stream.read_bytes(CHUNK, partial=True))
        except StreamClosedError:
            return  # the close callback follows
        self._reading = True
        future.add_done_callback(self._received)

    def _received(self, future: asyncio.Future[bytes]) -> None:
        self._reading = False
        if future.cancelled() or future.exception() is not None or self._closing:
            return
        if self._paused:
            self._held = future.result()
            return
        self._protocol.data_received(future.result())
        self._read()

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if not self._paused:
            return
        self._paused = False
        if self._held:
            self._loop.call_soon(self._deliver_held)
        else:
            self._read()

    def _deliver_held(self) -> None:
        if self._paused or self._closing:
            return
        data, self._held = self._held, b""
        if data:
            self._protocol.data_received(data)
        self._read()

    # ------------------------------------------------------------------ writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        try:
            future = asyncio.ensure_future(self._stream.write(bytes(data)))
        except StreamClosedError:
            return
        self._queued += len(data)
        future.add_done_callback(partial(self._written, len(data)))
        if self._queued > self._high and not self._over:
            self._over = True
            self._protocol.pause_writing()

    def _written(self, size: int, future: asyncio.Future[None]) -> None:
        self._queued -= size
        if future.cancelled() or future.exception() is not None:
            return
        if self._over and self._queued <= self._high // 4:
            self._over = False
            self._protocol.resume_writing()
        if self._closing and not self._queued:
            self._stream.close()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = CHUNK if high is None else high

    def get_write_buffer_size(self) -> int:
        return self._queued

    def can_write_eof(self) -> bool:
        return False  # TLS knows no half-closed connection

    # ------------------------------------------------------------------ ending

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True
        if not self._queued:
            self._stream.close()

    def abort(self) -> None:
        self._closing = True
        self._stream.close()

    def _lost(self) -> None:
        self._closing = True
        self._protocol.connection_lost(None)
