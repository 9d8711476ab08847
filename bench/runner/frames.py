"""Frames, precomputed: what a client sends and what it expects, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = [
    "CLOSE",
    "MESSAGE",
    "TEXT",
    "Dialect",
    "answer",
    "frame",
    "numbered",
    "plain",
    "socket_io",
]

MASK = b"\x37\xfa\x21\x3d"
TEXT = 0x81

#: The payload of every message: long enough to be one, short enough for a frame of two bytes more.
MESSAGE = b"x" * 64


def frame(payload: bytes, first: int = TEXT) -> bytes:
    """A client's frame (RFC 6455 §5.2), masked."""
    masked = bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))
    return bytes((first, 0x80 | len(payload))) + MASK + masked


def answer(payload: bytes) -> bytes:
    """A server's frame."""
    return bytes((TEXT, len(payload))) + payload


#: A close frame with code 1000.
CLOSE = frame(b"\x03\xe8", 0x88)


@dataclass(frozen=True)
class Dialect:
    """How a scenario looks on the wire of one kind of server.

    Attributes:
        path: what to ask for.
        message: the frame that a client sends.
        answer: the frame that it expects.
        steps: frames to send after the upgrade, each once a message came that starts as given.
        cookie: a header's value; empty for none.
        subprotocol: that it asks for; its messages are numbered, and ``message`` is not sent.
        greeting: the frame that it sends right after the upgrade.
    """

    path: str
    message: bytes
    answer: bytes
    steps: tuple[tuple[bytes, bytes], ...] = ()
    cookie: str = ""
    subprotocol: str = ""
    greeting: bytes = b""


def plain(scenario: str, cookie: str = "") -> Dialect:
    """A message is a frame."""
    path = "/socket/" + ("" if scenario == "echo" else scenario)
    return Dialect(path, frame(MESSAGE), answer(MESSAGE), (), cookie)


def numbered(scenario: str, cookie: str = "") -> Dialect:
    """``django-ws.v1``: envelopes; a session begins with what both say of themselves."""
    return replace(
        plain(scenario, cookie),
        steps=((b'["welcome"', b""),),
        subprotocol="django-ws.v1",
        greeting=frame(b'["hello",{}]'),
    )


def socket_io(scenario: str) -> Dialect:
    """Engine.IO 4 without polling, Socket.IO 5: a message is an event."""

    def event(name: str) -> bytes:
        return b'42["%s","%s"]' % (name.encode(), MESSAGE)

    steps = [(b"0{", frame(b"40")), (b"40{", b"")]
    if scenario == "fan":
        steps = [(b"0{", frame(b"40")), (b"40{", frame(event("join"))), (b"42[", b"")]
    return Dialect(
        "/socket.io/?EIO=4&transport=websocket",
        frame(event(scenario)),
        answer(event("echo")),
        tuple(steps),
    )
