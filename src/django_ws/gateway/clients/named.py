"""Named events for clients that know nothing but messages. Pure."""

from __future__ import annotations

from ...wire.messages import TEXT
from ..shared import Shared
from .socketio import to_json

__all__ = ["as_message", "plain_data"]


def as_message(name: str, args: bytes) -> bytes:
    """A named event as JSON.

    Args:
        name: of the event.
        args: JSON list of its arguments.
    """
    return b'{"event":%s,"args":%s}' % (to_json(name), args)


def plain_data(message: Shared) -> bytes:
    """What a publication looks like. Bytes fit into no JSON, and come without the event's name."""
    if not message.event or message.opcode != TEXT:
        return message.data
    value = message.data if message.json else to_json(message.data.decode())
    return as_message(message.event, b"[%s]" % value)
