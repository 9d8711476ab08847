"""The supervisor's loop: one thread, one selector; signals only wake it."""

from __future__ import annotations

import enum
import logging
import os
import signal
import time

from .child import Child, Role, State, fate
from .children import Children
from .gateways import Relay
from .plan import Output, Plan, StartupError
from .renewal import Renewal
from .signals import Signals
from .silence import Lateness, Silence
from .slots import Slot
from .stop import Stop

__all__ = ["Supervisor"]

logger = logging.getLogger("django_ws.supervisor")

#: Seconds that a child has to exit after it said that it cannot start.
_FAILED_GRACE = 2.0


class Stage(enum.Enum):
    """Life of the tree, in this order."""

    STARTING = 1
    RUNNING = 2
    STOPPING = 3
    DONE = 4


class Supervisor:
    """Runs the processes of a plan until it is told to stop.

    SIGTERM and SIGINT: the gateways drain, then the workers stop, then :meth:`run` returns; a
    second SIGINT kills. SIGHUP: the workers are replaced one by one. SIGUSR2: the gateways are.
    """

    def __init__(self, plan: Plan, output: Output) -> None:
        self._plan = plan
        self._output = output
        self._stage = Stage.STARTING
        self._stop: Stop | None = None
        self._children = Children(plan)
        self._silence = Silence(plan.hang_timeout)
        self._lateness = Lateness(plan.start_timeout)
        self._address = ("", 0)
        self._terminal = os.isatty(0)
        self._gateways = _slots(Role.GATEWAY, len(plan.gateways))
        self._workers = _slots(Role.WORKER, plan.workers)
        self._pages = Slot(Role.WSGI, start_at=0.0) if plan.wsgi_command else None
        replaceable = [*self._workers, *([self._pages] if self._pages else [])]
        self._slots = [*self._gateways, *replaceable]
        self._renewal = Renewal(plan, output, replaceable, self._workers, self._start)
        self._relay = Relay(self._gateways, plan.drain_timeout)

    def run(self) -> None:
        """Start everything, and return when everything has stopped.

        Raises:
            StartupError: Something cannot be started; nothing is left running.
        """
        numbers = (
            signal.SIGTERM,
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGUSR2,
            signal.SIGCHLD,
        )
        with Signals(*numbers) as signals:
            try:
                while self._stage is not Stage.DONE:
                    self._turn(signals)
            finally:
                self._children.close()

    def _turn(self, signals: Signals) -> None:
        now = time.monotonic()
        self._start_what_is_due(now)
        if self._stage is Stage.RUNNING:
            self._renewal.rolling.step(now)
            self._relay.step(now)
        for child in self._children.wait(signals, self._next_time() - time.monotonic()):
            self._listen(child)
        now = time.monotonic()
        for number in signals.take():
            self._signalled(number, now)
        self._reap(now)
        for child in self._silence.look(self._children, now):
            self._kill_in_doubt(child)
        for child in self._lateness.look(self._children, now):
            self._late(child)
        if self._stage is Stage.RUNNING:
            self._renewal.step(now)
        if self._stop is not None:
            self._stop.step(now)
            if self._stop.done:
                self._stage = Stage.DONE

    def _next_time(self) -> float:
        times = [child.deadline for child in self._children if child.state is State.LEAVING]
        times += [self._silence.look_at, self._lateness.next(self._children)]
        if self._stage in (Stage.STARTING, Stage.RUNNING):
            times += [slot.start_at for slot in self._slots if slot.child is None]
        if self._stage is Stage.RUNNING:
            times.append(self._renewal.next)
        if self._stop is not None:
            times.append(self._stop.next)
        # Signals and channels wake the loop; the hour is for nothing but the selector's limits.
        return min([time.monotonic() + 3600.0, *times])

    # ------------------------------------------------------------ starting

    def _start_what_is_due(self, now: float) -> None:
        if self._stage not in (Stage.STARTING, Stage.RUNNING):
            return
        for slot in self._slots:
            if slot.child is None and slot.successor is None and slot.start_at <= now:
                slot.start_at = float("inf")
                slot.child = self._start(slot)
                if slot.child is None:
                    slot.start_at = now + slot.backoff.next(0.0)

    def _start(self, slot: Slot) -> Child | None:
        try:
            first = self._stage is Stage.STARTING and slot.index == 0
            return self._children.start(slot, first=first)
        except OSError as error:
            text = f"Cannot start a {slot.role} process: {error.strerror}."
            if self._stage is Stage.STARTING:
                raise StartupError(text) from None
            logger.error("%s", text)
            return None

    # ------------------------------------------------------------ what children say

    def _listen(self, child: Child) -> None:
        for message in self._children.hear(child):
            self._heard(child, message)

    def _heard(self, child: Child, message: dict[str, object]) -> None:
        match message:
            case {"op": "ready"} if child.state is State.STARTING:
                child.become(State.READY)
                child.endpoint = str(message.get("endpoint", child.endpoint))
                self._ready(child, message)
            case {"op": "failed", "message": str(text)} if child.state is State.STARTING:
                self._cannot_start(child, text, message)
            case {"op": "doing", "what": str(what)}:
                child.doing = what
            case {"op": "files", "files": list(files)}:
                self._renewal.watch(child, files)
            case {"op": "edited", "path": str(path)} if self._stage is Stage.RUNNING:
                self._renewal.edited(path)
            case {"op": "handled", "count": int(count)}:
                child.handled = count
                child.reported = time.monotonic()
                slot = self._slot_of(child)
                if slot is not None:
                    self._renewal.handled(slot, child)
            case {"op": "busy", "hooks": str(hooks)} if self._stop is not None:
                self._stop.busy(child, hooks)
            case {"op": "kill", "incarnation": str(incarnation)}:
                for other in self._children:
                    if other.incarnation == incarnation:
                        self._kill_in_doubt(other)
            case {"op": "log", "name": str(name), "level": int(level), "message": str(text)}:
                _log_again(name, level, text)

    def _ready(self, child: Child, message: dict[str, object]) -> None:
        slot = self._slot_of(child)
        if slot is None:
            return
        if slot.successor is child:
            self._renewal.arrived(slot)
        if child.role is Role.GATEWAY:
            host, port = message.get("host"), message.get("port")
            if isinstance(host, str) and isinstance(port, int):
                self._address = (host, port)
                self._children.listens(port)
        if self._stage is not Stage.STARTING:
            logger.info("The %s is ready.", child)
            return
        for other in self._slots:
            if other.role is child.role and other.child is None:
                other.start_at = 0.0
        if all(slot.ready for slot in self._slots):
            self._stage = Stage.RUNNING
            self._output.ready(*self._address)

    def _cannot_start(self, child: Child, text: str, message: dict[str, object]) -> None:
        child.explained = True
        if self._stage is Stage.STARTING:
            raise StartupError(text, by_checks=bool(message.get("checks")))
        self._renewal.cannot_start(child, text, message.get("files"))
        child.leave(time.monotonic() + _FAILED_GRACE)

    def _kill_in_doubt(self, child: Child) -> None:
        if not child.killed:  # the gateway and its own silence may both tell
            logger.error("The %s does not respond; it is killed.", child)
            child.kill()

    def _late(self, child: Child) -> None:
        """A child takes too long to start, and keeps others from being replaced."""
        text = f"The {child} is not ready after {self._plan.start_timeout:g} s: it {child.doing}"
        if self._stage is Stage.STARTING:
            # Nothing is lost by waiting on, and whoever sits there may be in a debugger.
            logger.warning("%s.", text)
            return
        logger.error("%s; it is killed.", text)
        child.explained = True
        child.kill()

    # ------------------------------------------------------------ how children end

    def _reap(self, now: float) -> None:
        for child in self._children:
            status = child.status()
            if status is not None:
                self._listen(child)
                self._bury(child, status, now)
            elif child.state is State.LEAVING and now >= child.deadline:
                logger.warning("The %s did not stop in time; it is killed.", child)
                child.kill()

    def _bury(self, child: Child, status: int, now: float) -> None:
        before = child.state
        self._children.bury(child, clean=status == 0)
        for gateway in self._gateways:
            if child.role is Role.WORKER and gateway.child is not None:
                gateway.child.channel.send({"op": "dead", "incarnation": child.incarnation})
        slot = self._slot_of(child)
        if slot is None:
            return
        if self._stage is Stage.STARTING:
            raise StartupError(f"The {child} could not start: it {fate(status)}.")
        if slot.successor is child:
            self._renewal.rolling.failed(slot)
            if not child.explained:
                self._output.failed(f"The new {child} could not start: it {fate(status)}.")
        else:
            slot.child = None
        if self._relay.renews(child) and status == 0:
            slot.start_at = now
        elif self._stage is Stage.RUNNING and slot.child is None and slot.successor is None:
            delay = slot.backoff.next(now - child.started)
            slot.start_at = now + delay
            if not child.explained:
                stopped = "stopped" if before is State.LEAVING else fate(status)
                text = "The %s %s; another one starts in %.1f s."
                logger.error(text, child, stopped, delay)

    def _slot_of(self, child: Child) -> Slot | None:
        for slot in self._slots:
            if child in (slot.child, slot.successor):
                return slot
        return None

    # ------------------------------------------------------------ stopping

    def _signalled(self, number: int, now: float) -> None:
        if self._stop is not None:
            if number == signal.SIGINT:
                self._stage = Stage.DONE
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._begin_to_stop(now)
        elif number == signal.SIGHUP:
            if self._terminal and not os.isatty(0):
                self._begin_to_stop(now)  # with the terminal, whoever could stop it later is gone
            else:
                logger.info("SIGHUP: replacing the workers.")
                self._renewal.all()
        elif number == signal.SIGUSR2 and self._stage is Stage.RUNNING:
            logger.info("SIGUSR2: renewing the gateways.")
            self._relay.begin()

    def _begin_to_stop(self, now: float) -> None:
        self._stage = Stage.STOPPING
        self._renewal.rolling.cancel()
        self._stop = Stop(self._plan, self._children, now)


def _slots(role: Role, number: int) -> list[Slot]:
    """Places of which the others wait for the first, so that what is wrong is said once."""
    return [Slot(role, index, float("inf") if index else 0.0) for index in range(number)]


def _log_again(name: str, level: int, text: str) -> None:
    """Log what the gateway logged, as the project's ``LOGGING`` says."""
    target = logging.getLogger(name)
    if target.isEnabledFor(level):
        target.handle(target.makeRecord(name, level, "", 0, text, (), None))
