"""How a connection to the server begins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from ...store import scripts
from ...store.urls import Server
from .resp import Error
from .wire import Wire

__all__ = ["NotPrimary", "dial", "open_wire"]

#: Major versions from which on sharded channels and their scripts are there.
OLDEST = {"redis": 7, "valkey": 7}

MakeWire = Callable[[], Wire]


class NotPrimary(ConnectionError):
    """What was reached is no server to write to (any more)."""


async def dial(server: Server, make: MakeWire) -> Wire:
    """Connect to a single server, or to the one that Sentinels name.

    Raises:
        OSError, Error: It cannot be reached, or refuses.
    """
    if server.kind != "sentinel":
        address = server.addresses[0] if server.addresses else None
        return await open_wire(server, address, make)
    trouble: Exception = ConnectionError("no Sentinel")
    for sentinel in server.addresses:
        try:
            address = await _ask_sentinel(server, sentinel)
            return await open_wire(server, address, make)
        except (OSError, Error) as error:
            trouble = error
    raise trouble


async def open_wire(
    server: Server, address: tuple[str, int] | None, make: MakeWire, *, any_role: bool = False
) -> Wire:
    """Connect to one server, and say who we are.

    Args:
        address: host and port; ``None`` for the Unix socket.
        any_role: only to ask, so a replica will do.

    Raises:
        OSError, Error: It cannot be reached, or refuses.
    """
    wire = await _connect(server, address, make)
    try:
        hello = await _hello(wire, server.username, server.password)
        found = dict(zip(hello[::2], hello[1::2], strict=True))
        name, version = found.get(b"server", b"?").decode(), found.get(b"version", b"0").decode()
        if int(version.partition(".")[0]) < OLDEST.get(name, 7):
            raise ConnectionError(f"{name} {version} is too old: Redis 7 or Valkey 8 is needed")
        if any_role:
            return wire
        if found.get(b"role") not in (b"master", None):
            raise NotPrimary("it is a replica")
        if server.db:
            await wire.ask("SELECT", server.db)
        for name in scripts.__all__:
            script = getattr(scripts, name)
            if isinstance(script, scripts.Script):
                await wire.ask("SCRIPT", "LOAD", script.text)
    except BaseException:
        wire.abort("it did not begin well")
        raise
    return wire


async def _connect(server: Server, address: tuple[str, int] | None, make: MakeWire) -> Wire:
    loop = asyncio.get_running_loop()
    if address is None:
        _, wire = await loop.create_unix_connection(make, server.path)
    else:
        context = server.tls.context() if server.tls is not None else None
        _, wire = await loop.create_connection(make, *address, ssl=context)
    return wire


async def _hello(wire: Wire, username: str, password: str) -> list[bytes]:
    credentials = ["AUTH", username or "default", password] if password else []
    hello = await wire.ask("HELLO", 3, *credentials, "SETNAME", "django-ws")
    return cast("list[bytes]", hello)


async def _ask_sentinel(server: Server, sentinel: tuple[str, int]) -> tuple[str, int]:
    loop = asyncio.get_running_loop()

    def make() -> Wire:
        return Wire(loop, lambda pushed: None, lambda: None)

    wire = await _connect(server, sentinel, make)
    try:
        if server.sentinel_password:
            await _hello(wire, server.sentinel_username, server.sentinel_password)
        found = await wire.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", server.service)
    finally:
        wire.abort("answered")
    if not isinstance(found, list):
        raise ConnectionError(f"the Sentinel knows no {server.service!r}")
    host, port = cast("list[bytes]", found)
    return host.decode(), int(port)
