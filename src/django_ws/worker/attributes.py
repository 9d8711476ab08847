"""Attributes of a handler's own that move to another worker with its state.

Those of plain types move: what MessagePack gives back as it was. A ``cached_property`` is computed
again, anything else the new instance has to make in ``on_restore``.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from types import MemberDescriptorType
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from django.utils.functional import cached_property

from ..base import WebSocketHandler
from .state import is_plain, what_is_foreign

__all__ = ["MAX_ATTRIBUTES", "Attributes", "Packed", "attributes_of", "why_not"]

#: Bytes of the encoded attributes.
MAX_ATTRIBUTES = 64 * 1024

#: How many times as long as it took, what cannot move is not looked at again: else a large list
#: would cost more than the hooks.
PATIENCE = 100

_encode = msgspec.msgpack.Encoder().encode
_PLAIN = frozenset({type(None), bool, int, float, str, bytes, list, dict})
_NONE = object()
#: What encoding may raise: other types; a too large int; a cycle, or a change by another thread;
#: half of a surrogate pair.
_UNFIT = (TypeError, OverflowError, RuntimeError, ValueError)


class Attributes:
    """What the instances of one handler class keep.

    Attributes:
        slots: names that the class keeps in ``__slots__``, outside of ``__dict__``.
        restores: it has an ``on_restore``, so that it can do without what cannot move.
    """

    __slots__ = ("_cached", "restores", "slots")

    def __init__(self, handler_class: type[WebSocketHandler]) -> None:
        own = {
            name: value
            for kind in reversed(handler_class.__mro__)
            if not issubclass(WebSocketHandler, kind)
            for name, value in vars(kind).items()
        }
        self.restores = handler_class.on_restore is not WebSocketHandler.on_restore
        self.slots = tuple(
            name for name, value in own.items() if isinstance(value, MemberDescriptorType)
        )
        self._cached = frozenset(
            name
            for name, value in own.items()
            if isinstance(value, (functools.cached_property, cached_property))
        )

    def of(self, handler: WebSocketHandler) -> dict[str, Any]:
        """The attributes of an instance that count: all but what is computed again."""
        found = handler.__dict__
        if self._cached and not self._cached.isdisjoint(found):
            found = {
                name: value for name, value in found.copy().items() if name not in self._cached
            }
        if self.slots:
            found = dict(found)
            for name in self.slots:
                if hasattr(handler, name):
                    found[name] = getattr(handler, name)
        return found

    def give(self, handler: WebSocketHandler, attributes: Mapping[str, Any]) -> None:
        """Give a new instance those of the former one, as they lay there: past ``__setattr__`` and
        setters, which have had their say."""
        for name, value in attributes.items():
            if name in self.slots:
                object.__setattr__(handler, name, value)
            else:
                handler.__dict__[name] = value


class Packed:
    """The attributes of one instance as bytes; encoded anew after each hook.

    That is also how a change is noticed: encoding a few attributes costs less (0.2 µs) than any
    comparison that would notice what happened inside a list.

    Attributes:
        data: those that can move, as of the last :meth:`pack`; empty if there are none.
        movable: whether they are all.
    """

    __slots__ = ("_again", "_left_out", "data", "movable")

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.movable = True
        # What is of a plain type and cannot move all the same: too large, or with something else
        # inside. It is passed over until it is another object, or it is time to look again.
        self._left_out: dict[str, Any] = {}
        self._again = 0.0  # time.monotonic()

    def pack(self, attributes: dict[str, Any], at_once: bool = False) -> None:
        """Encode what can move of ``attributes``.

        Args:
            at_once: look at all of them, whatever that costs.
        """
        plain = attributes
        if not self.movable:
            if self._left_out and (at_once or time.monotonic() >= self._again):
                self._left_out = {}
            plain = {
                name: value
                for name, value in attributes.copy().items()
                if type(value) in _PLAIN and self._left_out.get(name, _NONE) is not value
            }
        if not plain:
            self.data, self.movable = b"", not attributes
            return
        try:
            data = _encode(plain)
            if data == self.data:
                self.movable = len(plain) == len(attributes)
                return
            if len(data) <= MAX_ATTRIBUTES and is_plain(plain):
                self.data = data
                self.movable = len(plain) == len(attributes)
                return
        except _UNFIT:
            pass
        self._choose(plain.copy())
        self.movable = len(plain) == len(attributes) and not self._left_out

    def _choose(self, attributes: dict[str, Any]) -> None:
        """Look at each attribute by itself."""
        began = time.monotonic()
        sizes: dict[str, int] = {}
        for name, value in attributes.items():
            if unfit(name, value) is None:
                sizes[name] = len(_encode({name: value}))
                self._left_out.pop(name, None)
            else:
                self._left_out[name] = value
        total = sum(sizes.values())
        while total > MAX_ATTRIBUTES:
            largest = max(sizes, key=lambda name: sizes[name])
            total -= sizes.pop(largest)
            self._left_out[largest] = attributes[largest]
        self.data = _encode({name: attributes[name] for name in sizes}) if sizes else b""
        now = time.monotonic()
        self._again = now + PATIENCE * (now - began)


def unfit(name: str, value: object) -> str | None:
    """Why an attribute cannot move; ``None`` if it can."""
    try:
        data = _encode(value)
        foreign = what_is_foreign(value, name)
    except OverflowError:
        return f"{name} holds an int of over 64 bits"
    except RuntimeError:  # of which RecursionError is one
        return f"{name} is nested too deeply"
    except (TypeError, ValueError):
        data, foreign = b"", what_is_foreign(value, name) or f"{name} cannot be encoded"
    if foreign is None and len(data) > MAX_ATTRIBUTES:
        return f"{name} has {len(data)} bytes, over the limit of {MAX_ATTRIBUTES}"
    return foreign


def why_not(attributes: Mapping[str, Any]) -> str:
    """What keeps a handler from being moved: the first such attribute, and its type."""
    for name, value in attributes.items():
        reason = unfit(name, value)
        if reason is not None:
            return f"self.{reason}"
    return f"its attributes have over {MAX_ATTRIBUTES} bytes in all"


_known: WeakKeyDictionary[type[WebSocketHandler], Attributes] = WeakKeyDictionary()


def attributes_of(handler_class: type[WebSocketHandler]) -> Attributes:
    """What is known of a handler class; found out once."""
    known = _known.get(handler_class)
    if known is None:
        known = _known[handler_class] = Attributes(handler_class)
    return known
