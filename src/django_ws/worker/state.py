"""``handler.state`` as bytes: JSON types and bytes, small enough to keep at the gateway."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["MAX_STATE", "decode_state", "encode_state", "what_is_foreign"]

#: Bytes of the encoded state.
MAX_STATE = 64 * 1024

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode
_SCALARS = frozenset({str, int, float, bool, bytes, type(None)})


def encode_state(state: dict[str, Any], before: bytes = b"") -> bytes:
    """Encode a state; an empty one as empty bytes.

    Args:
        before: what it was before; returned as it is if nothing changed.

    Raises:
        TypeError: It holds something that would come back as another type.
        ValueError: It is too large.
    """
    if not state:
        return b""
    try:
        data = _encode(state)
    except OverflowError as error:
        raise ValueError(f"an int in the handler's state is too large: {error}") from None
    except RecursionError:
        raise ValueError("the handler's state is nested too deeply") from None
    except TypeError:
        _check(state)
        raise
    if data == before:
        return before
    _check(state)
    if len(data) > MAX_STATE:
        raise ValueError(
            f"the handler's state has {len(data)} bytes, over the limit of {MAX_STATE}"
        )
    return data


def decode_state(data: bytes) -> dict[str, Any]:
    """Decode what :func:`encode_state` made."""
    return _decode(data) if data else {}


def is_plain(value: object) -> bool:
    """Whether a value comes back as it was."""
    # msgspec would take sets, tuples and dates, too, but give them back as lists and strings.
    if type(value) in _SCALARS:
        return True
    if type(value) is list:
        return all(map(is_plain, value))
    if type(value) is dict:
        return all(type(key) is str for key in value) and all(map(is_plain, value.values()))
    return False


def what_is_foreign(value: object, where: str) -> str | None:
    """What of a value would come back as something else: "where is a set"; ``None`` for nothing.

    Args:
        where: names the value.
    """
    if is_plain(value):
        return None
    found: str | None
    if type(value) is list:
        for index, item in enumerate(value):
            if (found := what_is_foreign(item, f"{where}[{index}]")) is not None:
                return found
    elif type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                return f"{where} has a key that is no str: {key!r}"
            if (found := what_is_foreign(item, f"{where}[{key!r}]")) is not None:
                return found
    else:
        kind = type(value)
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        return f"{where} is a {module}{kind.__qualname__}"
    return None


def _check(state: dict[str, Any]) -> None:
    foreign = what_is_foreign(state, "state")
    if foreign is not None:
        raise TypeError(f"{foreign}; a handler's state holds JSON types and bytes only")
