"""How a connection to the server begins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from ...store import scripts
from ...store.calls import Part
from ...store.urls import Server
from .resp import Error
from .wire import Wire

__all__ = ["NotPrimary", "dial", "open_wire"]

#: Major versions from which on sharded channels and their scripts are there.
OLDEST = {"redis": 7, "valkey": 7}
TOO_OLD = "is too old: Redis 7 or Valkey 8 is needed"

#: Seconds for a Sentinel while there are others: it may be on the machine that has failed.
SENTINEL_TIMEOUT = 0.5

MakeWire = Callable[[], Wire]

#: Commands that a server is to allow; what else it says to them does not matter.
Probes = Sequence[tuple[Part, ...]]


class NotPrimary(ConnectionError):
    """What was reached is no server to write to (any more)."""


async def dial(server: Server, make: MakeWire, probes: Probes = ()) -> Wire:
    """Connect to a single server, or to the one that Sentinels name.

    Args:
        probes: see :func:`open_wire`.

    Raises:
        OSError, Error: It cannot be reached, or refuses.
    """
    if server.kind != "sentinel":
        address = server.addresses[0] if server.addresses else None
        return await open_wire(server, address, make, probes)
    trouble: Exception = ConnectionError("no Sentinel")
    for sentinel in server.addresses:
        try:
            try:
                last = sentinel is server.addresses[-1]
                async with asyncio.timeout(None if last else SENTINEL_TIMEOUT):
                    address = await _ask_sentinel(server, sentinel)
            except TimeoutError:
                trouble = ConnectionError("the Sentinel at {}:{} does not answer".format(*sentinel))
                continue
            return await open_wire(server, address, make, probes)
        except (OSError, Error) as error:
            trouble = error
    raise trouble


async def open_wire(
    server: Server,
    address: tuple[str, int] | None,
    make: MakeWire,
    probes: Probes = (),
    *,
    any_role: bool = False,
) -> Wire:
    """Connect to one server, and say who we are.

    Args:
        address: host and port; ``None`` for the Unix socket.
        probes: what it has to allow: a user without our keys and channels would else seem to be
            well, and get nothing.
        any_role: only to ask, so a replica will do.

    Raises:
        OSError, Error: It cannot be reached, or refuses.
    """
    wire = await _connect(server, address, make)
    try:
        found = await _hello(wire, server.username, server.password)
        name, version = found["server"], found["version"]
        if int(version.partition(".")[0]) < OLDEST.get(name, 7):
            raise ConnectionError(f"{name} {version} {TOO_OLD}")
        if any_role:
            return wire
        if found.get("role", "master") != "master":
            raise NotPrimary("it is a replica")
        if server.db:
            await wire.ask("SELECT", server.db)
        known = [getattr(scripts, name) for name in scripts.__all__]
        # At once, since the network may be slow.
        await asyncio.gather(
            *(
                wire.ask("SCRIPT", "LOAD", script.text)
                for script in known
                if isinstance(script, scripts.Script)
            ),
            *(_try(wire, probe) for probe in probes),
        )
    except BaseException:
        wire.abort("it did not begin well")
        raise
    return wire


async def _try(wire: Wire, probe: tuple[Part, ...]) -> None:
    try:
        await wire.ask(*probe)
    except Error as error:
        if error.code == "NOPERM":
            needed = "its user needs ~django_ws:*, &django_ws:* and +@all"
            raise ConnectionError(f"{error}: {needed}") from None


async def _connect(server: Server, address: tuple[str, int] | None, make: MakeWire) -> Wire:
    loop = asyncio.get_running_loop()
    if address is None:
        _, wire = await loop.create_unix_connection(make, server.path)
    else:
        context = server.tls.context() if server.tls is not None else None
        _, wire = await loop.create_connection(make, *address, ssl=context)
    return wire


async def _hello(wire: Wire, username: str, password: str) -> dict[str, str]:
    """What a server says of itself, as far as that is text.

    Raises:
        Error, ConnectionError: It refuses, or says nothing of the kind. The words show no password.
    """
    credentials = ["AUTH", username or "default", password] if password else []
    try:
        hello = await wire.ask("HELLO", 3, *credentials, "SETNAME", "django-ws")
    except Error as error:
        # One that does not know the command repeats all that came with it.
        if "unknown command" in str(error).lower():
            raise ConnectionError(f"it {TOO_OLD}") from None
        if password and password in str(error):
            raise ConnectionError(f"it refuses: {error.code}") from None
        raise
    values = hello if isinstance(hello, list) else []
    found = {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in zip(values[::2], values[1::2], strict=False)
        if isinstance(key, bytes) and isinstance(value, bytes)
    }
    if not {"server", "version"} <= found.keys():
        raise ConnectionError("it answers something else than it was asked")
    return found


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
    host, port = found
    if not isinstance(host, bytes) or not isinstance(port, bytes):
        raise ConnectionError("the Sentinel answers something else than it was asked")
    return host.decode(), int(port)
