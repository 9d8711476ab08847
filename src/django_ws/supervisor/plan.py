"""What a supervisor is told to do, and how it speaks to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..options import GatewayConfig

__all__ = ["Output", "Plan", "StartupError"]


class StartupError(Exception):
    """Something could not be started for the first time; the text is for people.

    Attributes:
        by_checks: the text is the outcome of Django's system checks.
    """

    def __init__(self, message: str, *, by_checks: bool = False) -> None:
        super().__init__(message)
        self.by_checks = by_checks


class Output(Protocol):
    """Where a supervisor's words go, besides its log."""

    def ready(self, host: str, port: int) -> None:
        """Everything runs. Called once; ``port`` is 0 without gateways."""

    def failed(self, text: str) -> None:
        """New code does not start: words for whoever just wrote it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The processes that are to run.

    Attributes:
        worker_command: what starts a worker.
        workers: how many.
        gateways: the configuration of each; none for workers only.
        gateway_command: what starts one.
        wsgi_command: what starts the child for the project's pages; empty for none.
        home: where the project is at home, for its processes (:func:`.conf.home`).
        push_socket: where workers bind, for cleaning up after killed ones.
        wsgi_socket: descriptor of the listening socket that the child for the pages gets.
        reload: replace the workers when their code changes.
        drain_timeout: seconds for an orderly replacement.
        stop_timeout: seconds for an orderly stop; 0 for as long as a replacement.
        reload_timeout: the same after a change of code.
        start_timeout: seconds until a process is ready, or killed if others run; 0 for any time.
        hang_timeout: seconds without a report of a worker, until it is killed; 0 for any time.
        max_requests: messages after which a worker is replaced; 0 for never.
        max_rss: MiB above which a worker is replaced; 0 for never.
    """

    worker_command: tuple[str, ...]
    workers: int = 1
    gateways: tuple[GatewayConfig, ...] = ()
    gateway_command: tuple[str, ...] = ()
    wsgi_command: tuple[str, ...] = ()
    home: str = ""
    push_socket: str = ""
    wsgi_socket: int = -1
    reload: bool = False
    drain_timeout: float = 30.0
    stop_timeout: float = 0.0
    reload_timeout: float = 0.5
    start_timeout: float = 0.0
    hang_timeout: float = 0.0
    max_requests: int = 0
    max_rss: int = 0
