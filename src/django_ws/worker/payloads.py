"""Arguments of events, values of requests and answers, as the wire has them: JSON beside bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from django.core.serializers.json import DjangoJSONEncoder

__all__ = ["MAX_INFO", "Payload", "pack", "pack_info", "unpack"]

#: Bytes of what presence shows of a connection.
MAX_INFO = 4096


_ALONE = b'{"_placeholder":true,"num":0}'

#: Of these, and of lists of them, msgspec makes what ``DjangoJSONEncoder`` does, in a thirtieth of
#: the time; of whatever else (a float may be ``nan``, a date has its own form) it may not.
_ALIKE = frozenset((str, int, bool, type(None)))
_encode = msgspec.json.Encoder().encode


class Payload(NamedTuple):
    """A value on its way.

    Attributes:
        data: JSON; bytes stand in it as ``{"_placeholder": true, "num": index}``, as Socket.IO has
            it (protocol 5, *Binary event*).
        attachments: these bytes.
    """

    data: bytes
    attachments: list[bytes]

    def mixed(self, arguments: bool) -> bool:
        """Whether there are bytes beside anything else, so that they cannot go as they are.

        Args:
            arguments: the value is a list of arguments, of which bytes may be the only one.
        """
        return bool(self.attachments) and self.data != (b"[%b]" % _ALONE if arguments else _ALONE)


class _Encoder(DjangoJSONEncoder):
    def __init__(self, attachments: list[bytes]) -> None:
        super().__init__(allow_nan=False, separators=(",", ":"))
        self._attachments = attachments

    def default(self, o: object) -> object:
        if isinstance(o, (bytes, bytearray, memoryview)):
            self._attachments.append(bytes(o))
            return {"_placeholder": True, "num": len(self._attachments) - 1}
        return super().default(o)


def pack(value: object) -> Payload:
    """Encode a value.

    Raises:
        TypeError: ``DjangoJSONEncoder`` does not take it.
        ValueError: It cannot be encoded: ``nan``, a circle.
    """
    if type(value) in _ALIKE or (type(value) is list and _ALIKE.issuperset(map(type, value))):
        try:
            return Payload(_encode(value), [])
        except UnicodeEncodeError:
            pass  # half a surrogate pair, which JSON can have as an escape
    attachments: list[bytes] = []
    return Payload(_Encoder(attachments).encode(value).encode(), attachments)


def pack_info(info: object) -> bytes:
    """Encode what presence is to show of a connection.

    Raises:
        TypeError, ValueError: As of :func:`pack`; or it is over :data:`MAX_INFO`.
    """
    data = pack(info).data
    if len(data) > MAX_INFO:
        raise ValueError(f"info has {len(data)} bytes, over the limit of {MAX_INFO}")
    return data


def unpack(data: bytes, attachments: Sequence[bytes]) -> object:
    """Decode what :func:`pack`, or a client, encoded.

    Raises:
        ValueError: It is no JSON, or names an attachment that is not there.
    """
    if not attachments:
        try:
            return msgspec.json.decode(data)
        except msgspec.DecodeError:
            return json.loads(data)  # which takes a little more: half a surrogate pair, NaN

    def fill(found: dict[str, object]) -> object:
        if found.get("_placeholder") is not True:
            return found
        number = found.get("num")
        if type(number) is not int or not 0 <= number < len(attachments):
            raise ValueError("an attachment is missing")
        return attachments[number]

    return json.loads(data, object_hook=fill)
