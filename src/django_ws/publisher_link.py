"""The gateways as a Django process sees them that is no worker: where publications leave.

Each thread has one of a few DEALERs per gateway, always the same one: so what it publishes and asks
arrives in the order of its calls. Nothing here survives a fork: the child makes its own.
"""

from __future__ import annotations

import itertools
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from .exceptions import GatewayUnavailable, PublishError, PublishTimeout
from .options import MAX_BATCH, PublisherConfig
from .transport.replies import RepliesSender, is_there
from .wire.codec import Batch, WireError, decode_answer, encode
from .wire.messages import (
    WIRE_VERSION,
    Answer,
    Expel,
    Failed,
    Publish,
    PublisherMessage,
    Role,
)

__all__ = ["PATIENCE", "Gateways", "next_request"]

#: Seconds to wait for a gateway that takes nothing, and then to go without waiting.
PATIENCE = 1.0

#: The same for what is of no interest to a gateway that is not there: it has no connections.
NO_PATIENCE = 0.25

#: Seconds for an answer of a gateway that has just failed to give one in time, and for a line that
#: another thread is at: that one is about to let go of it.
BRIEFLY = 0.05

#: Requests that wait for their answers at a time. A ROUTER drops what a DEALER has no room for, so
#: these have to fit into its ``HIGH_WATER``, of which ZeroMQ may hear only half a window later.
WINDOW = 32

#: DEALERs to each gateway, made when they are first needed. Threads beyond that share them.
LINES = 4

#: Bytes to count for a message besides its payload.
OVERHEAD = 64

#: Seconds without a sign of life over tcp until a gateway counts as gone.
SILENCE = 30.0

#: What a gateway's engine fails with, as far as it is more than a refusal.
_FAILURES = {
    "engine_away": GatewayUnavailable,
    "engine_busy": GatewayUnavailable,
    "engine_unknown": PublishTimeout,
}

_requests = itertools.count(1)


def next_request() -> int:
    """A number for a request that this process has not used yet."""
    return next(_requests)


class _ThreadNumber(threading.local):
    """Numbers threads (and greenlets), so that each finds its line again."""

    _numbers = itertools.count()

    def __init__(self) -> None:
        self.value = next(self._numbers)


class _Line:
    """One DEALER.

    Attributes:
        lock: guards the rest.
        reached: it has been connected before.
        stuck: the gateway did not take the last batch. Read without the lock by who could not get
            it: whether that is the gateway's fault, or that of many who publish at once.
    """

    def __init__(self, endpoint: str) -> None:
        self.lock = threading.Lock()
        self.reached = False
        self.stuck = False
        self._socket = RepliesSender(endpoint, SILENCE)

    def send(self, batch: bytes, deadline: float) -> bool:
        """Queue a batch. False if the gateway took none until then (``time.monotonic()``)."""
        # What is late is tried all the same: it costs nothing.
        self.stuck = not self._socket.send(batch, deadline - time.monotonic())
        self.reached |= not self.stuck
        return not self.stuck

    def answers(self, requests: set[int], deadline: float) -> Iterator[Answer | Failed]:
        """The answers to these requests, as far as they come in time."""
        while requests:
            data = self._socket.receive(deadline - time.monotonic())
            if data is None:
                return
            try:
                answer = decode_answer(data)
            except WireError:
                continue
            # Others are late ones: nobody waits for them any more.
            if isinstance(answer, (Answer, Failed)) and answer.request in requests:
                requests.discard(answer.request)
                yield answer

    def close(self) -> None:
        self._socket.close()


class _Gateway:
    """One gateway, with the lines to it.

    Attributes:
        resting: until when it gets no patience, since it took nothing (``time.monotonic()``).
            Threads may see an old value, which costs one of them a second.
        silent: until when nobody waits long for what it answers, since it gave no answer; the same.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.resting = 0.0
        self.silent = 0.0
        self._lock = threading.Lock()
        self._lines: list[_Line | None] = [None] * LINES  # guarded by _lock

    def line(self, number: int) -> _Line:
        """The line of a thread."""
        index = number % LINES
        line = self._lines[index]
        if line is None:
            with self._lock:
                line = self._lines[index]
                if line is None:
                    line = self._lines[index] = _Line(self.endpoint)
        return line

    def failed(self, started: float, certain: bool = True) -> None:
        """It took nothing for so long that others need not try.

        Args:
            started: when whoever tells began to wait (``time.monotonic()``).
            certain: False if it may as well have had too little time. Then it counts only from who
                had all of :data:`PATIENCE`: a busy gateway would seem to be gone for as long as
                there is much to send.
        """
        now = time.monotonic()
        if certain or now - started >= PATIENCE:
            self.resting = now + PATIENCE

    def deadline(self, started: float, patience: float) -> float:
        """Until when to wait for it."""
        return started if started < self.resting else started + patience

    def close(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, [None] * LINES
        for line in lines:
            # A thread that is still at it ends with the process.
            if line is not None and line.lock.acquire(timeout=0.1):
                line.close()


class Gateways:
    """All gateways of the project; any thread may call. Without an engine that they share, what is
    published goes to each of them."""

    def __init__(self, config: PublisherConfig) -> None:
        self._project = config.project
        self._sender = secrets.token_hex(8)
        self._gateways = [_Gateway(endpoint) for endpoint in config.sub_sockets]
        self._thread = _ThreadNumber()
        self._shared = bool(config.engine)  # then one gateway is enough

    def send(self, messages: Sequence[PublisherMessage]) -> None:
        """Queue what nobody waits for.

        Raises:
            GatewayUnavailable: No gateway takes it; after a second, or at once if that was so less
                than a second ago.
        """
        batches = [self._encode(part) for part in _cut(messages)]
        number = self._thread.value
        started = time.monotonic()
        late: list[tuple[_Gateway, list[bytes]]] = []
        for gateway in self._gateways:
            if left := _send(gateway.line(number), batches, started):
                late.append((gateway, left))
            elif self._shared:
                return
        taken = len(late) < len(self._gateways)
        for gateway, left in late:
            line = gateway.line(number)
            # Who is at a gateway that is down need not be waited for while another one serves.
            patience = 0.0 if taken and line.reached else PATIENCE
            if _send(line, left, gateway.deadline(started, patience)):
                if line.stuck:
                    gateway.failed(started, taken)
            else:
                taken = True
                if self._shared:
                    return
        if not taken:
            raise self._unavailable()

    def tell(self, messages: Sequence[PublisherMessage]) -> bool:
        """Queue what concerns only gateways that are there; the others are hardly waited for.

        Returns:
            Whether one has taken it.
        """
        batches = [self._encode(part) for part in _cut(messages)]
        number = self._thread.value
        taken = False
        for gateway in self._gateways:
            if not is_there(gateway.endpoint):
                continue
            started = time.monotonic()
            line = gateway.line(number)
            if not _send(line, batches, gateway.deadline(started, NO_PATIENCE)):
                taken = True
            elif line.stuck:
                gateway.failed(started)
        return taken

    def ask(
        self, requests: Sequence[PublisherMessage], timeout: float, first: int = 0
    ) -> list[list[msgspec.Raw]]:
        """Have requests answered.

        Args:
            timeout: seconds for everything.
            first: index of the gateway that is asked before the others, and alone if it answers
                and they share an engine.

        Returns:
            By gateway, without those that are down, the values of the answers in the order of the
            requests; at least one gateway's.

        Raises:
            GatewayUnavailable: No gateway takes them, as in :meth:`send`; or none answers what
                changes nothing.
            PublishTimeout: One has not answered in time, and may have done it.
            PublishError: One refuses.
        """
        parts = [(part, self._encode(part)) for part in _cut(requests, WINDOW)]
        question = _Question(parts, time.monotonic(), timeout)
        number = self._thread.value
        found: list[list[msgspec.Raw]] = []
        down: list[_Gateway] = []
        several = len(self._gateways) > 1
        for gateway in (*self._gateways[first:], *self._gateways[:first]):
            line = gateway.line(number)
            # Who is at a gateway that is down need not be waited for while another one serves.
            patience = 0.0 if several and line.reached else PATIENCE
            answers = _ask(gateway, line, question, patience)
            if answers is None:
                down.append(gateway)
            else:
                found.append(answers)
                if self._shared:
                    return found
        if several and not found:
            for gateway in down:
                answers = _ask(gateway, gateway.line(number), question, PATIENCE)
                if answers is not None:
                    found.append(answers)
        if not found:
            raise self._unavailable()
        return found

    def close(self) -> None:
        """Close all sockets; what is queued has a second to leave."""
        for gateway in self._gateways:
            gateway.close()

    # ------------------------------------------------------------------ batches

    def _encode(self, part: Sequence[PublisherMessage]) -> bytes:
        return encode(
            Batch(WIRE_VERSION, self._project, self._sender, "", 0, 0, part, {}, Role.PUBLISHER)
        )

    def _unavailable(self) -> GatewayUnavailable:
        endpoints = ", ".join(gateway.endpoint for gateway in self._gateways)
        return GatewayUnavailable(
            f"no gateway at {endpoints}: is run_wsserver (or run_wsgateway) running, with the same "
            "settings (SUB_SOCKET, PROJECT)?"
        )


def _acquire(line: _Line, deadline: float) -> bool:
    return line.lock.acquire(timeout=max(BRIEFLY, deadline - time.monotonic()))


def _send(line: _Line, batches: list[bytes], deadline: float) -> list[bytes]:
    """Send batches in order; returns those that were not taken."""
    if not _acquire(line, deadline):
        return batches
    try:
        for index, batch in enumerate(batches):
            if not line.send(batch, deadline):
                return batches[index:]
    finally:
        line.lock.release()
    return []


class _Question(NamedTuple):
    """What is to be answered.

    Attributes:
        parts: the requests, each part with its batch, encoded.
        started: ``time.monotonic()``.
        timeout: seconds for everything.
    """

    parts: list[tuple[Sequence[PublisherMessage], bytes]]
    started: float
    timeout: float


def _ask(
    gateway: _Gateway, line: _Line, question: _Question, patience: float
) -> list[msgspec.Raw] | None:
    """The answers of one gateway; ``None`` if it is down. See :meth:`Gateways.ask`."""
    parts, started, timeout = question
    changes = isinstance(parts[0][0][0], (Publish, Expel))
    answer_by = started + timeout
    if not changes and started < max(gateway.resting, gateway.silent):
        answer_by = started + BRIEFLY
    deadline = gateway.deadline(started, min(patience, timeout))
    if not _acquire(line, deadline):
        if line.stuck:
            gateway.failed(started, not patience)
        return None
    values: list[msgspec.Raw] = []
    try:
        for index, (requests, batch) in enumerate(parts):
            if not line.send(batch, answer_by if index else deadline):
                if index:
                    break
                gateway.failed(started, not patience)
                return None
            found: dict[int, msgspec.Raw] = {}
            for answer in line.answers({each.request for each in requests}, answer_by):
                if isinstance(answer, Failed):
                    raise _FAILURES.get(answer.code, PublishError)(answer.words)
                found[answer.request] = answer.value
            if len(found) < len(requests):
                break
            values.extend(found[each.request] for each in requests)
        else:
            return values
    finally:
        line.lock.release()
    gateway.silent = time.monotonic() + PATIENCE
    words = f"the gateway at {gateway.endpoint} did not answer in time"
    raise PublishTimeout(words) if changes else GatewayUnavailable(words)


def _cut(
    messages: Sequence[PublisherMessage], most: int = sys.maxsize
) -> Iterator[Sequence[PublisherMessage]]:
    """Into batches of a bounded size, of ``most`` messages each."""
    if len(messages) == 1:
        yield messages
        return
    part: list[PublisherMessage] = []
    size = 0
    for message in messages:
        grown = OVERHEAD + (len(message.data) if isinstance(message, Publish) else 0)
        if part and (size + grown > MAX_BATCH or len(part) == most):
            yield part
            part, size = [], 0
        part.append(message)
        size += grown
    if part:
        yield part
