"""What the clients of one test have in common: groups, histories, presence.

It is the gateway's own code, with the connections of tests in place of sockets. Nothing waits: what
is published is with its receivers when the call returns.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from .. import conf
from ..exceptions import PublishError
from ..gateway.deliveries import Turn
from ..gateway.engine.memory import Memory
from ..gateway.groups import Groups
from ..gateway.publishers import Addressee, Requests
from ..group_patterns import lookup
from ..options import GroupConfig
from ..outlet import Outlet, set_outlet
from ..publications import Position
from ..wire import messages as wire
from ..wire.messages import Failed, GatewayAnswer, Publish, PublisherMessage
from .commits import Commits

__all__ = ["LocalGateway", "Peer", "forget", "local_gateway"]

#: What the gateway is called in the ids of its connections.
NAME = "test"


class Peer(Addressee, Protocol):
    """What the gateway needs of a connection.

    Attributes:
        changed: its user may be another; to be looked at.
        live: it is accepted, and not closed.
        closed: it is accepted, and closed.
        key: digest of its session's key; empty without one.
    """

    changed: bool

    @property
    def live(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    @property
    def key(self) -> str: ...
    def look(self) -> None:
        """Close it, if its user may not stay; else run ``on_user_changed``."""

    def end(self) -> None:
        """Leave the gateway, and run ``on_close``."""


class LocalGateway:
    """Groups of the connections of one test; :class:`~django_ws.outlet.Outlet` of its process.

    Any thread may call: ``_lock`` guards everything but the hooks, which run without it.

    Attributes:
        groups: memberships.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._peers: dict[int, Peer] = {}
        self._answers: list[GatewayAnswer] = []
        self._holders = 0
        self._commits = Commits()
        self._watchers: list[Callable[[Publish], None]] = []
        self.groups = Groups(NAME, _options, time.time)
        self._requests = Requests(self, conf.limits().max_outgoing, self._answered)
        self.groups.engine = self._requests.engine = Memory(
            _options, self._requests, clock=time.time, epoch=secrets.token_hex(8)
        )

    # ------------------------------------------------------------------ connections

    def number(self) -> int:
        """A number for a new connection."""
        return next(self._numbers)

    def add(self, peer: Peer) -> None:
        """A connection begins."""
        with self._lock:
            self._peers[peer.conn] = peer

    def remove(self, conn: int) -> None:
        """A connection is closed: ``on_close`` finds it in no group any more."""
        with self._lock:
            peer = self._peers.pop(conn, None)
            if peer is not None:
                self.groups.leave_all(peer)
                self._deliver()

    def join(self, conn: int, group: str, since: Sequence[object] | None) -> Position:
        """See :meth:`django_ws.WebSocketHandler.join`."""
        position = None if since is None else msgspec.convert(list(since), wire.Position)
        found = [Position(0, "")]

        def joined(position: wire.Position, complete: bool) -> None:
            found.append(Position(position.offset, position.epoch))

        with self._lock:
            peer = self._peers.get(conn)
            if peer is not None:
                options = _options(group)
                counts = position is not None or (options is not None and options.history_size)
                self.groups.join(group, peer, position, joined if counts else None)
                self._deliver()
        return found[-1]

    def leave(self, conn: int, group: str) -> None:
        """See :meth:`django_ws.WebSocketHandler.leave`."""
        with self._lock:
            if conn in self._peers:
                self.groups.leave(group, self._peers[conn])
                self._deliver()

    def changed(self, conn: int) -> None:
        """What presence shows of a connection is another."""
        with self._lock:
            if conn in self._peers:
                self.groups.changed(self._peers[conn])
                self._deliver()

    def find(self, user: str, key: str, group: str, conn: int) -> list[Peer]:
        """The connections to which all of what is not empty applies, as :class:`.Sessions` does."""
        return [
            peer
            for peer in self._peers.values()
            if peer.live
            and (not conn or peer.conn == conn)
            and (not user or peer.user == user)
            and (not key or peer.key == key)
            and (not group or group in (peer.groups or ()))
        ]

    def over(self, key: str) -> None:
        """A session of the web site has ended; nobody is in the middle of a handshake here."""

    def recheck(self, user: str) -> int:
        """Let the connections of a user be looked at. Returns how many there are."""
        found = self.find(user, "", "", 0)
        for peer in found:
            peer.changed = True
        return len(found)

    def recheck_all(self) -> None:
        """Nothing is missed here."""

    # ------------------------------------------------------------------ what is published

    def send(self, messages: Sequence[PublisherMessage]) -> None:
        """Publish."""
        self.commit(overtaken=True)
        with self._lock:
            for message in messages:
                self._requests.serve(b"", message)
                if isinstance(message, Publish):
                    for watcher in self._watchers:
                        watcher(message)
            self._deliver()

    def watch(self, watcher: Callable[[Publish], None]) -> None:
        """Let it know of each publication from now on."""
        with self._lock:
            self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[Publish], None]) -> None:
        """Let it know no more."""
        with self._lock:
            self._watchers.remove(watcher)

    def ask(self, requests: Sequence[PublisherMessage], timeout: float) -> list[list[msgspec.Raw]]:
        """Publish and answer.

        Raises:
            PublishError: As a gateway refuses it.
        """
        self.commit()  # what was published before comes first
        with self._lock:
            self._answers.clear()
            self.send(requests)
            values = []
            for answer in self._answers:
                if isinstance(answer, Failed):
                    raise PublishError(answer.words)
                assert not isinstance(answer, wire.Fenced)
                values.append(answer.value)
        return [values]

    def _answered(self, identity: bytes, answer: GatewayAnswer) -> None:
        self._answers.append(answer)

    def _deliver(self) -> None:
        while not self.groups.deliveries.deliver(Turn(2**62, 2**62)):
            pass

    # ------------------------------------------------------------------ what is left to do

    def commit(self, *, overtaken: bool = False) -> None:
        """Let what waits for the commit of a ``TestCase`` count; see :meth:`.Commits.settle`."""
        self._commits.settle(overtaken=overtaken)

    def settle(self) -> None:
        """Do what hooks are needed for: of those who were closed, and whose users have changed."""
        self.commit()
        while due := [peer for peer in self._peers.values() if peer.closed or peer.changed]:
            for peer in due:
                if peer.closed:
                    peer.end()
                else:
                    peer.changed = False
                    peer.look()
            self.commit()

    # ------------------------------------------------------------------ its life

    def held_by(self, holder: object, left: Callable[[], None]) -> weakref.finalize[..., object]:
        """Live at least as long as ``holder``.

        Args:
            left: called when it is gone.

        Returns:
            What can be called to let go earlier.
        """
        self._holders += 1

        def let_go() -> None:
            left()
            self._holders -= 1
            if not self._holders and _current is self:
                forget()

        finalizer = weakref.finalize(holder, let_go)
        finalizer.atexit = False
        return finalizer


def _options(group: str) -> GroupConfig | None:
    # Read anew each time: tests override settings.
    return lookup(conf.groups())(group)


_current: LocalGateway | None = None
_before: Outlet | None = None


def local_gateway() -> LocalGateway:
    """The one that the clients of this test share. It lives as long as one of its holders."""
    global _current, _before
    if _current is None:
        _current = LocalGateway()
        _before = set_outlet(_current)
    return _current


def forget() -> None:
    """The test is over: the next one finds no groups and no histories."""
    global _current
    if _current is not None:
        _current = None
        set_outlet(_before)
