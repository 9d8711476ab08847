"""The engine that several gateways share: a server that speaks the protocol of Redis."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from ...group_patterns import Lookup
from ...options import GroupConfig
from ...store.calls import SPREADS, Call, Calls, Found, Lease, Placed, who
from ...store.forms import Entry, FormError, read_entry
from ...store.names import COMMON, SPREAD, Names
from ...store.urls import Server
from ...wire.messages import Expel, Position, Present, Publish, Recent, Recheck
from ..counters import Counters
from .backlog import Backlog
from .base import Done, Failure, Listener
from .health import Health
from .heard import PAGE_BYTES, Heard
from .leases import Leases
from .link import Link
from .nodes import Nodes
from .operations import AWAY, UNKNOWN
from .resp import Value
from .servers import Servers
from .spreads import Spreads

__all__ = ["Redis"]

logger = logging.getLogger("django_ws.gateway.engine")

#: Seconds between renewals of the lease.
TICK = 1.0

#: Seconds between looks after groups that have to wait for it.
HEAL_PAUSE = 0.02

#: How full queue and backlog together may be until nothing more is taken on, seconds between
#: looks, and how full they may be to go on.
CROWDED = 0.5
CROWDED_LOOK = 0.01
ROOMY = 0.4

#: Seconds for which processes of Django may think that it is still away, and tell of no logout.
UNTOLD = 2.0

#: Seconds in which each group that has members is kept from being forgotten.
KEEP_ROUND = 1000.0


class Redis:
    """An :class:`.Engine`. Nothing here waits; what cannot be said in time fails.

    Args:
        server: where it is.
        project: what all gateways of this project agree on.
        incarnation: this gateway's, with which ids of its connections begin.
        options: finds what is kept of a group.
        listener: where publications go.
        room: whether members have taken nearly all that was published.
        on_published: called when something was published, once for several.
        on_crowded: called with True when more is published than the server, or members here, take
            at the moment, so that whoever publishes is to wait, and with False when that is over.
        clock: seconds since the epoch, for tests; ``None`` for the server's own.
    """

    def __init__(
        self,
        server: Server,
        project: str,
        incarnation: str,
        options: Lookup,
        listener: Listener,
        *,
        loop: asyncio.AbstractEventLoop,
        counters: Counters,
        room: Callable[[], bool] = lambda: True,
        on_published: Callable[[], None] = lambda: None,
        on_crowded: Callable[[bool], None] = lambda crowded: None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._options = options
        self._listener = listener
        self._loop = loop
        self._counters = counters
        self._on_published = on_published
        self._on_crowded = on_crowded
        self._crowded: asyncio.TimerHandle | None = None
        self._untold: asyncio.TimerHandle | None = None
        # Publications of late: of this gateway, and those that came.
        self._said = self._came = 0
        self._incarnation = incarnation
        self._names = Names(project, server.db)
        self._calls = calls = Calls(self._names, clock)
        self._inbox = self._names.inbox(incarnation)
        self._health = Health(str(server), loop.time, counters)
        self._published = False
        self._healer: asyncio.TimerHandle | None = None
        self._ticked = loop.time()
        self._servers: Nodes | Servers
        self._servers = (Nodes if server.kind == "cluster" else Servers)(
            server, self, loop, calls.probes(incarnation)
        )
        ask = self._servers.call
        self._heard = Heard(options, calls, ask, self, counters)
        self._backlog = Backlog(room, self._heard.take, self._dropped, self.read, loop)
        self._leases = Leases(incarnation, options, calls, ask, self._heard.all, loop.time)
        self._spreads = Spreads(incarnation, calls, ask, self._apply, loop.time, counters)
        self._servers.subscribe(COMMON, self._inbox)
        self._heard.add(SPREAD, SPREADS)
        self._servers.subscribe(COMMON, self._names.channel(SPREAD))

    # ------------------------------------------------------------------ publications

    def publish(
        self,
        group: str,
        opcode: int,
        data: bytes,
        *,
        event: str = "",
        json: bool = False,
        exclude: str = "",
        done: Done[Position] | None = None,
    ) -> None:
        draft = Publish(0, group, opcode, data, exclude, event, json)
        call = self._calls.publish(group, self._options(group), draft)
        self._servers.call(call, partial(self._placed, done))
        self._said += 1
        if self._crowded is None and self._load > CROWDED:
            self._on_crowded(True)
            self._wait_for_room()

    @property
    def _load(self) -> float:
        load = self._servers.load
        # What is in the queue may be in the backlog soon. Nobody waits for what others say, though.
        return load + self._backlog.load if 2 * self._said >= self._came else load

    def _wait_for_room(self) -> None:
        if self._load > ROOMY:
            self._crowded = self._loop.call_later(CROWDED_LOOK, self._wait_for_room)
        else:
            self._crowded = None
            self._on_crowded(False)

    def _placed(self, done: Done[Position] | None, outcome: Placed | Failure) -> None:
        if isinstance(outcome, Failure):
            self._health.lost(outcome, told=done is not None)
            if done is not None:
                done(outcome)
        elif done is not None:
            done(outcome.position)

    def subscribe(self, group: str) -> None:
        self._heard.add(group, self._options(group))
        self._servers.subscribe(self._names.bucket(group), self._names.channel(group))
        self._leases.look(group)

    def unsubscribe(self, group: str) -> None:
        self._heard.remove(group)
        self._servers.unsubscribe(self._names.bucket(group), self._names.channel(group))

    def position(self, group: str, done: Done[Position]) -> None:
        options = self._with_history(group)
        if options is not None:
            call = self._calls.position(group, options)
            self._ask(call, partial(self._told, group, done))
        elif group in self._heard:
            # Who joins is told when it gets what is published.
            self._servers.when_subscribed(
                self._names.bucket(group),
                self._names.channel(group),
                partial(done, Position(0, "")),
            )
        else:
            done(Position(0, ""))

    def _ask(self, call: Call[Any], done: Callable[[Any], None]) -> None:
        """Ask what a hook waits for: of them there may be many, and so none for long."""
        if self._servers.hopeless(call.bucket):
            done(AWAY)
        else:
            self._servers.call(call, done)

    def _told(self, group: str, done: Done[Position], outcome: Position | Failure) -> None:
        position = None if isinstance(outcome, Failure) else outcome
        self._answer(group, position, done, outcome)

    def _answer(
        self, group: str, position: Position | None, done: Done[Any], outcome: object
    ) -> None:
        """Answer what a group's publications are counted from: who gets that gets next what comes
        after it, and nothing twice."""
        if position is None:
            self._heard.untold(group)
            done(outcome)
            return

        def answer(well: bool) -> None:
            self._heard.told(group, position)
            done(outcome if well else UNKNOWN)

        self._backlog.behind(lambda: self._heard.after(group, answer))

    def history(self, group: str, since: Position | None, limit: int, done: Done[Recent]) -> None:
        options = self._with_history(group)
        if options is None:
            self.position(group, lambda position: done(_nothing(position)))
        else:
            call = self._calls.history(group, options, since, limit, PAGE_BYTES)
            self._ask(call, partial(self._found, group, done))

    def _found(self, group: str, done: Done[Recent], outcome: Found | Failure) -> None:
        if isinstance(outcome, Failure):
            self._answer(group, None, done, outcome)
        else:
            publications = [entry.publication for entry in outcome.entries]
            recent = Recent(publications, outcome.position, outcome.complete)
            self._answer(group, outcome.position, done, recent)

    def _with_history(self, group: str) -> GroupConfig | None:
        options = self._options(group)
        return options if options is not None and options.history_size else None

    # ------------------------------------------------------------------ presence

    def enter(self, group: str, member: Present) -> None:
        self._leases.enter(group, member)

    def leave(self, group: str, id: str) -> None:
        self._leases.leave(group, id)

    def presence(self, group: str, done: Done[list[Present]]) -> None:
        options = self._options(group)
        if options is None or not (options.presence or options.join_leave):
            done([])
            return

        # Who lives is asked behind who is there: so nobody who has just come is left out.
        def present(found: list[Present] | Failure) -> None:
            if isinstance(found, Failure):
                done(found)
            else:
                self._ask(self._calls.lease(), partial(living, found))

        def living(found: list[Present], lease: Lease | Failure) -> None:
            done(lease if isinstance(lease, Failure) else who(found, lease.live))

        self._ask(self._calls.present(group), present)

    # ------------------------------------------------------------------ everything else

    def spread(self, message: Publish | Expel | Recheck, done: Done[int] | None = None) -> None:
        self._spreads.spread(message, done)

    def _apply(self, message: Publish | Expel | Recheck) -> int:
        self._published = True
        return self._listener.spread(message)

    def use_ticket(self, nonce: str, expires: float, done: Done[bool]) -> None:
        self._ask(self._calls.use_ticket(nonce, expires), done)

    @property
    def away(self) -> float:
        return self._health.away

    def expire(self) -> None:
        self._spreads.expire()
        self._health.report()
        self._said //= 2
        self._came //= 2
        now = self._loop.time()
        if now - self._ticked < TICK or not self._servers.there(COMMON):
            return
        self._ticked = now
        self._leases.renew()
        self._heard.keep(TICK / KEEP_ROUND)
        self._heal()

    async def drain(self, seconds: float) -> None:
        if self._health.away:
            return
        deadline = self._loop.time() + seconds
        self._servers.call(self._calls.end_lease(self._incarnation), lambda outcome: None)
        while not self._servers.idle and self._loop.time() < deadline:
            await asyncio.sleep(0.005)

    def close(self) -> None:
        self._backlog.close()
        for timer in (self._healer, self._crowded, self._untold):
            if timer is not None:
                timer.cancel()
        self._servers.close()

    # ------------------------------------------------------------------ of the connections

    def up(self, link: Link) -> None:
        """See :class:`.link.Links`."""
        if self._servers.all_up:
            # Who had something to tell of users may have given up at once. Not so before the first
            # connection of all.
            if 0 < self._health.away < math.inf and self._untold is None:
                self._untold = self._loop.call_later(UNTOLD, self._look_who_may_stay)
            self._health.up()
        self._ticked = self._loop.time()
        if not self._servers.has(link, COMMON):  # the lease does not tell whether it has its data
            self._leases.tell_again(lambda group: self._servers.has(link, self._bucket(group)))
        self._leases.renew()
        if self._servers.has(link, COMMON):
            call = self._calls.position(SPREAD, SPREADS)
            self._servers.call(call, partial(self._told, SPREAD, lambda outcome: None))
        self._heard.reconnected(lambda group: self._servers.has(link, self._bucket(group)))

    def _look_who_may_stay(self) -> None:
        self._untold = None
        self._listener.missed_spreads()

    def _bucket(self, group: str) -> int:
        return self._names.bucket(group)

    def gained(self, buckets: frozenset[int]) -> None:
        """See :class:`.nodes.Owner`."""
        self._heard.reconnected(lambda group: self._names.bucket(group) in buckets)

    def down(self, link: Link | None, reason: str) -> None:
        """See :class:`.link.Links`."""
        self._health.down(reason)
        if link is None or self._servers.has(link, COMMON):
            self._leases.lost()

    def pushed(self, link: Link, message: list[Value]) -> None:
        """See :class:`.link.Links`."""
        if len(message) != 3 or message[0] != b"smessage":
            return
        _, channel, data = message
        assert isinstance(channel, bytes)
        assert isinstance(data, bytes)
        if channel == self._inbox:
            self._spreads.answered(data)
            return
        group = self._names.group(channel)
        if group is None:
            return
        try:
            entry = read_entry(data)
        except FormError as error:
            self._counters["messages_unknown"] += 1
            logger.warning("skipped what stands in the channel of %r: %s", group, error)
            return
        self._came += 1
        self._backlog.add(group, entry)

    def read(self) -> None:
        """See :class:`.link.Links`."""
        if self._published:
            self._published = False
            self._on_published()
        if self._heard.ill and self._healer is None:
            self._heal()

    def _heal(self) -> None:
        """Look after groups, as far as members take what they get, and go on with that."""
        if self._backlog.room:
            self._heard.heal()
        if self._healer is not None:
            self._healer.cancel()
            self._healer = None
        if self._heard.ill:
            self._healer = self._loop.call_later(HEAL_PAUSE, self._heal)
        if self._published:
            self._published = False
            self._on_published()

    # ------------------------------------------------------------------ of what was heard

    def _dropped(self, group: str) -> None:
        self._counters["engine_overflow"] += 1
        self._heard.overflow(group)

    def heard(self, group: str, entry: Entry) -> None:
        """See :class:`.heard.Ears`."""
        if group == SPREAD:
            self._spreads.take(entry)
            return
        self._published = True
        self._listener.published(group, entry.publication, entry.epoch, entry.exclude)

    def missed(self, group: str, position: Position) -> None:
        """See :class:`.heard.Ears`."""
        if group == SPREAD:
            logger.error(
                "what other gateways said was missed: who may stay is looked at again, but "
                "disconnects may not be done here"
            )
            self._listener.missed_spreads()
        else:
            self._health.missed()
            self._published = True
            self._listener.missed(group, position)


def _nothing(position: Position | Failure) -> Recent | Failure:
    return position if isinstance(position, Failure) else Recent([], position, False)
