"""RESP3."""

from __future__ import annotations

import pytest

from django_ws.gateway.engine.resp import Error, Parser, ProtocolError, Pushed, pack

STREAM = (
    b"$5\r\nhello\r\n$0\r\n\r\n:-3\r\n+OK\r\n_\r\n$-1\r\n*-1\r\n#t\r\n,1.5\r\n(12345678901234567890\r\n"
    b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n%1\r\n+key\r\n:1\r\n~1\r\n:7\r\n"
    b">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$4\r\n\r\n\r\n\r\n|1\r\n+ttl\r\n:1\r\n+after\r\n=7\r\ntxt:abc\r\n"
)  # fmt: skip
VALUES = [
    b"hello", b"", -3, b"OK", None, None, None, True, 1.5, 12345678901234567890,
    [b"a", [1]], [b"key", 1], [7], [b"smessage", b"c", b"\r\n\r\n"], b"after", b"txt:abc",
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
def test_values_come_in_pieces_of_any_size(size: int) -> None:
    parser = Parser()
    found: list[object] = []
    for start in range(0, len(STREAM), size):
        found += parser.feed(STREAM[start : start + size])
    assert found == VALUES


def test_what_is_pushed_is_told_from_replies() -> None:
    reply, pushed = Parser().feed(b"*1\r\n:1\r\n>1\r\n:1\r\n")
    assert not isinstance(reply, Pushed)
    assert isinstance(pushed, Pushed)


def test_errors_are_values() -> None:
    one, two = Parser().feed(b"-MOVED 3999 127.0.0.1:6381\r\n!9\r\nERR words\r\n")
    assert isinstance(one, Error)
    assert (one.code, str(one)) == ("MOVED", "MOVED 3999 127.0.0.1:6381")
    assert isinstance(two, Error)
    assert two.code == "ERR"


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 400\r\n", b"\r\n", b"$x\r\n", b":\r\n", b"*1\r\n" * 20]
)
def test_no_resp(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Parser().feed(data)


def test_commands() -> None:
    assert (
        pack(("SET", "ä", 1, b"\0"))
        == b"*4\r\n$3\r\nSET\r\n$2\r\n\xc3\xa4\r\n$1\r\n1\r\n$1\r\n\0\r\n"
    )
