"""How a gateway that stops parts with its clients: not with all of them in one moment."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence

from ..clients.context import Accepted

__all__ = ["CLOSES", "close_all", "pace", "wait_until_gone"]

#: Code and reason of a close, by whether another gateway follows.
CLOSES = {False: (1001, "server shutting down"), True: (1012, "server restarting")}

#: Connections that are closed in one turn, if there is time, and seconds between turns at least.
BATCH = 100
TURN = 0.01


def pace(clients: int, spread: float, seconds: float) -> tuple[float, int]:
    """How fast to close clients.

    Args:
        clients: how many there are.
        spread: seconds to take for it; 0: as few as possible.
        seconds: that the whole drain may take. At most half of them go by until the last close;
            without a spread a third, and no more than 5.

    Returns:
        Seconds between two turns, and clients in each.
    """
    if not spread:
        return TURN, max(BATCH, _in_each_turn(clients, min(5.0, seconds / 3)))
    spread = min(spread, seconds / 2)
    return max(TURN, spread / max(1, clients)), max(1, _in_each_turn(clients, spread))


def _in_each_turn(clients: int, seconds: float) -> int:
    return math.ceil(clients * TURN / max(seconds, TURN))


async def close_all(
    clients: Sequence[Accepted], spread: float, seconds: float, close: tuple[int, str]
) -> None:
    """Close clients, each at a random moment of the time that :func:`pace` allows."""
    shuffled = random.sample(clients, len(clients))
    pause, batch = pace(len(clients), spread, seconds)
    loop = asyncio.get_running_loop()
    start = loop.time()
    for turn, first in enumerate(range(0, len(shuffled), batch)):
        if first:
            await asyncio.sleep(start + turn * pause - loop.time())
        for client in shuffled[first : first + batch]:
            client.close(*close)


async def wait_until_gone(
    clients: Callable[[], Sequence[Accepted]], deadline: float, close: tuple[int, str]
) -> None:
    """Wait until nobody is there any more; at the deadline (of the loop) let go of all."""
    loop = asyncio.get_running_loop()
    while (left := clients()) and loop.time() < deadline:
        for client in left:
            client.close(*close)  # it may just have come in
        await asyncio.sleep(TURN)
    for client in clients():
        client.abort(*close)
