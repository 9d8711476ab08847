"""``handler.state`` as bytes: JSON types and bytes, small enough to keep at the gateway."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["MAX_STATE", "decode_state", "encode_state"]

#: Bytes of the encoded state.
MAX_STATE = 64 * 1024

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode
_SCALARS = (str, int, float, bool, bytes, type(None))


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
        _check(state, "state")
        raise
    if data == before:
        return before
    _check(state, "state")
    if len(data) > MAX_STATE:
        raise ValueError(
            f"the handler's state has {len(data)} bytes, over the limit of {MAX_STATE}"
        )
    return data


def decode_state(data: bytes) -> dict[str, Any]:
    """Decode what :func:`encode_state` made."""
    return _decode(data) if data else {}


def _check(value: object, where: str) -> None:
    # msgspec would take sets, tuples and dates, too, but give them back as lists and strings.
    if type(value) in _SCALARS:
        return
    if type(value) is list:
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]")
    elif type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"{where} has a key that is no str: {key!r}")
            _check(item, f"{where}[{key!r}]")
    else:
        name = type(value).__name__
        raise TypeError(f"{where} is a {name}; a handler's state holds JSON types and bytes only")
