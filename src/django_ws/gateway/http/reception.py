"""Takes sockets as they are accepted, and counts each until it is closed, whatever it is used for.

What one address may hold is bounded from the first packet on, and descriptors are kept back for
the links to workers: libzmq ends the process when it gets none.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from tornado.netutil import ssl_wrap_socket

from ..logs import Journal
from .accepting import cut_off
from .answers import Answers
from .caps import FULL, Caps, Descriptors
from .refusals import Refusal
from .requests import plain_address
from .streams import SecureStream, Stream

__all__ = ["Reception"]


class Reception:
    """Lets sockets in, or turns them away.

    Args:
        caps: count them.
        descriptors: what is kept back from them.
        tls: None without TLS.
        serve: gets those that may stay.
        answers: tells the others.
        journal: hears of the others.
        max_header_size: for the log.
        read_ahead: bytes that may be read ahead of a request.
    """

    def __init__(
        self,
        caps: Caps,
        descriptors: Descriptors,
        tls: ssl.SSLContext | None,
        serve: Callable[[Stream], None],
        answers: Answers,
        journal: Journal,
        *,
        max_header_size: int,
        read_ahead: int,
    ) -> None:
        self._caps = caps
        self._descriptors = descriptors
        self._tls = tls
        self._serve = serve
        self._answers = answers
        self._journal = journal
        self._max_header_size = max_header_size
        self._read_ahead = read_ahead
        self._streams: set[Stream] = set()
        #: Those that are told that there is no room.
        self._excess: set[Stream] = set()

    def take(self, sock: socket.socket, client: tuple[str, int]) -> None:
        """Let a socket in, or turn it away.

        Raises:
            OSError: The peer is gone; the socket is the caller's.
        """
        address = plain_address(client[0])
        refusal = self._caps.enter(address)
        if refusal is None and sock.fileno() >= self._descriptors.highest:
            self._caps.leave(address)
            refusal = FULL
        if refusal is not None:
            self._turn_away(sock, (address, client[1]), refusal)
            return
        try:
            stream = self._stream(sock, (address, client[1]))
        except OSError:
            self._caps.leave(address)
            raise
        self._streams.add(stream)
        self._serve(stream)

    def enter(self, address: str) -> Refusal | None:
        """Count something that lives as long as a socket, such as what is polled for."""
        return self._caps.enter(address)

    def left(self, address: str) -> None:
        """A socket that had moved on is closed."""
        self._caps.leave(address)

    @property
    def staying(self) -> int:
        """Sockets that have not moved on: of requests that are read or wait for an answer."""
        return len(self._streams)

    def close(self) -> None:
        """Close all sockets that have not moved on."""
        for stream in [*self._streams, *self._excess]:
            stream.close()

    def _stream(self, sock: socket.socket, client: tuple[str, int]) -> Stream:
        if self._tls is None:
            return Stream(sock, client, self, self._read_ahead)
        wrapped = ssl_wrap_socket(sock, self._tls, server_side=True, do_handshake_on_connect=False)
        return SecureStream(wrapped, client, self, self._read_ahead)

    def _turn_away(self, sock: socket.socket, client: tuple[str, int], refusal: Refusal) -> None:
        """Say so, and wait for a few at a time; under TLS it costs a handshake to be heard."""
        if self._tls is not None:
            self._answers.note(client[0], refusal)
            sock.close()
            return
        if len(self._excess) >= self._descriptors.excess:
            self._answers.note(client[0], refusal)
            cut_off(sock, refusal.response(debug=False))
            return
        stream = Stream(sock, client, self, self._read_ahead)
        self._excess.add(stream)
        self._answers.refuse(stream, client[0], refusal)

    # ------------------------------------------------------------------ for streams

    def oversize(self, stream: Stream) -> None:
        limit = self._max_header_size
        why = f"the request's headers are over {limit} bytes; too many cookies?"
        self._journal.refused("refused_headers", stream.client[0], 431, why)

    def closed(self, stream: Stream) -> None:
        if stream in self._excess:
            self._excess.discard(stream)
            return
        self._streams.discard(stream)
        self._caps.leave(stream.client[0])

    def moved(self, stream: Stream) -> None:
        self._streams.discard(stream)
