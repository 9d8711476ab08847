"""How the two kinds of events share the pool's threads."""

from __future__ import annotations

from typing import Any

import pytest

from django_ws.wire.messages import TEXT, Disconnect, Message
from django_ws.worker.executors.shares import Shares


class Fake:
    def __init__(self, event: Any) -> None:
        self.queue = [event]


def waiting(shares: Shares, messages: int, others: int) -> None:
    for _ in range(others):
        shares.add(Fake(Disconnect(1, 2, 1000, "")))  # type: ignore[arg-type]
    for _ in range(messages):
        shares.add(Fake(Message(1, 2, TEXT, b"")))  # type: ignore[arg-type]


def run_all(shares: Shares) -> tuple[int, int]:
    """Claim what may be claimed, each by a thread that blocks; how many of either kind."""
    while (connection := shares.claim()) is not None:
        kind = type(connection.queue[0])
        shares.enter(shares.messages if kind is Message else shares.others)
    return shares.messages.active, shares.others.active


@pytest.mark.parametrize(
    ("messages", "others", "found"),
    [
        (100, 0, (8, 0)),
        (0, 100, (0, 8)),
        (100, 1, (7, 1)),
        (100, 100, (4, 4)),
        (1, 1, (1, 1)),
    ],
)
def test_up_to_the_limit_they_take_turns(
    messages: int, others: int, found: tuple[int, int]
) -> None:
    shares = Shares(8)
    waiting(shares, messages, others)
    assert run_all(shares) == found


@pytest.mark.parametrize("first", ["messages", "others"])
def test_each_kind_finds_a_thread_although_the_other_has_all(first: str) -> None:
    shares = Shares(8)
    waiting(shares, *((100, 0) if first == "messages" else (0, 100)))
    run_all(shares)
    waiting(shares, *((0, 100) if first == "messages" else (100, 0)))
    assert run_all(shares) == ((8, 2) if first == "messages" else (2, 8))
    assert shares.active == 10


def test_who_leaves_makes_room() -> None:
    shares = Shares(2)
    waiting(shares, 3, 0)
    assert run_all(shares) == (2, 0)
    shares.leave(shares.messages)
    assert shares.claim() is not None
