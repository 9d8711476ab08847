"""Ports for servers of tests."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

__all__ = ["free_port", "free_ports"]

#: Below those that the kernel gives to clients (from 32768 on), of which one may be taken by any
#: connection between a look and the server's start; so are the ports 10,000 above.
FIRST, LAST = 10_001, 22_000

_random = random.SystemRandom()  # tests that run beside these choose others


def free_port() -> int:
    """A port on loopback that was free a moment ago."""
    return free_ports(1)[0]


def free_ports(number: int) -> list[int]:
    """Several, and those 10,000 above are free, too, as clusters of Valkey want them."""
    found: list[int] = []
    for _ in range(1000):
        port = _random.randint(FIRST, LAST)
        with suppress(OSError):
            for each in (port, port + 10_000):
                socket.create_server(("127.0.0.1", each)).close()
            if port not in found:
                found.append(port)
        if len(found) == number:
            return found
    raise AssertionError("no free ports")
