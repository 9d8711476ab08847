"""Which workers are let in, by what they say of themselves."""

from __future__ import annotations

import logging
from collections import OrderedDict

from ..options import GatewayConfig
from ..transport.addresses import may_connect
from ..wire.messages import Hello
from ..wire.projects import foreign_home

__all__ = ["Introductions"]

logger = logging.getLogger("django_ws.gateway.workers")

#: Names to remember. The dead say Hello once more at most, so this is plenty.
REMEMBERED = 1000


class Introductions:
    """Looks at the Hello of workers that are not known yet.

    Args:
        config: of this gateway, which both must agree with.
    """

    def __init__(self, config: GatewayConfig) -> None:
        self._project = config.project
        self._home = config.home
        self._push_socket = config.push_socket
        self._dead: OrderedDict[str, None] = OrderedDict()
        self._logged: OrderedDict[str, None] = OrderedDict()

    def died(self, incarnation: str) -> None:
        """A worker counts as dead, whatever it says from now on."""
        _remember(self._dead, incarnation)

    def objection(self, incarnation: str, project: str, hello: Hello) -> str | None:
        """Why a worker is not let in, in words for its log; ours says it, too, once.

        Args:
            project: what the worker's batches name.

        Returns:
            ``None`` if it may join.
        """
        if incarnation in self._dead:
            return "it counts as dead here"
        if project != self._project:
            advice = "give each project sockets of its own"
            self.refused(
                incarnation,
                f"a worker of the project {project!r} at this gateway of {self._project!r}: "
                f"{advice}",
            )
            return f"this gateway serves {self._project!r}: {advice}"
        if hello.home and self._home and hello.home != self._home:
            self.refused(incarnation, f"a worker: {foreign_home(hello.home, self._home)}")
            return foreign_home(self._home, hello.home)
        if not may_connect(hello.endpoint, self._push_socket):
            advice = "give gateway and workers the same --push-socket"
            self.refused(
                incarnation,
                f"a worker at {hello.endpoint}, which is not of {self._push_socket}: {advice}",
            )
            return f"its endpoint is not of {self._push_socket}; {advice}"
        return None

    def refused(self, incarnation: str, why: str) -> None:
        """Say once that a worker is refused, and why. It may be another one that uses its name, so
        its name itself has no bad reputation from this."""
        if incarnation not in self._logged:
            _remember(self._logged, incarnation)
            logger.error("refused %s", why)


def _remember(names: OrderedDict[str, None], name: str) -> None:
    names[name] = None
    if len(names) > REMEMBERED:
        names.popitem(last=False)
