"""How what any code in a worker publishes leaves: by its own links, in order with hooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from .. import publisher
from ..exceptions import GatewayUnavailable
from ..wire.messages import GroupSend, Publish, PublisherMessage
from .connection import Link

__all__ = ["WorkerOutlet"]


class Links(Protocol):
    """What the outlet needs of whatever runs hooks.

    Attributes:
        links: to the gateways.
        shared: these share an engine, so one of them is enough.
    """

    links: Sequence[Link]
    shared: bool

    def way(self) -> Link | None:
        """The one for what is published now, if they are shared."""

    def publish_on(self, link: Link, message: GroupSend) -> None:
        """Hand a publication to one gateway."""


class WorkerOutlet:
    """An :class:`~django_ws.outlet.Outlet`.

    Args:
        runner: of the worker, or of a connection's own process.
    """

    def __init__(self, runner: Links) -> None:
        self._runner = runner

    def send(self, messages: Sequence[PublisherMessage]) -> None:
        """Publish; what is for a user takes the way of other processes."""
        others: list[PublisherMessage] = []
        shared = self._runner.shared
        links = self._links()
        for message in messages:
            if not isinstance(message, Publish) or message.user:
                others.append(message)
                continue
            if not links:
                raise GatewayUnavailable("no gateway is there")
            for link in links:
                gateway, _, number = message.exclude.rpartition("-")
                exclude = int(number) if gateway == link.gateway and number.isdecimal() else 0
                self._runner.publish_on(
                    link,
                    GroupSend(
                        message.group,
                        message.opcode,
                        message.data,
                        exclude,
                        message.event,
                        message.json,
                        message.exclude if shared and not exclude else "",
                    ),
                )
        if others:
            publisher.gateways().send(others)

    def _links(self) -> list[Link]:
        """Those by which a publication leaves now."""
        if self._runner.shared:
            way = self._runner.way()
            return [] if way is None else [way]
        return [link for link in self._runner.links if link.up]

    def ask(self, requests: Sequence[PublisherMessage], timeout: float) -> list[list[msgspec.Raw]]:
        """Ask by links of this process's own, on which answers come back."""
        links = self._runner.links
        for link in links:
            link.flush()  # what was published before comes first, unless the link is full
        way = self._runner.way() if self._runner.shared else None
        first = next((index for index, link in enumerate(links) if link is way), 0)
        return publisher.gateways().ask(requests, timeout, first)
