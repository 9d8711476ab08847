"""From a request to a session: who may begin one, and what the worker says to it.

No transport is meant: the upgrade to a WebSocket asks here, and so does whatever else begins or
continues a session over HTTP.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ...options import GatewayConfig
from ...wire.messages import Accept, Handshake, Refuse
from ..clients.context import Asked, Session
from ..logs import printable
from ..sessions import Saturated, UnknownNamespace
from .hosts import check_host, check_origin
from .refusals import Refusal
from .requests import Request
from .routes import Found

__all__ = ["Admission", "Registry"]

_STOPPING = Refusal(503, "refused_stopping", "This server is shutting down.")
_SATURATED = Refusal(
    503,
    "refused_saturated",
    "This server has no room for another connection.",
    "All workers are busy; see the log of the workers.",
)
_TIMEOUT = Refusal(
    503,
    "refused_timeout",
    "No worker answered in time.",
    "Is a worker running (run_wsserver or run_wsworker)? See its log, and HANDSHAKE_TIMEOUT.",
)


class Registry(Protocol):
    """What admission needs of the registry of workers."""

    def connect(self, handshake: Handshake) -> Session: ...


class Admission:
    """Decides who may begin a session.

    Args:
        config: hosts, origins and deadlines.
        registry: where sessions begin.

    Attributes:
        stopping: nobody is let in any more.
    """

    def __init__(self, config: GatewayConfig, registry: Registry) -> None:
        self._config = config
        self._registry = registry
        self._pending: set[asyncio.Future[bool]] = set()
        self.stopping = False

    def check_host(self, request: Request) -> Refusal | None:
        """Whether the request's host is served. Comes first, also for what begins no session."""
        return check_host(request.headers.get("Host"), self._config.allowed_hosts)

    def check(self, request: Request, origin: str | None = None) -> Refusal | None:
        """Whether a page of this origin may connect now; the host was checked before.

        Args:
            origin: where the request has no such header.
        """
        if self.stopping:
            return self._stopping()
        return check_origin(
            request.headers.get("Origin", origin),
            host=request.headers.get("Host", ""),
            scheme=request.scheme,
            allowed=self._config.allowed_origins,
            allow_missing=self._config.allow_missing_origin,
        )

    def begin(
        self,
        request: Request,
        found: Found,
        subprotocols: Sequence[str] = (),
        auth: bytes = b"",
        kind: str = "plain",
    ) -> Session | Refusal:
        """Begin a session for a request that was checked. The caller must end it.

        Args:
            found: namespace and arguments.
            subprotocols: that the client offers.
            auth: JSON that it sent.
            kind: of :class:`.Handshake`.
        """
        handshake = self.handshake(request, found, subprotocols, auth, kind)
        try:
            return self._registry.connect(handshake)
        except UnknownNamespace:
            return Refusal(
                404,
                "refused_namespace",
                "There is no such WebSocket.",
                f"DEFAULT_WS_HANDLERS has no entry for {found.namespace!r}.",
                f"There is no WebSocket {found.namespace!r}.",
            )
        except Saturated:
            return _SATURATED

    @staticmethod
    def handshake(
        request: Request, found: Found, subprotocols: Sequence[str], auth: bytes, kind: str
    ) -> Handshake:
        """What a worker hears of a request; arguments as of :meth:`begin`."""
        return Handshake(
            namespace=found.namespace,
            kwargs=found.kwargs,
            scheme=request.scheme,
            path=request.path,
            query=request.query,
            # Names with "_" would pass for others with "-" in META (CVE-2026-3902).
            headers=[
                (name.lower(), value)
                for name, value in request.headers.get_all()
                if "_" not in name
            ],
            client=request.client,
            server=request.server,
            subprotocols=list(subprotocols),
            time=time.time(),
            auth=auth,
            kind=kind,
        )

    async def verdict(self, session: Asked, ended: asyncio.Future[bool]) -> Accept | Refusal | None:
        """Wait for the worker's answer.

        Args:
            ended: ends the wait; the caller sets it to True when its client is gone.

        Returns:
            None if there is nobody left to answer.
        """
        self._pending.add(ended)
        try:
            await asyncio.wait(
                (session.verdict, ended),
                timeout=self._config.limits.handshake_timeout or None,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            self._pending.discard(ended)
        if ended.done() and ended.result():
            return None
        if ended.done() or self.stopping:
            return self._stopping()
        if not session.verdict.done():
            return _TIMEOUT
        verdict = session.verdict.result()
        return _by_handler(verdict) if isinstance(verdict, Refuse) else verdict

    def _stopping(self) -> Refusal:
        """The refusal of a gateway that stops; whoever goes by it comes back at a random time."""
        seconds = random.randint(1, max(1, round(self._config.limits.drain_spread)))
        return replace(_STOPPING, headers=(("Retry-After", str(seconds)),))

    def stop(self) -> None:
        """Refuse those who wait, and whoever comes."""
        self.stopping = True
        for ended in self._pending:
            if not ended.done():
                ended.set_result(False)


#: What to do about a refusal without words, by status.
_ADVICE = {
    500: "on_connect failed; see the log of the workers.",
    503: "on_connect refused it, or workers died of it; see the log of the workers.",
}
_REFUSED = "on_connect of the handler returned False, or raised PermissionDenied or Reject."


def _by_handler(verdict: Refuse) -> Refusal:
    """What a handler said; its own words need no advice."""
    reason = printable(verdict.reason)
    failed = "on_connect failed; see the log of the workers"
    return Refusal(
        verdict.status,
        "refused_handler",
        f"{verdict.status} {reason}".rstrip(),
        "" if reason else _ADVICE.get(verdict.status, _REFUSED),
        reason or (failed if verdict.status == 500 else "on_connect refused it"),
        reason,
    )
