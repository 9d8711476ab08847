"""What endpoints look like. Pure."""

from __future__ import annotations

import contextlib
import ipaddress
import os

from ..options import MAX_IPC_PATH

__all__ = ["EndpointError", "ipc_path", "is_local", "may_connect", "split"]


class EndpointError(Exception):
    """An endpoint cannot be used; the text says why and what to do."""


def split(endpoint: str) -> tuple[str, str]:
    """Scheme and address of an endpoint.

    Raises:
        EndpointError: It is neither ``ipc://PATH`` nor ``tcp://HOST:PORT``.
    """
    scheme, separator, address = endpoint.partition("://")
    if separator and scheme == "ipc" and address:
        if len(os.fsencode(address)) > MAX_IPC_PATH:
            raise EndpointError(f"{endpoint}: the path is longer than {MAX_IPC_PATH} bytes")
        return scheme, address
    if separator and scheme == "tcp" and address.rpartition(":")[2].isdigit():
        return scheme, address
    raise EndpointError(f"{endpoint}: an endpoint is ipc:///PATH or tcp://HOST:PORT")


def ipc_path(endpoint: str) -> str:
    """The path of an ``ipc://`` endpoint; empty for any other."""
    return endpoint.removeprefix("ipc://") if endpoint.startswith("ipc://") else ""


def is_local(endpoint: str) -> bool:
    """Whether only this machine can reach the endpoint."""
    scheme, address = split(endpoint)
    if scheme == "ipc":
        return True
    host = address.rpartition(":")[0].strip("[]")
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def may_connect(endpoint: str, configured: str) -> bool:
    """Whether an announced endpoint lies where this project's own do.

    Args:
        endpoint: what a worker announced.
        configured: ``--push-socket``.
    """
    try:
        scheme, address = split(endpoint)
    except EndpointError:
        return False
    own_scheme, own_address = split(configured)
    if scheme != own_scheme:
        return False
    if scheme == "ipc":
        return address == own_address or (
            address.startswith(own_address + ".")
            and os.path.dirname(address) == os.path.dirname(own_address)
        )
    return address.rpartition(":")[0] == own_address.rpartition(":")[0]
