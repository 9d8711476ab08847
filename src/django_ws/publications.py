"""What is published, and what is told of it: values, and the kinds of messages."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.functional import Promise

from .wire import messages as wire

__all__ = [
    "Encoded",
    "History",
    "Position",
    "Presence",
    "Publication",
    "decode",
    "encode",
    "history",
    "position_of",
    "presence",
    "publication",
    "published",
]

# The default separators and escapes, as of ``send_json``.
_to_json = DjangoJSONEncoder(allow_nan=False).encode


class Position(NamedTuple):
    """How far a group has come; a pair of offset and epoch wherever one is taken.

    Attributes:
        offset: of its last publication; 0 in a group without history.
        epoch: names the memory that counts: positions under different ones cannot be compared.
    """

    offset: int
    epoch: str


def position_of(since: Sequence[object]) -> Position:
    """Check a position that may be a stranger's word.

    What a gateway could not read would take the others of its batch along.

    Raises:
        ValueError: It is none.
    """
    try:
        offset, epoch = since
        if isinstance(offset, (int, str)) and isinstance(epoch, str):
            epoch.encode()
            found = Position(int(offset), epoch)
            if 0 <= found.offset < 2**63:
                return found
    except (TypeError, ValueError):
        pass
    raise ValueError(f"since is a pair of offset and epoch, not {since!r}")


@dataclass(frozen=True, slots=True)
class Publication:
    """A message that was published.

    Attributes:
        group: where; empty if it went to a user.
        offset: its number in the group; 0 in a group without history.
        epoch: of the offset.
        data: ``str``, ``bytes``, or what JSON gives back of anything else.
        event: name of its event; ``None`` for a plain message.
        time: seconds since the epoch (of Unix) at which it was published.
        user: primary key of the user it went to, as text; empty if it went to a group.
    """

    group: str
    offset: int
    epoch: str
    data: object
    event: str | None = None
    time: float = 0.0
    user: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """Publications of a group.

    Attributes:
        publications: the oldest first.
        offset, epoch: how far the group has come, which may be beyond the last publication here.
        complete: nothing is missing between the position that was asked for and the first
            publication here; False if none was.
    """

    publications: list[Publication]
    offset: int
    epoch: str
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Presence:
    """One connection in a group.

    Attributes:
        id: the connection's, as ``handler.id``.
        user: primary key of its user, as text; empty for nobody.
        since: seconds since the epoch (of Unix) at which it joined.
        info: what its handler has assigned to ``info``; ``None`` if nothing.
    """

    id: str
    user: str
    since: float
    info: object


class Encoded(NamedTuple):
    """A message as the wire has it; see :class:`.wire.messages.Publish`."""

    opcode: int
    data: bytes
    json: bool


def encode(message: object) -> Encoded:
    """Turn what somebody publishes into bytes.

    Raises:
        TypeError: ``DjangoJSONEncoder`` does not take it.
        ValueError: It cannot be encoded: half a surrogate pair, ``nan``, a circle.
    """
    if isinstance(message, (str, Promise)):
        # str.__str__: SafeString's own __str__ returns a SafeString.
        return Encoded(wire.TEXT, str.__str__(str(message)).encode(), False)
    if isinstance(message, (bytes, bytearray, memoryview)):
        return Encoded(wire.BINARY, bytes(message), False)
    return Encoded(wire.TEXT, _to_json(message).encode(), True)


def decode(message: Encoded) -> object:
    """What :attr:`Publication.data` is of a message."""
    if message.json:
        return json.loads(message.data)
    return message.data if message.opcode == wire.BINARY else message.data.decode()


def publication(group: str, epoch: str, found: wire.Publication) -> Publication:
    """A publication as the wire tells of it."""
    return Publication(
        group,
        found.offset,
        epoch,
        decode(Encoded(found.opcode, found.data, found.json)),
        found.event or None,
        found.time,
    )


def published(draft: wire.Publish, position: wire.Position) -> Publication:
    """What was published just now."""
    return Publication(
        draft.group,
        position.offset,
        position.epoch,
        decode(Encoded(draft.opcode, draft.data, draft.json)),
        draft.event or None,
        time.time(),
        draft.user,
    )


def history(group: str, found: wire.Recent) -> History:
    """A history as the wire tells of it."""
    position = found.position
    return History(
        [publication(group, position.epoch, each) for each in found.publications],
        position.offset,
        position.epoch,
        found.complete,
    )


def presence(found: Sequence[wire.Present]) -> list[Presence]:
    """Who is in a group, as the wire tells of it."""
    return [
        Presence(each.id, each.user, each.since, json.loads(each.info) if each.info else None)
        for each in found
    ]
