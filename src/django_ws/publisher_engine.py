"""The engine as a Django process sees it that is no worker: what it publishes goes there directly.

So a machine without a gateway can publish, too. Nothing here survives a fork: the child makes its
own.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from .exceptions import GatewayUnavailable, PublishError, PublishTimeout
from .group_patterns import lookup
from .options import MAX_BATCH, PublisherConfig
from .store.calls import Call, Calls, Found, Placed, who
from .store.client import Away, Client, Late, Refused
from .store.names import Names
from .store.urls import parse
from .wire.codec import encode
from .wire.messages import (
    Expel,
    GetHistory,
    GetPosition,
    GetPresence,
    Position,
    Publish,
    PublisherMessage,
    Recent,
    Recheck,
    UseTicket,
)

__all__ = ["Engine"]

#: Seconds to wait for an engine that does not answer, and then to go without asking it.
PATIENCE = 1.0

#: Commands sent at a time.
MAX_COMMANDS = 500


class _Question(NamedTuple):
    """A request as commands.

    Attributes:
        calls: what is done, in order.
        answer: makes the answer of their values.
    """

    calls: list[Call[Any]]
    answer: Callable[[list[Any]], object]


class Engine:
    """An :class:`~django_ws.outlet.Outlet`; any thread may call.

    Raises:
        ValueError: ``ENGINE`` says no server.
    """

    def __init__(self, config: PublisherConfig) -> None:
        self._server = server = parse(config.engine)
        self._options = lookup(config.groups)
        self._calls = Calls(Names(config.project, server.db))
        self._client = Client(server, PATIENCE)
        # Until when it is not asked (`time.monotonic()`). Threads may see an old value, which costs
        # one of them a second.
        self._resting = 0.0

    def send(self, messages: Sequence[PublisherMessage]) -> None:
        """Do what nobody waits for.

        Raises:
            GatewayUnavailable: The engine does not take it, or takes nothing more; after a second,
                or at once if that was so less than a second ago.
        """
        try:
            for part in _cut([self._question(message, "") for message in messages]):
                deadline = time.monotonic() + PATIENCE  # anew, as the one before has been taken
                self._run([call for question in part for call in question.calls], deadline)
        except PublishTimeout as error:
            raise GatewayUnavailable(str(error)) from None

    def ask(self, requests: Sequence[PublisherMessage], timeout: float) -> list[list[msgspec.Raw]]:
        """Have requests answered; see :meth:`.publisher_link.Gateways.ask`.

        Raises:
            GatewayUnavailable: The engine is away.
            PublishTimeout: It has not answered in time, and may have done it.
            PublishError: It refuses.
        """
        deadline = time.monotonic() + timeout
        token = secrets.token_hex(8)
        found: list[object] = []
        for part in _cut([self._question(each, f"list:{token}") for each in requests]):
            values = iter(self._run([call for each in part for call in each.calls], deadline))
            found += [each.answer([next(values) for _ in each.calls]) for each in part]
        spreads = [i for i, each in enumerate(requests) if isinstance(each, (Expel, Recheck))]
        for i in spreads:
            placed = found[i]
            assert isinstance(placed, Placed)
            found[i] = self._count(token, placed.heard, deadline)
        return [[msgspec.Raw(encode(value)) for value in found]]

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    # ------------------------------------------------------------------ requests as commands

    def _question(self, message: PublisherMessage, reply_to: str) -> _Question:
        calls = self._calls
        match message:
            case Publish() if message.user:
                return _Question([calls.spread(message, "")], lambda values: Position(0, ""))
            case Publish():
                call = calls.publish(message.group, self._options(message.group), message)
                return _Question([call], lambda values: values[0].position)
            case Expel() | Recheck():
                return _Question([calls.spread(message, reply_to)], lambda values: values[0])
            case UseTicket():
                call_ = calls.use_ticket(message.nonce, message.expires)
                return _Question([call_], lambda values: int(values[0]))
            case GetPresence():
                both: list[Call[Any]] = [calls.present(message.group), calls.lease()]
                return _Question(both, lambda values: who(values[0], values[1].live))
            case GetHistory() | GetPosition():
                return self._past(message)

    def _past(self, message: GetHistory | GetPosition) -> _Question:
        options = self._options(message.group)
        nowhere = Position(0, "")
        if options is None or not options.history_size:
            if isinstance(message, GetPosition):
                return _Question([], lambda values: nowhere)
            return _Question([], lambda values: Recent([], nowhere, False))
        if isinstance(message, GetPosition):
            call = self._calls.position(message.group, options)
            return _Question([call], lambda values: values[0])
        history = self._calls.history(message.group, options, message.since, message.limit)
        return _Question([history], lambda values: _recent(values[0]))

    # ------------------------------------------------------------------ the server

    def _run(self, calls: list[Call[Any]], deadline: float) -> list[Any]:
        now = time.monotonic()
        if not calls:
            return []
        if now < self._resting:
            raise self._away("it did not answer a moment ago")
        try:
            return self._client.run(calls, min(deadline, now + PATIENCE))
        except Away as error:
            self._resting = time.monotonic() + PATIENCE
            raise self._away(str(error)) from None
        except Late as error:
            self._resting = time.monotonic() + PATIENCE
            words = f"the engine at {self._server} did not answer in time: {error}"
            raise PublishTimeout(words) from None
        except Refused as error:
            raise PublishError(f"the engine at {self._server} refuses: {error}") from None

    def _away(self, words: str) -> GatewayUnavailable:
        return GatewayUnavailable(f"the engine at {self._server} is away: {words}")

    def _count(self, token: str, heard: int, deadline: float) -> int:
        """To how many connections something applied, at as many gateways as answer in time."""
        key = self._calls.names.replies(token)
        deadline = min(deadline, time.monotonic() + PATIENCE)
        numbers: list[int] = []
        try:
            while len(numbers) < heard and time.monotonic() < deadline:
                numbers += map(int, self._client.wait(key, deadline))
        except (Away, Late, Refused):
            pass  # it is done, or will be: only their number is not known
        return sum(numbers)


def _recent(found: Found) -> Recent:
    return Recent([each.publication for each in found.entries], found.position, found.complete)


def _cut(questions: list[_Question]) -> Iterator[list[_Question]]:
    """Into batches of a bounded size."""
    part: list[_Question] = []
    size = number = 0
    for question in questions:
        grown = sum(
            len(part_) if isinstance(part_, (bytes, str)) else 8
            for call in question.calls
            for part_ in call.parts
        )
        if part and (size + grown > MAX_BATCH or number >= MAX_COMMANDS):
            yield part
            part, size, number = [], 0, 0
        part.append(question)
        size += grown
        number += len(question.calls)
    if part:
        yield part
