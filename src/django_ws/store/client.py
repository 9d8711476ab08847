"""Connections of processes that may wait: Django's. The only importer of redis-py.

Safe in threads and greenlets; nothing here survives a fork.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from redis import BlockingConnectionPool, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import (
    ConnectionInterface,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel

from .calls import Call
from .urls import Server

__all__ = ["Away", "Client", "Late", "Refused"]

#: Connections of one process; more threads than that take turns.
MAX_CONNECTIONS = 32

#: What a server says that is no primary (any more), or not yet.
_ELSEWHERE = (ReadOnlyError, BusyLoadingError)

#: What a node of a cluster says that cannot do something at the moment.
_UNSETTLED = (AskError, TryAgainError, ClusterDownError, *_ELSEWHERE)  # MOVED is an ASK, too

#: Seconds until such a node is asked again.
_SOON = 0.05


class Away(Exception):
    """The server cannot be reached; nothing was done."""


class Late(Exception):
    """The server did not answer in time, and may have done it."""


class Refused(Exception):
    """The server says no."""


class Client:
    """See the module.

    Args:
        patience: seconds to connect, and for an answer of a cluster.
    """

    def __init__(self, server: Server, patience: float) -> None:
        self._pool: ConnectionPool | None = None
        self._cluster: RedisCluster | None = None
        self._outdated = False  # who has which keys may have changed; threads may see an old value
        self._server = server
        self._patience = patience
        if server.kind != "cluster":
            self._pool = _pool(server, patience)

    def run(self, calls: Sequence[Call[Any]], deadline: float) -> list[Any]:
        """Do things, in order.

        Args:
            deadline: ``time.monotonic()``.

        Returns:
            Their values.

        Raises:
            Away, Late, Refused: Not all were done.
        """
        replies = self._exchange([call.command() for call in calls], deadline)
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            commands = [calls[i].command(in_full=True) for i in unknown]
            with _behind(len(unknown) < len(calls)):
                again = self._exchange(commands, deadline)
            for i, reply in zip(unknown, again, strict=True):
                replies[i] = reply
        for reply in replies:
            if isinstance(reply, Exception):
                raise Refused(str(reply)) from None
        try:
            return [call.read(reply) for call, reply in zip(calls, replies, strict=True)]
        except (TypeError, ValueError) as error:
            raise Refused(f"what stands there is not ours: {error}") from None

    def wait(self, key: bytes, deadline: float) -> list[bytes]:
        """What somebody has put into a list; nothing if nobody has until then.

        Raises:
            Away, Late: The server does not answer.
        """
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            return []
        if self._cluster is not None:
            seconds = min(seconds, self._patience / 2)
        command = ("BLMPOP", f"{seconds:.3f}", 1, key, "LEFT", "COUNT", 1000)
        (reply,) = self._exchange([command], deadline + 1.0)
        if isinstance(reply, Exception):
            raise Refused(str(reply)) from None
        return list(reply[1]) if reply else []

    def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            self._pool.disconnect()
        if self._cluster is not None:
            self._cluster.close()

    # ------------------------------------------------------------------ one batch

    def _exchange(self, commands: Sequence[tuple[Any, ...]], deadline: float) -> list[Any]:
        """The replies, errors among them."""
        if self._pool is None:
            return self._exchange_with_cluster(commands, deadline)
        replies = _exchange(self._pool, commands, deadline)
        undone = [i for i, reply in enumerate(replies) if isinstance(reply, _ELSEWHERE)]
        if undone:
            self._pool.disconnect()  # the next look finds another one
            with _behind(len(undone) < len(commands)):
                again = _exchange(self._pool, [commands[i] for i in undone], deadline)
            for i, reply in zip(undone, again, strict=True):
                if isinstance(reply, _ELSEWHERE):
                    raise (Away if len(undone) == len(commands) else Late)(str(reply))
                replies[i] = reply
        return replies

    def _exchange_with_cluster(
        self, commands: Sequence[tuple[Any, ...]], deadline: float
    ) -> list[Any]:
        replies = self._exchange_with_nodes(commands, deadline)
        delay = 0.0
        while undone := [i for i, reply in enumerate(replies) if isinstance(reply, _UNSETTLED)]:
            self._outdated = True
            if time.monotonic() + delay > deadline:
                error = Away if len(undone) == len(replies) else Late
                raise error(str(replies[undone[0]]))
            time.sleep(delay)
            delay = _SOON
            for i in undone:
                before, asked, address = replies[i], [commands[i]], None
                if isinstance(before, AskError) and not isinstance(before, MovedError):
                    asked, address = [("ASKING",), *asked], (before.host, before.port)
                with _behind(len(undone) < len(replies) or i != undone[0]):
                    replies[i] = self._exchange_with_nodes(asked, deadline, address)[-1]
        return replies

    def _exchange_with_nodes(
        self,
        commands: Sequence[tuple[Any, ...]],
        deadline: float,
        address: tuple[str, int] | None = None,
    ) -> list[Any]:
        """Send to each node what belongs there, once: a pipeline of redis-py sends a command again
        whose answer does not come, and asks another node for the keys of each script.

        Args:
            address: of the node for all of them; ``None`` for that which has the key.
        """
        parts: dict[str, tuple[ConnectionPool, list[int]]] = {}
        try:
            if self._cluster is None:
                self._cluster = _cluster(self._server, self._patience)
            elif self._outdated:
                self._cluster.nodes_manager.initialize()
            self._outdated = False
            for i, command in enumerate(commands):
                node = (
                    self._cluster.get_node(*address)
                    if address is not None
                    else self._cluster.get_node_from_key(_key(command))
                )
                if node is None:
                    raise Away("it is not known which node has these keys")
                if node.name not in parts:
                    client = self._cluster.get_redis_connection(node)
                    parts[node.name] = client.connection_pool, []
                parts[node.name][1].append(i)
        except (RedisClusterException, RedisError, OSError) as error:
            self._outdated = True
            raise Away(str(error)) from None
        replies: dict[int, Any] = {}
        for pool, numbers in parts.values():
            try:
                with _behind(bool(replies)):
                    found = _exchange(pool, [commands[i] for i in numbers], deadline)
            except (Away, Late):
                self._outdated = True
                raise
            replies.update(zip(numbers, found, strict=True))
        return [replies[i] for i in range(len(commands))]


@contextmanager
def _behind(others: bool) -> Iterator[None]:
    """Who sends something after others were done cannot say that nothing was."""
    try:
        yield
    except Away as error:
        raise (Late if others else Away)(str(error)) from None


def _key(command: tuple[Any, ...]) -> Any:
    """The first one that a command names."""
    return command[3 if command[0] in ("EVAL", "EVALSHA", "BLMPOP") else 1]


def _exchange(
    pool: ConnectionPool, commands: Sequence[tuple[Any, ...]], deadline: float
) -> list[Any]:
    try:
        connection = pool.get_connection()
    except (RedisError, OSError) as error:
        raise Away(str(error)) from None
    try:
        try:
            connection.send_packed_command(connection.pack_commands(commands))
        except (RedisError, OSError) as error:
            # The last one has not arrived as a whole, those before may have.
            raise (Away if len(commands) == 1 else Late)(str(error)) from None
        return [_reply(connection, deadline) for _ in commands]
    except BaseException:
        # What it still owes is nobody's.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def _reply(connection: ConnectionInterface, deadline: float) -> Any:
    try:
        if not connection.can_read(max(0.0, deadline - time.monotonic())):
            raise Late("no answer in time")
        return connection.read_response()
    except ResponseError as error:
        return error
    except BusyLoadingError as error:
        return error
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise Late(str(error)) from None


# ---------------------------------------------------------------- connections


def _options(server: Server, patience: float) -> dict[str, Any]:
    return {
        # As the gateway says it, so that a server takes or refuses both.
        "username": server.username or ("default" if server.password else None),
        "password": server.password or None,
        "socket_timeout": patience,
        "socket_connect_timeout": patience,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        **_tls(server),
    }


def _tls(server: Server) -> dict[str, Any]:
    tls = server.tls
    if tls is None:
        return {}
    return {
        "ssl_ca_certs": tls.ca_certs or None,
        "ssl_certfile": tls.certfile or None,
        "ssl_keyfile": tls.keyfile or None,
        "ssl_check_hostname": tls.check_hostname and tls.verify,
        "ssl_cert_reqs": "required" if tls.verify else "none",
    }


def _pool(server: Server, patience: float) -> ConnectionPool:
    options: dict[str, Any] = {"db": server.db, **_options(server, patience)}
    if server.kind == "sentinel":
        own = {
            **_options(server, patience),
            "username": server.sentinel_username or None,
            "password": server.sentinel_password or None,
        }
        if server.tls is not None:
            own["ssl"] = options["ssl"] = True
        found = Sentinel(server.addresses, sentinel_kwargs=own, **options)
        client = found.master_for(server.service)
        return cast("ConnectionPool", client.connection_pool)
    if server.path:
        options.update(connection_class=UnixDomainSocketConnection, path=server.path)
    else:
        host, port = server.addresses[0]
        options.update(host=host, port=port)
        if server.tls is not None:
            options["connection_class"] = SSLConnection
    return BlockingConnectionPool(MAX_CONNECTIONS, patience, **options)


def _cluster(server: Server, patience: float) -> RedisCluster:
    nodes = [ClusterNode(host, port) for host, port in server.addresses]
    options = _options(server, patience)
    if server.tls is not None:
        options["ssl"] = True
    return RedisCluster(startup_nodes=nodes, **options)
