"""Every operation as a command for the server and a reader of its reply.

The gateway's connections and those of other processes share this; what differs is how bytes travel.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from ..options import GroupConfig
from ..wire.messages import TEXT, Position, Present, Publish
from . import scripts
from .forms import Entry, Spread, encode_spread, head, payload, present, read_entry
from .names import COMMON, SPREAD, Names
from .scripts import Script

__all__ = ["LEASE", "SPREADS", "Call", "Calls", "Found", "Lease", "Part", "Placed", "who"]

T = TypeVar("T")

Part = bytes | str | int

#: Seconds for which a gateway that says nothing still counts as alive.
LEASE = 5.0

#: Seconds beyond ``history_ttl`` for which a quiet group's offset is kept; gateways that have
#: members renew it. What is kept for any time expires after :data:`FOR_EVER` nevertheless.
OFFSET_TTL = 3600.0
FOR_EVER = 30 * 86400.0

#: Seconds for which the name of a memory is kept, which is longer than anything in it.
EPOCH_TTL = int(2 * FOR_EVER)

#: Seconds for which a gateway's answers wait for whoever asked.
REPLY_TTL = 10

#: Bytes of publications in one answer, and what one that says who is present mostly stays within.
MAX_RECENT = 4 * 1024 * 1024
PRESENT = 32 * 1024

#: What is kept of what concerns all gateways, for those whose connection broke.
SPREADS = GroupConfig(history_size=1000, history_ttl=60.0)


class Placed(NamedTuple):
    """Where a publication stands.

    Attributes:
        heard: how many gateways get it.
    """

    position: Position
    heard: int


class Found(NamedTuple):
    """A part of a history; see :class:`.wire.messages.Recent`."""

    entries: list[Entry]
    position: Position
    complete: bool


class Lease(NamedTuple):
    """Which gateways there are.

    Attributes:
        known: the one that asks was among them.
        live: their incarnations.
    """

    known: bool
    live: frozenset[str]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One command.

    Attributes:
        bucket: where its keys lie.
        script: what it runs; ``None`` for a command of the server's own.
        parts: a script's keys and arguments, or the whole command.
        keys: how many of the parts are keys.
        read: turns the reply into the value.
        answer: bytes of a reply that may be large, as far as that can be known.
    """

    bucket: int
    script: Script | None
    parts: tuple[Part, ...]
    keys: int
    read: Callable[[Any], T]
    answer: int = 0

    def command(self, *, in_full: bool = False) -> tuple[Part, ...]:
        """What is sent.

        Args:
            in_full: with the script's text, for a server that does not know it.
        """
        if self.script is None:
            return self.parts
        if in_full:
            return ("EVAL", self.script.text, self.keys, *self.parts)
        return ("EVALSHA", self.script.digest, self.keys, *self.parts)


class Calls:
    """Makes them.

    Args:
        clock: seconds since the epoch; ``None`` for the server's own.
    """

    def __init__(self, names: Names, clock: Callable[[], float] | None = None) -> None:
        self.names = names
        self._clock = clock

    def _now(self) -> bytes:
        return b"" if self._clock is None else b"%d" % round(self._clock() * 1e6)

    def probes(self, incarnation: str) -> list[tuple[Part, ...]]:
        """Commands that do no harm, and tell whether a gateway may use our keys and channels."""
        names = self.names
        return [
            ("PEXPIRE", names.live(), _milliseconds(OFFSET_TTL)),
            ("SPUBLISH", names.inbox(incarnation), b""),
        ]

    # ------------------------------------------------------------------ publications

    def publish(self, group: str, options: GroupConfig | None, draft: Publish) -> Call[Placed]:
        """A publication.

        Args:
            options: of the group.
            draft: what; its group and user do not matter.
        """
        first = head(draft.opcode, draft.json, draft.event, draft.exclude)
        body = payload(draft.event, draft.exclude, draft.data)
        names = self.names
        if options is None or not options.history_size:
            now = self._now() or b"%d" % (time.time_ns() // 1000)
            entry = b"0 %b -%b%b" % (now, first, body)
            parts = ("SPUBLISH", names.channel(group), entry)
            return Call(names.bucket(group), None, parts, 1, _read_heard)
        return self._of_group(
            scripts.PUBLISH,
            group,
            options,
            _read_placed,
            options.history_size,
            _milliseconds(_ttl(options)),
            first,
            body,
            channel=True,
        )

    def position(self, group: str, options: GroupConfig) -> Call[Position]:
        """How far a group with history has come."""
        return self._of_group(scripts.POSITION, group, options, _read_position)

    def history(
        self,
        group: str,
        options: GroupConfig,
        since: Position | None,
        limit: int,
        room: int = MAX_RECENT,
    ) -> Call[Found]:
        """What was published in a group with history; see :meth:`.Engine.history`.

        Args:
            room: bytes of publications at most, if one alone is not larger.
        """
        return self._of_group(
            scripts.HISTORY,
            group,
            options,
            _read_found,
            _milliseconds(_ttl(options)),
            b"" if since is None else since.offset,
            "" if since is None else since.epoch,
            max(0, limit),
            room,
            answer=room,
        )

    def _of_group(
        self,
        script: Script,
        group: str,
        options: GroupConfig,
        read: Callable[[Any], T],
        *arguments: Part,
        channel: bool = False,
        answer: int = 0,
    ) -> Call[T]:
        names = self.names
        bucket = names.bucket(group)
        keys = [names.meta(group), names.history(group), names.epoch(bucket)]
        if channel:
            keys.append(names.channel(group))
        keep = _milliseconds(_ttl(options) + OFFSET_TTL)
        parts = (*keys, self._now(), secrets.token_hex(8), keep, EPOCH_TTL, *arguments)
        return Call(bucket, script, parts, len(keys), read, answer)

    def renew(self, group: str, epoch: str, offset: int, micros: int) -> Call[bool]:
        """Another epoch, if a publication that was heard is not there any more though it should be.

        Args:
            epoch, offset, micros: of that publication.
        """
        names = self.names
        bucket = names.bucket(group)
        keys = (names.meta(group), names.history(group), names.epoch(bucket))
        arguments = (epoch, secrets.token_hex(8), EPOCH_TTL, offset, micros)
        return Call(bucket, scripts.RENEW, (*keys, *arguments), 3, bool)

    def keep(self, group: str, options: GroupConfig) -> list[Call[None]]:
        """A group that has members is not to be forgotten."""
        names = self.names
        bucket = names.bucket(group)
        keep = _milliseconds(_ttl(options) + OFFSET_TTL)
        found: list[tuple[Part, ...]] = []
        if options.history_size:
            found.append(("PEXPIRE", names.meta(group), keep))
            found.append(("EXPIRE", names.epoch(bucket), EPOCH_TTL))
        if options.presence or options.join_leave:
            found.append(("PEXPIRE", names.present(group), keep))
            found.append(("PEXPIRE", names.users(group), keep))
        return [Call(bucket, None, parts, 1, _read_nothing) for parts in found]

    # ------------------------------------------------------------------ presence

    def enter(self, group: str, options: GroupConfig, member: Present) -> Call[None]:
        """Somebody is present; see :meth:`.Engine.enter`."""
        keep = _milliseconds(_ttl(options) + OFFSET_TTL)
        arguments = (keep, member.id, repr(member.since), member.user, member.info)
        return self._of_presence(scripts.ENTER, group, options, *arguments)

    def leave(self, group: str, options: GroupConfig, id: str) -> Call[None]:
        """A connection is present no more."""
        return self._of_presence(scripts.LEAVE, group, options, id)

    def reap(self, group: str, options: GroupConfig, incarnation: str) -> Call[None]:
        """None of a gateway that has died is present any more."""
        return self._of_presence(scripts.REAP, group, options, incarnation)

    def _of_presence(
        self, script: Script, group: str, options: GroupConfig, *arguments: Part
    ) -> Call[None]:
        names = self.names
        mode = {False: "", True: "all", "user": "user"}[options.join_leave]
        keys = (names.present(group), names.users(group), names.channel(group))
        parts = (*keys, self._now(), mode, *arguments)
        return Call(names.bucket(group), script, parts, 3, _read_nothing)

    def present(self, group: str) -> Call[list[Present]]:
        """Who is in a group, also those of gateways that have died; see :func:`who`."""
        key = self.names.present(group)
        return Call(self.names.bucket(group), None, ("HGETALL", key), 1, _read_present, PRESENT)

    def lease(self, incarnation: str = "") -> Call[Lease]:
        """Which gateways there are; one that gives its name is one for :data:`LEASE` seconds."""
        keep = _milliseconds(OFFSET_TTL)
        arguments = (self._now(), incarnation, round(LEASE * 1e6), keep)
        return Call(COMMON, scripts.LEASE, (self.names.live(), *arguments), 1, _read_lease)

    def end_lease(self, incarnation: str) -> Call[None]:
        """A gateway ends."""
        parts = ("ZREM", self.names.live(), incarnation)
        return Call(COMMON, None, parts, 1, _read_nothing)

    # ------------------------------------------------------------------ everything else

    def use_ticket(self, nonce: str, expires: float) -> Call[bool]:
        """Use a ticket; see :meth:`.Engine.use_ticket`."""
        bucket, key = self.names.ticket(nonce)
        parts = ("SET", key, b"1", b"NX", b"PXAT", max(1, _milliseconds(expires)))
        return Call(bucket, None, parts, 1, _read_set)

    def spread(self, message: Spread, reply_to: str) -> Call[Placed]:
        """Hand something to every gateway.

        Args:
            reply_to: where each says to how many connections it applied; see :meth:`reply`.
        """
        draft = Publish(0, SPREAD, TEXT, encode_spread(message), event=reply_to)
        return self.publish(SPREAD, SPREADS, draft)

    def reply(self, reply_to: str, number: int) -> list[Call[None]]:
        """Answer a spread.

        Args:
            reply_to: ``list:TOKEN``, or ``inbox:INCARNATION:TOKEN`` of a gateway.
            number: of connections to which it applied.
        """
        kind, _, rest = reply_to.partition(":")
        commands: list[tuple[Part, ...]] = []
        if kind == "list":
            key = self.names.replies(rest)
            commands = [("RPUSH", key, number), ("EXPIRE", key, REPLY_TTL)]
        elif kind == "inbox":
            incarnation, _, token = rest.partition(":")
            commands = [("SPUBLISH", self.names.inbox(incarnation), f"{token} {number}")]
        return [Call(COMMON, None, parts, 1, _read_nothing) for parts in commands]


def who(found: list[Present], live: frozenset[str]) -> list[Present]:
    """Those of gateways that live."""
    return [each for each in found if each.id.rpartition("-")[0] in live]


def _ttl(options: GroupConfig) -> float:
    return options.history_ttl or FOR_EVER


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _read_nothing(reply: Any) -> None:
    return None


def _read_set(reply: Any) -> bool:
    return reply is not None


def _read_heard(reply: Any) -> Placed:
    return Placed(Position(0, ""), int(reply))


def _read_placed(reply: Any) -> Placed:
    offset, epoch, heard = reply
    return Placed(Position(int(offset), epoch.decode()), int(heard))


def _read_position(reply: Any) -> Position:
    offset, epoch = reply
    return Position(int(offset), epoch.decode())


def _read_found(reply: Any) -> Found:
    offset, epoch, complete, entries = reply
    position = Position(int(offset), epoch.decode())
    return Found([read_entry(each) for each in entries], position, bool(complete))


def _read_present(reply: Any) -> list[Present]:
    # RESP2 lists fields and values in turns, RESP3 has a map.
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    found = sorted((present(id, value) for id, value in pairs if id), key=lambda each: each[0])
    return [each for _, each in found]


def _read_lease(reply: Any) -> Lease:
    known, live = reply
    return Lease(bool(known), frozenset(each.decode() for each in live))
