"""What another worker needs in order to go on with a connection: its snapshot."""

from __future__ import annotations

from typing import Any

import msgspec

from ..base import WebSocketHandler
from ..wire.messages import Snapshot
from .attributes import Packed, attributes_of, why_not
from .request import HandshakeRequest
from .state import decode_state, encode_state

__all__ = ["Handover", "join", "split"]

#: Begins a MessagePack array of two, where the state alone begins as a map.
_PAIR = b"\x92"
_NOTHING = b"\x80"  # an empty map
_pair = msgspec.msgpack.Decoder(tuple[msgspec.Raw, msgspec.Raw])
_attributes = msgspec.msgpack.Decoder(dict[str, Any])


def join(state: bytes, attributes: bytes) -> bytes:
    """What the snapshot has as its state; without attributes that is the state alone."""
    return _PAIR + (state or _NOTHING) + attributes if attributes else state


def split(data: bytes) -> tuple[bytes, bytes]:
    """State and attributes of what :func:`join` made."""
    if not data.startswith(_PAIR):
        return data, b""
    try:
        state, attributes = _pair.decode(data)
    except msgspec.MsgspecError:
        return data, b""  # fails where the handler asks for it, and can be told so
    return (b"" if bytes(state) == _NOTHING else bytes(state)), bytes(attributes)


class Handover:
    """State, attributes and user of one connection, and what of them the gateway keeps.

    Used by whoever runs the connection's hooks.

    Args:
        handler_class: the connection's.

    Attributes:
        movable: another worker can go on with it, as far as the gateway knows.
        used: there is something to look at after a hook, besides ``handler.__dict__``.
        user: names the user that is loaded; empty if none is.
    """

    __slots__ = (
        "_interrupted",
        "_kept",
        "_known",
        "_packed",
        "_state",
        "_state_data",
        "movable",
        "used",
        "user",
    )

    def __init__(self, handler_class: type[WebSocketHandler]) -> None:
        self._known = attributes_of(handler_class)
        self.used = bool(self._known.slots)
        self._interrupted = False
        self.movable = True
        self.user = ""
        self._state: dict[str, Any] | None = None
        self._state_data = b""
        self._packed: Packed | None = None
        self._kept = b""  # what the gateway has of state and attributes

    @property
    def state(self) -> dict[str, Any]:
        """``handler.state``."""
        self.used = True
        if self._state is None:
            self._state = decode_state(self._state_data)
        return self._state

    @property
    def snapshot(self) -> Snapshot:
        """As the gateway has it."""
        return Snapshot(self._kept, self.user, self.movable)

    def interrupt(self) -> None:
        """A loop was asked to end, which only ``on_restore`` can take up again."""
        self._interrupted = self.used = True

    def take(self, snapshot: Snapshot) -> None:
        """Continue what another worker had; :meth:`furnish` follows."""
        self._kept = snapshot.state
        self._state_data, packed = split(snapshot.state)
        if packed:
            self._packed = Packed(packed)
            self.used = True
        self.user = snapshot.user

    def furnish(self, handler: WebSocketHandler) -> None:
        """Give a new instance the attributes of the former one."""
        if self._packed is not None:
            self._known.give(handler, _attributes.decode(self._packed.data))

    def save(
        self,
        handler: WebSocketHandler,
        request: HandshakeRequest | None,
        *,
        state: bool = True,
        at_once: bool = False,
    ) -> Snapshot | None:
        """Look what a hook has changed.

        Args:
            request: the connection's, if anybody has asked for it.
            state: ``False`` to leave the state as it was.
            at_once: look also at attributes that were too large a moment ago.

        Returns:
            The new snapshot, if it differs from the last one.

        Raises:
            TypeError, ValueError, RuntimeError: The state holds what it cannot.
        """
        packed = self._packed
        known = self._known
        if packed is None and (handler.__dict__ or known.slots):
            packed = self._packed = Packed()
            self.used = True
        if packed is not None:
            packed.pack(known.of(handler), at_once)
        movable = known.restores or (not self._interrupted and (packed is None or packed.movable))
        state_data, user = self._state_data, self.user
        if self._state is not None and state:
            state_data = encode_state(self._state, state_data)
        if request is not None:
            user = request.user_key()
        kept = join(state_data, packed.data if packed is not None else b"")
        self._state_data = state_data
        if kept == self._kept and user == self.user and movable is self.movable:
            return None
        self._kept, self.user, self.movable = kept, user, movable
        return self.snapshot

    def why_not(self, handler: WebSocketHandler) -> str:
        """Why nobody else can go on with the connection."""
        if self._interrupted:
            return "it was ended in a loop"
        return why_not(self._known.of(handler))
