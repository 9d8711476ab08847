"""RESP3, the protocol of Redis and Valkey, as far as a gateway needs it. Pure.

https://valkey.io/topics/protocol/
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Error", "Parser", "ProtocolError", "Pushed", "Value", "pack"]

#: What a server says. Maps come as lists of keys and values in turns, sets as lists.
Value = object

#: Arrays in arrays, at most.
DEPTH = 8


class ProtocolError(Exception):
    """The peer does not speak RESP."""


class Error(Exception):
    """The server refuses a command.

    Attributes:
        code: the first word, which is for programs.
    """

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.code = words.partition(" ")[0]


class Pushed(list[Value]):
    """What belongs to no command."""


class _Incomplete(Exception):
    pass


def pack(parts: Iterable[bytes | str | int]) -> bytes:
    """A command as bytes."""
    encoded = [
        part if type(part) is bytes else str(part).encode()  # str() of a str is itself
        for part in parts
    ]
    pieces = [b"*%d\r\n" % len(encoded)]
    pieces += [b"$%d\r\n%b\r\n" % (len(part), part) for part in encoded]
    return b"".join(pieces)


class Parser:
    """Bytes in, values out."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0
        self._needed = 0  # bytes without which another look is in vain

    def feed(self, data: bytes) -> list[Value]:
        """Take what has come.

        Returns:
            What is complete, in order; errors as :class:`Error`.

        Raises:
            ProtocolError: It is no RESP.
        """
        self._data = self._data + data if self._data else data
        found: list[Value] = []
        if len(self._data) < self._needed:
            return found
        self._at = done = self._needed = 0
        end = len(self._data)
        try:
            while done < end:
                found.append(self._value(0))
                done = self._at
        except _Incomplete:
            self._needed = max(0, self._needed - done)
        except (ValueError, IndexError) as error:
            raise ProtocolError(str(error)) from None
        self._data = self._data[done:]
        return found

    def _bulk(self, size: int) -> bytes:
        at = self._at
        self._at = end = at + size + 2
        if len(self._data) < end:
            self._needed = end
            raise _Incomplete
        return self._data[at : end - 2]

    def _values(self, count: int, depth: int) -> list[Value]:
        if depth >= DEPTH:
            raise ProtocolError("arrays in arrays without end")
        return [self._value(depth + 1) for _ in range(count)]

    def _value(self, depth: int) -> Value:
        data, at = self._data, self._at
        end = data.find(b"\r\n", at)
        if end < 0:
            self._needed = 0
            raise _Incomplete
        self._at = end + 2
        kind, rest = data[at : at + 1], data[at + 1 : end]
        if kind == b"$" or kind == b"=":
            size = int(rest)
            return None if size < 0 else self._bulk(size)
        if kind == b":" or kind == b"(":
            return int(rest)
        if kind == b">":
            return Pushed(self._values(int(rest), depth))
        if kind == b"*" or kind == b"~":
            count = int(rest)
            return None if count < 0 else self._values(count, depth)
        return self._rarer(kind, rest, depth)

    def _rarer(self, kind: bytes, rest: bytes, depth: int) -> Value:
        match kind:
            case b"+":
                return rest
            case b"-":
                return Error(rest.decode(errors="replace"))
            case b"_":
                return None
            case b"%":
                return self._values(2 * int(rest), depth)
            case b"#":
                return rest == b"t"
            case b",":
                return float(rest)
            case b"!":
                return Error(self._bulk(int(rest)).decode(errors="replace"))
            case b"|":  # attributes of what follows, which mean nothing here
                self._values(2 * int(rest), depth)
                return self._value(depth)
        raise ProtocolError(f"a value that begins with {kind!r}")
