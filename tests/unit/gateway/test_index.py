"""Which connections are whose."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from django_ws.gateway.index import Index


def sessions(number: int) -> list[Any]:
    return [SimpleNamespace(conn=conn) for conn in range(1, number + 1)]


def test_one_and_several() -> None:
    index, (one, two, three) = Index(), sessions(3)
    assert index.find("ada") == []
    assert index.count("ada") == 0
    index.add("ada", one)
    index.add("ada", one)
    assert (index.find("ada"), index.count("ada")) == ([one], 1)
    index.add("ada", two)
    index.add("ada", three)
    assert (index.find("ada"), index.count("ada")) == ([one, two, three], 3)
    index.discard("ada", two)
    index.discard("ada", two)
    assert index.find("ada") == [one, three]
    index.discard("ada", one)
    index.discard("ada", three)
    assert index.find("ada") == []


def test_only_the_one_that_is_there_is_taken_out() -> None:
    index, (one, two) = Index(), sessions(2)
    index.add("ada", one)
    index.discard("ada", two)
    index.discard("bob", one)
    assert index.find("ada") == [one]
    index.discard("ada", one)
    assert index.count("ada") == 0


def test_nobody_is_not_found() -> None:
    index, (one,) = Index(), sessions(1)
    index.add("", one)
    assert index.find("") == []
    index.discard("", one)
