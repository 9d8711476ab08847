"""A worker process: connects links, receiver and executor, and minds the links while they run."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from django.utils.module_loading import import_string

from .. import conf, publisher
from ..options import PublisherConfig, WorkerConfig
from ..outlet import set_outlet
from ..supervisor import edits
from ..supervisor.control import Channel
from ..supervisor.reload import loaded_files
from ..transport.endpoints import EndpointError
from ..transport.events import EventsReceiver
from ..transport.replies import RepliesSender
from ..transport.sockets import terminate
from ..wire.codec import WireError, decode_answer
from ..wire.messages import WIRE_VERSION, Fenced, Hello, NamespaceInfo, Retiring
from .busy import busy
from .connection import Link
from .executors import CannotStart, EventSource, Executor, ExecutorConfig, prepare
from .greetings import Greetings
from .hangs import HangWatch
from .link import GatewayLink
from .outlet import WorkerOutlet
from .receiver import Receiver
from .revalidation import Revalidation
from .waiting import GatewayWait

if TYPE_CHECKING:
    from ..base import WebSocketHandler
    from ..transport.monitor import Monitor

__all__ = ["Worker", "make", "run"]

logger = logging.getLogger("django_ws.worker")

#: Seconds between heartbeats; after four of them missing a gateway is in doubt.
BEAT = 0.25

#: Seconds between attempts to introduce oneself to a gateway.
HELLO = 0.05

#: Seconds between reports to the supervisor.
REPORT = 1.0

#: Seconds that the last replies may wait for a gateway that does not take them.
LAST_WORDS = 2.0

#: Seconds that a worker serves on without its supervisor. A gateway that has lost the same one
#: closes everything meanwhile; if all workers retired at once nobody could run ``on_close``.
ORPHAN_PATIENCE = 2.0

#: Seconds after which a worker counts as ready without a gateway.
READY_WITHOUT_GATEWAY = 1.0


def run(
    config: WorkerConfig, incarnation: str, channel: Channel | None, *, reload: bool = False
) -> int:
    """Run a worker in this process until it is retired or stopped.

    Args:
        incarnation: names this process to the gateways.
        channel: to the supervisor, if there is one.
        reload: put edited templates and the like in force.

    Returns:
        The exit code: 0 after retiring, 1 if it could not start, 3 if it had to end.
    """
    try:
        publisher.configure(_publisher_config(config))
        worker = make(config, incarnation, channel, reload=reload)
        set_outlet(WorkerOutlet(worker.executor))
    except (CannotStart, EndpointError) as error:
        if channel is None:
            sys.stderr.write(f"{error}\n")
        else:
            channel.send({"op": "failed", "message": str(error)})
        return 1
    if reload:
        edits.watch(channel)
    code = worker.run()
    if worker.stuck:
        # Hooks still run in threads that cannot be ended; they must not delay the exit, and what
        # they would have answered counts as lost at the gateway.
        logging.shutdown()
        os._exit(code or 3)
    terminate()
    return code


def _publisher_config(config: WorkerConfig) -> PublisherConfig:
    """What code in this process asks gateways by."""
    return PublisherConfig(
        project=config.project,
        sub_sockets=config.sub_sockets,
        max_outgoing=config.limits.max_outgoing,
        on_no_gateway=conf.publisher().on_no_gateway,
        groups=config.groups,
        engine=config.engine,
    )


def make(
    config: WorkerConfig, incarnation: str, channel: Channel | None, *, reload: bool = False
) -> Worker:
    """Make a worker in this process; arguments as for :func:`run`.

    Raises:
        CannotStart, EndpointError: It cannot run like this.
    """
    # First of all the executor: it may fork.
    handlers = {name: import_string(item.handler) for name, item in config.namespaces.items()}
    close = [] if channel is None else [channel.fileno()]
    make_executor = prepare(config.mode, handlers, _executor_config(config, reload), close)
    return Worker(config, incarnation, channel, handlers, make_executor)


def _executor_config(config: WorkerConfig, reload: bool) -> ExecutorConfig:
    limits = config.limits
    return ExecutorConfig(
        pool_size=config.pool_size,
        max_pending=limits.max_pending or 2**62,
        max_outgoing=limits.max_outgoing,
        send_timeout=limits.send_timeout,
        namespaces=config.namespaces,
        reload=reload,
        groups=config.groups,
        shared=bool(config.engine),
    )


class Worker:
    """One worker. :meth:`run` belongs to the main thread, as do all attributes.

    Attributes:
        stuck: it has run, and left threads behind that still run hooks.

    Raises:
        EndpointError: The push socket cannot be bound.
    """

    def __init__(
        self,
        config: WorkerConfig,
        incarnation: str,
        channel: Channel | None,
        handlers: Mapping[str, type[WebSocketHandler]],
        make_executor: Callable[[EventSource], Executor],
    ) -> None:
        self.config = config
        self.incarnation = incarnation
        self.channel = channel
        limits = config.limits
        self._events = EventsReceiver(config.push_socket, incarnation)
        sockets = [
            RepliesSender(endpoint, limits.hang_timeout or 3600.0)
            for endpoint in config.sub_sockets
        ]
        self._monitors: list[Monitor] = [socket.monitor() for socket in sockets]
        links: list[Link] = [
            GatewayLink(index, socket, config.project, incarnation)
            for index, socket in enumerate(sockets)
        ]
        self.receiver = Receiver(
            self._events, links, handlers, config.project, self._broken, config.home
        )
        self._greetings = Greetings()
        self._waiting = [GatewayWait(socket) for socket in sockets]
        self.executor = make_executor(self.receiver)
        self.receiver.executor = self.executor
        self.executor.links = links
        self._revalidation = Revalidation(
            config.revalidate, self.receiver, self.executor.user_source
        )
        self.receiver.revalidate = self._revalidation.ask
        self._started = time.time()
        self._namespaces = {
            name: NamespaceInfo(item.on_worker_lost, item.history_size, item.history_ttl)
            for name, item in config.namespaces.items()
        }
        self._hangs = HangWatch(config.namespaces)
        self.stuck = False
        self._ready = False
        self._modules = len(sys.modules)
        self._retiring = False
        self._deadline = 0.0  # monotonic; 0 while the worker is to go on
        self._orphan_until = 0.0  # monotonic; 0 while there is a supervisor
        self._exit_code = 0
        self._ended = threading.Event()

    # ------------------------------------------------------------------ from signals and threads

    def retire(self, seconds: float) -> None:
        """Hand every connection over, then end; at the deadline in any case."""
        if not self._deadline:
            self._deadline = time.monotonic() + seconds

    def _broken(self, reason: str) -> None:
        logger.error("this worker has to end: %s", reason)
        if not self._ready:  # so that whoever starts it sees why
            self._tell({"op": "failed", "message": f"This worker cannot run: {reason}"})
        self._exit_code = 3
        self._ended.set()

    # ------------------------------------------------------------------ main thread

    def run(self) -> int:
        """Run until the worker is retired, stopped or broken. Returns the exit code."""
        self.executor.start()
        self._revalidation.start()
        logger.debug("worker %s receives at %s", self.incarnation, self._events.endpoint)
        next_beat = next_hello = next_report = 0.0
        try:
            while not self._ended.is_set():
                self._watch_gateways()
                if self._finished():
                    break
                now = time.monotonic()
                if now >= next_beat:
                    next_beat = now + BEAT
                    self._beat()
                if now >= next_hello:
                    next_hello = now + HELLO
                    self._introduce()
                if now >= next_report:
                    next_report = now + REPORT
                    self._report()
                waiting = any(not link.gateway for link in self.receiver.links)
                self._listen(max(0.0, (next_hello if waiting else min(next_beat, now + 0.1)) - now))
        finally:
            self._close()
        return self._exit_code

    def _finished(self) -> bool:
        """Begin to retire when asked to; whether it is done, or overdue."""
        if self._orphan_until and not self._deadline:
            alone = all(link.gone or not link.gateway for link in self.receiver.links)
            if alone or time.monotonic() >= self._orphan_until:
                self.retire(min(5.0, self.config.limits.drain_seconds))
        if not self._deadline:
            return False
        if not self._retiring:
            self._retiring = True
            self.executor.retire()
        links = [link for link in self.receiver.links if link.gateway and not link.gone]
        for link in links:
            if not link.told:
                link.told = True
                link.put(Retiring())
                link.flush()
        if all(link.drained for link in links) and not self.receiver.connections():
            return True
        if time.monotonic() < self._deadline:
            return False
        logger.warning(
            "the deadline is over; %d connections are not handed over",
            len(self.receiver.connections()),
        )
        self._exit_code = 3
        return True

    def _beat(self) -> None:
        if self._hangs.wanted:
            self._look_for_hangs()
        accepting = not self._retiring and not self.executor.saturated()
        for link in self.receiver.links:
            if link.gateway and not link.gone:
                link.beat(accepting)

    def _look_for_hangs(self) -> None:
        self._hangs.look(self.receiver.connections(), time.monotonic())

    def _introduce(self) -> None:
        """Say Hello where there is a new gateway, and to the supervisor when all have answered."""
        if self._retiring:
            return
        strangers = []
        for link, waiting in zip(self.receiver.links, self._waiting, strict=True):
            waiting.note(bool(link.gateway), time.monotonic())
            if link.gateway:
                self._greetings.note(link.gateway, waiting.endpoint)
                continue
            strangers.append(link)
            link.connect(waiting.take_lost())
            link.hello(
                Hello(
                    self._events.endpoint,
                    link.number,
                    os.getpid(),
                    self._started,
                    self._namespaces,
                    self.config.fingerprints,
                    WIRE_VERSION,
                    self.config.home,
                    True,
                )
            )
        waited = time.time() - self._started
        if not self._ready and (not strangers or waited > READY_WITHOUT_GATEWAY):
            self._ready = True
            self._tell({"op": "ready", "endpoint": self._events.endpoint, "pid": os.getpid()})

    def _report(self) -> None:
        """Tell the supervisor what it replaces workers by: work, files, and signs of life."""
        if not self._hangs.wanted:
            self._look_for_hangs()
        # Also if nothing has changed: the supervisor kills a worker of which it hears no more.
        self._tell({"op": "handled", "count": self.receiver.messages})
        if len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            self._tell({"op": "files", "files": loaded_files()})

    def _watch_gateways(self) -> None:
        for index, monitor in enumerate(self._monitors):
            link = self.receiver.links[index]
            changes = monitor.changes()
            if not all(changes):
                # First the number, then the look: the receiving thread does it the other way round.
                link.number += len(self._monitors)
                self._waiting[index].lost = True
                if link.gateway:
                    link.gone = True
            answer = link.answer()
            if answer is not None:
                try:
                    said = decode_answer(answer)
                except WireError as error:
                    logger.error("dropped what came on the replies link: %s", error)
                else:
                    if isinstance(said, Fenced):
                        self._fenced(link, said.reason)

    def _fenced(self, link: Link, reason: str) -> None:
        """A gateway counts this worker as dead."""
        if link.given_up:
            # It stood still, and its connections here are closed. Those of others are handed over.
            logger.warning("a gateway is back that was given up; handing over")
            self.retire(self.config.limits.drain_timeout)
        else:
            self._broken(f"a gateway refuses it: {reason}")

    def _listen(self, seconds: float) -> None:
        """Wait for the supervisor's word."""
        channel = self.channel
        if channel is None:
            self._ended.wait(seconds)
            return
        try:
            if channel.wait(seconds):
                for message in channel.receive():
                    if message.get("op") in ("retire", "stop"):
                        self.retire(float(str(message.get("seconds", 30.0))))
                    elif message.get("op") == "busy":
                        self._tell({"op": "busy", "hooks": self._busy()})
        except EOFError:
            logger.warning("the supervisor is gone; ending")
            self.channel = None
            self._orphan_until = time.monotonic() + ORPHAN_PATIENCE

    def _busy(self) -> str:
        connections = self.receiver.connections()
        if connections and self.config.mode == "multiprocess":
            return f"{len(connections)} connections' processes"  # what runs there, they know
        return busy(connections, time.monotonic())

    def _tell(self, message: dict[str, object]) -> None:
        if self.channel is not None:
            self.channel.send(message)

    def _close(self) -> None:
        self._revalidation.stop(0.5)
        self.stuck = not self.executor.stop(0.5 if self._exit_code else 5.0)
        self._watch_gateways()
        deadline = time.monotonic() + LAST_WORDS
        for link in self.receiver.links:
            if not link.gone:
                link.flush_by(deadline)
        for monitor in self._monitors:
            monitor.close()
        for link in self.receiver.links:
            link.close()
        self._events.close()
