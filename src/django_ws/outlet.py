"""How publications and questions leave this process, and when."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import msgspec
from asgiref.sync import sync_to_async
from django.db import connections

from . import publications, publisher
from .deferral import defer, in_transaction, lost, only_of_a_test
from .exceptions import GatewayUnavailable
from .publications import Publication
from .publisher_link import next_request
from .wire import messages as wire
from .wire.messages import Expel, Publish, PublisherMessage, Recheck

__all__ = ["Outlet", "apublish", "ask", "current_outlet", "expel", "publish", "set_outlet", "tell"]

T = TypeVar("T")

logger = logging.getLogger("django_ws.publishing")

#: Seconds for an answer to a question; what asks is often a view.
READ_TIMEOUT = 1.0


class Outlet(Protocol):
    """Where publications leave: this process's own links to the gateways, those of the worker that
    it is, or the memory of a test."""

    def send(self, messages: Sequence[PublisherMessage]) -> None:
        """See :meth:`.publisher_link.Gateways.send`."""

    def ask(self, requests: Sequence[PublisherMessage], timeout: float) -> list[list[msgspec.Raw]]:
        """See :meth:`.publisher_link.Gateways.ask`."""


_outlet: Outlet | None = None


def set_outlet(outlet: Outlet | None) -> Outlet | None:
    """Let publications leave elsewhere; ``None``: by links of this process's own.

    Returns:
        The outlet so far.
    """
    global _outlet
    before, _outlet = _outlet, outlet
    return before


def current_outlet() -> Outlet:
    """Where publications leave.

    Raises:
        ImproperlyConfigured: The settings are wrong.
    """
    return publisher.direct() if _outlet is None else _outlet


# ---------------------------------------------------------------- publications


def publish(
    drafts: list[Publish], immediate: bool, wait: bool, timeout: float, using: str | None
) -> list[Publication]:
    """Send now, or on commit; see :func:`django_ws.publish`."""
    if _defer(drafts, immediate, wait, using):
        return []
    return _direct(drafts, wait, timeout)


async def apublish(
    drafts: list[Publish], immediate: bool, wait: bool, timeout: float, using: str | None
) -> list[Publication]:
    """:func:`publish`, without blocking the loop."""
    # Transactions belong to the thread in which Django runs the ORM for async code.
    if await sync_to_async(_defer)(drafts, immediate, wait, using):
        return []
    direct = sync_to_async(_direct, thread_sensitive=False, executor=_one_thread())
    return await direct(drafts, wait, timeout)


def _defer(drafts: list[Publish], immediate: bool, wait: bool, using: str | None) -> bool:
    """Leave it to the commit; False if it is to go out now."""
    alias = None if immediate else in_transaction(using)
    if alias is None:
        return False
    if wait:
        if only_of_a_test(connections[alias]):
            return False
        raise RuntimeError(
            "wait=True inside a transaction, which sends only on commit: call it after the "
            "transaction, or with immediate=True"
        )
    defer(alias, drafts, _send, len(drafts))
    return True


def _send(drafts: Sequence[PublisherMessage]) -> None:
    current_outlet().send(drafts)


def _direct(drafts: list[Publish], wait: bool, timeout: float) -> list[Publication]:
    if not wait:
        try:
            _send(drafts)
        except GatewayUnavailable as error:
            _drop(len(drafts), error)
        return []
    for draft in drafts:
        draft.request = next_request()
    # If there are several gateways without an engine, each counts on its own.
    values = current_outlet().ask(drafts, timeout)[0]
    positions = [msgspec.msgpack.decode(value, type=wire.Position) for value in values]
    return [
        publications.published(draft, position)
        for draft, position in zip(drafts, positions, strict=True)
    ]


def _drop(number: int, error: GatewayUnavailable) -> None:
    """Raise it again, unless the project wants none of it."""
    if publisher.configuration().on_no_gateway != "drop":
        raise error
    lost(number, error)


_executor: ThreadPoolExecutor | None = None


def _one_thread() -> ThreadPoolExecutor:
    """What waits for async code: a single thread, so that the order of the calls stays."""
    global _executor
    if _executor is None:
        _executor = ThreadPoolExecutor(1, thread_name_prefix="ws-publish")
    return _executor


def _forget_after_fork() -> None:
    global _executor
    _executor = None  # its thread is the parent's


os.register_at_fork(after_in_child=_forget_after_fork)


# ---------------------------------------------------------------- everything else


def ask(request: PublisherMessage, kind: type[T]) -> list[T]:
    """What each gateway answers to a question."""
    found = current_outlet().ask([request], READ_TIMEOUT)
    return [msgspec.msgpack.decode(values[0], type=kind) for values in found]


def expel(message: Expel) -> int:
    """Close connections, now or on commit; see :func:`django_ws.disconnect`."""
    alias = in_transaction(None)
    if alias is not None:
        defer(alias, message, _expel, 1)
        return 0
    try:
        return _expel(message)
    except GatewayUnavailable as error:
        _drop(1, error)
        return 0


def _expel(message: Expel) -> int:
    return sum(ask(message, int))


def tell(messages: Sequence[Expel | Recheck], using: str | None, immediate: bool = False) -> None:
    """Let gateways know what has happened to sessions or users, now or on commit.

    Whoever has changed it need not know of gateways: this never raises, and waits for none. One
    that is not there has no connections either.

    Args:
        using: as of :func:`.deferral.in_transaction`.
        immediate: now, also inside a transaction.
    """
    try:
        alias = None if immediate else in_transaction(using)
        if alias is None:
            _tell(messages)
        else:
            defer(alias, messages, _tell, 0)
    except Exception:
        logger.exception("gateways do not know of a change")


def _tell(messages: Sequence[Expel | Recheck]) -> None:
    try:
        if _outlet is not None:
            _outlet.send(messages)
        elif not publisher.gateways().tell(messages) and publisher.configuration().engine:
            # No gateway is on this machine; those on others hear it from the engine.
            publisher.direct().send(messages)
    except GatewayUnavailable:
        pass
    except Exception:
        logger.exception("gateways do not know of a change")
