"""A message that goes to many clients, and what has been made of it for their kinds."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from ..wire.messages import Publication

__all__ = ["Shared", "shared"]


class Shared:
    """One publication on its way to the members of a group.

    Clients of one kind share one encoding: it is made for the first of them.

    Args:
        group: where it was published.
        opcode: ``TEXT`` or ``BINARY``.
        data: the payload.
        event: name of the event; empty for a plain message.
        json: ``data`` is the JSON of a value that is no ``str``.
        offset, epoch: its place in the group's history; 0 and empty without one.
        past: it comes from the history.
    """

    __slots__ = (
        "_encodings",
        "data",
        "epoch",
        "event",
        "group",
        "json",
        "offset",
        "opcode",
        "past",
    )

    def __init__(
        self,
        group: str,
        opcode: int,
        data: bytes,
        event: str = "",
        json: bool = False,
        offset: int = 0,
        epoch: str = "",
        past: bool = False,
    ) -> None:
        self.group = group
        self.opcode = opcode
        self.data = data
        self.event = event
        self.json = json
        self.offset = offset
        self.epoch = epoch
        self.past = past
        self._encodings: dict[Hashable, bytes] = {}

    def encoded(self, kind: Hashable, encode: Callable[[Shared], bytes]) -> bytes:
        """What is sent to clients of one kind.

        Args:
            kind: names the encoding.
            encode: makes it.
        """
        found = self._encodings.get(kind)
        if found is None:
            found = self._encodings[kind] = encode(self)
        return found


def shared(group: str, publication: Publication, epoch: str, past: bool = False) -> Shared:
    """A publication that the engine delivers."""
    return Shared(
        group,
        publication.opcode,
        publication.data,
        publication.event,
        publication.json,
        publication.offset,
        epoch if publication.offset else "",
        past,
    )
