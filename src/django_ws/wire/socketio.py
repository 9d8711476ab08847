"""What clients of Socket.IO break off over, so that neither side of the wire lets it through."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_ATTACHMENTS", "RESERVED"]

#: Attachments of one packet, as socket.io-parser has it.
MAX_ATTACHMENTS: Final = 10

#: Names that events may not have, since its library has them for what happens to it.
RESERVED: Final = frozenset(
    ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
)
