"""What stands in the server and goes through its channels, as bytes. Pure.

A publication is ``offset time epoch opcode json len(event) len(exclude)\\n`` with event, excluded
connection and payload after it: scripts write that, too. Time is in microseconds; the epoch is
``-`` where there is no history.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ..wire.messages import Expel, Present, Publication, Publish, Recheck

__all__ = [
    "Entry",
    "FormError",
    "Spread",
    "decode_spread",
    "encode_spread",
    "head",
    "payload",
    "present",
    "read_entry",
]

#: What concerns connections wherever they are.
Spread = Publish | Expel | Recheck

_encoder = msgspec.msgpack.Encoder()
_spreads: msgspec.msgpack.Decoder[Spread] = msgspec.msgpack.Decoder(Spread)


class FormError(ValueError):
    """It is nothing that we have written."""


class Entry(NamedTuple):
    """A publication with what belongs to it.

    Attributes:
        epoch: of its offset; empty without history.
        exclude: id of the connection that does not get it; empty for none.
        micros: when it was published.
    """

    publication: Publication
    epoch: str
    exclude: str
    micros: int


def head(opcode: int, json: bool, event: str, exclude: str) -> bytes:
    """The part that goes with every publication, from the opcode on."""
    return b" %d %d %d %d\n" % (opcode, json, len(event.encode()), len(exclude.encode()))


def payload(event: str, exclude: str, data: bytes) -> bytes:
    """What comes after the head."""
    return b"%b%b%b" % (event.encode(), exclude.encode(), data)


def read_entry(data: bytes) -> Entry:
    """Take a publication apart.

    Raises:
        FormError: It is none.
    """
    try:
        line, _, rest = data.partition(b"\n")
        offset, micros, epoch, opcode, json, events, excludes = line.split(b" ")
        event, begin = int(events), int(events) + int(excludes)
        time = int(micros)
        publication = Publication(
            int(offset),
            int(opcode),
            rest[begin:],
            rest[:event].decode() if event else "",
            json == b"1",
            time / 1e6,
        )
        named = "" if epoch == b"-" else epoch.decode()
        return Entry(publication, named, rest[event:begin].decode(), time)
    except ValueError as error:
        raise FormError(f"no publication: {error}") from None


def present(id: bytes, value: bytes) -> tuple[int, Present]:
    """A connection in a group, as :data:`.scripts.ENTER` writes it, with its place in the order.

    Raises:
        FormError: It is none.
    """
    try:
        line, _, rest = value.partition(b"\n")
        since, order, size = line.split(b" ")
        length = int(size)
        user, info = rest[:length].decode(), rest[length:]
        return int(order), Present(id.decode(), user, float(since), info)
    except ValueError as error:
        raise FormError(f"nobody present: {error}") from None


def encode_spread(message: Spread) -> bytes:
    """What concerns connections wherever they are, for the way."""
    return _encoder.encode(message)


def decode_spread(data: bytes) -> Spread:
    """Take it apart.

    Raises:
        FormError: It is none, or one of a later release.
    """
    try:
        return _spreads.decode(data)
    except msgspec.MsgspecError as error:
        raise FormError(f"nothing to be spread: {error}") from None
