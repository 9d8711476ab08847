"""Several gateways on one port (``--gateways N``): their endpoints, and what they need. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .conf_problems import Problem
from .options import MAX_IPC_PATH

__all__ = ["endpoints", "problems"]


def endpoints(given: Sequence[str], number: int) -> list[str]:
    """The replies endpoint of each gateway.

    Args:
        given: what ``SUB_SOCKET`` names. Of one path the first gateway has the path itself, the
            second one ``PATH.2``, and so on.
        number: of gateways.
    """
    if len(given) > 1 or not given[0].startswith("ipc://"):
        return list(given)
    first = given[0]
    return [first, *(f"{first}.{each}" for each in range(2, number + 1))]


def problems(values: Mapping[str, Any], sub_sockets: Sequence[str]) -> Iterator[Problem]:
    """What keeps several gateways from serving together.

    Args:
        values: flags and settings, by the names of :data:`.conf_table.OPTIONS`.
        sub_sockets: what ``SUB_SOCKET`` names, or the default.
    """
    number = values.get("GATEWAYS", 1)
    kept = any(each.history_size for each in values.get("GROUPS", {}).values())
    if len(sub_sockets) > 1 and number == 1 and kept and not values.get("ENGINE"):
        yield Problem(
            "W015",
            f"SUB_SOCKET names {len(sub_sockets)} gateways, but there is no ENGINE: each keeps "
            "histories of its own, so a page's position is worth nothing at another one.",
            "Give them an ENGINE, or let each browser come back to the same one, and silence this.",
        )
    if number == 1:
        return
    if not values.get("ENGINE"):
        yield Problem(
            "E018",
            f"GATEWAYS is {number}, but there is no ENGINE: the groups of each gateway would be "
            "its own, and a publication would reach only some of their members.",
            'Give --engine (or DJANGO_WS["ENGINE"]) a URL like redis://127.0.0.1:6379/0.',
        )
    if len(sub_sockets) not in (1, number):
        yield Problem(
            "E016",
            f"GATEWAYS is {number}, but SUB_SOCKET names {len(sub_sockets)} endpoints.",
            "Name one, beside which the others will lie, or one for each gateway.",
        )
    elif len(sub_sockets) == 1:
        yield from _room(sub_sockets[0], number)
    if values.get("SOCKETIO"):
        yield Problem(
            "W010",
            f"Long-polling clients of Socket.IO and Engine.IO cannot be served by {number} "
            "gateways on one port: each of their requests may reach another one.",
            'Let them use WebSockets alone (transports: ["websocket"]), or run several '
            "run_wsgateway on ports of their own, see docs/deployment.md.",
        )


def _room(sub_socket: str, number: int) -> Iterator[Problem]:
    if not sub_socket.startswith("ipc://"):
        yield Problem(
            "E016",
            f"GATEWAYS is {number}, but SUB_SOCKET names one tcp:// endpoint.",
            "Name one for each gateway, separated by commas.",
        )
    elif len(endpoints([sub_socket], number)[-1].removeprefix("ipc://").encode()) > MAX_IPC_PATH:
        yield Problem(
            "E016",
            f"The path of SUB_SOCKET leaves no room for the number of a gateway: {sub_socket}.",
            f"Keep it within {MAX_IPC_PATH - len(str(number)) - 1} bytes.",
        )
