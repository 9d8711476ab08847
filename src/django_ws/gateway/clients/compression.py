"""What was negotiated of permessage-deflate (RFC 7692), as one connection uses it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from .framing import Violation

__all__ = ["Compression"]


class Compression:
    """Compresses what goes out and inflates what comes in.

    Args:
        extensions: what was negotiated, at least one.

    Attributes:
        kind: equal for connections whose frames are the same for the same message: those that
            keep nothing from one message to the next and have the same window.
    """

    __slots__ = ("_extensions", "kind")

    def __init__(self, extensions: Sequence[Extension]) -> None:
        self._extensions = extensions
        self.kind: Hashable = self
        parameters = [
            extension.local_max_window_bits
            for extension in extensions
            if isinstance(extension, PerMessageDeflate) and extension.local_no_context_takeover
        ]
        if len(parameters) == len(extensions):
            self.kind = ("deflate", *parameters)

    def frame(self, opcode: int, data: bytes) -> bytes:
        """A whole message as one frame.

        Args:
            opcode: ``TEXT`` or ``BINARY``.
        """
        return Frame(Opcode(opcode), data).serialize(mask=False, extensions=self._extensions)

    def inflate(self, first: int, data: bytes, room: int) -> bytes:
        """What a data frame carries.

        Args:
            first: its first byte.
            data: its payload, as it came.
            room: bytes at most that it may become.

        Raises:
            Violation: It becomes more, or was not compressed as agreed.
        """
        came = Frame(Opcode(first & 0x0F), data, bool(first & 0x80), bool(first & 0x40))
        try:
            for extension in reversed(self._extensions):
                # To zlib, 0 would mean without limit.
                came = extension.decode(came, max_size=max(1, room))
        except PayloadTooBig:
            raise Violation(1009, "message too big") from None
        except ProtocolError as error:
            raise Violation(1002, str(error)) from None
        return bytes(came.data)
