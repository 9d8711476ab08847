"""A pool of threads that take turns receiving (leader/followers).

The leader receives and runs fast hooks itself, without giving up the lead: no hand-off at all.
Before a hook that is known to block it passes the lead on; a watchdog does so for hooks that block
unexpectedly. Measured and argued in ``docs/architecture.md``.

One lock guards every scheduling decision. Taking an event and claiming its connection is one
critical section, and so are giving a connection back and looking at its queue.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar

from ...wire.messages import Disconnect, Event, Message
from .. import hygiene
from ..connection import Link, WorkerConnection
from ..turn import handle
from .averages import SLOW, SUSPICIOUS, Average, Averages, waiting
from .base import EventSource, Executor, ExecutorConfig
from .saturation import Saturation
from .shares import Share, Shares

__all__ = ["PoolExecutor"]

logger = logging.getLogger("django_ws.worker")

#: Seconds after which the watchdog passes the lead on.
STUCK = 0.003
#: Seconds for which what the leader's hooks send may wait for that of the next ones.
REPLY_AFTER = 0.0005
#: Seconds after which the leader looks what has come, however much waits to be handled: a message
#: that takes turns with 1,000 handshakes must not wait until all of these are done.
LOOK_AFTER = 0.002
#: Seconds after which an idle thread ends.
IDLE = 30.0


class PoolThread(threading.Thread):
    """One thread of the pool.

    Attributes:
        share: that of the event which it handles, or had last.
        turn: released to wake the thread while it is parked.
        active: counted as blocking; guarded by the pool's lock.
        id: what ``threading.get_ident()`` says in it; set when it begins to run.
    """

    def __init__(self, pool: PoolExecutor, number: int, share: Share) -> None:
        super().__init__(name=f"ws-pool-{number}", daemon=True)
        self.pool = pool
        self.share = share
        self.turn = threading.Lock()
        self.turn.acquire()
        self.active = False
        self.id = 0

    def run(self) -> None:
        self.id = threading.get_ident()
        self.pool.work(self)


class PoolExecutor(Executor):
    """See the module. All attributes with "guarded" are guarded by ``_lock``.

    A connection is *busy* from the moment an event for it is scheduled until a thread finds its
    queue empty, in the same critical section; so no two threads ever have it. The thread that
    leads is ``_leader``: only it receives, and it loses the lead either by its own hand or, while
    in a hook, by the watchdog's. After each hook it looks under the lock whether it still leads.
    """

    name: ClassVar[str] = "pool"

    def __init__(self, source: EventSource, config: ExecutorConfig) -> None:
        super().__init__(source, config)
        self._lock = threading.Lock()
        self._shares = Shares(config.pool_size)  # guarded
        self._idle: list[PoolThread] = []  # guarded; the last one in is the first out
        self._threads: set[PoolThread] = set()  # guarded
        self._leader: PoolThread | None = None  # guarded; read without for a hint
        self._numbers = 0  # guarded
        self._refusing_until = 0.0  # guarded
        self._flushed = 0.0  # the leader's: when the replies last left
        self._received = 0.0  # the leader's: when it last looked what has come
        self._overdue = False  # the leader's: that is long ago
        self._ended = False
        # Of the leader's inline hook. Written by the leader, and by whoever takes the lead from it.
        self._hook_started = 0.0
        self._hook_average = Average()
        self._averages: dict[type, Averages] = {}  # guarded
        self._saturation = Saturation(self._shares.limit)  # the watchdog's
        # The watchdog sleeps for long while it has nothing to watch; the leader wakes it.
        self._dozing = False
        self._alarm = threading.Event()
        self._watchdog = threading.Thread(
            target=self.guarded, args=(self._watch,), name="ws-watchdog", daemon=True
        )

    # ------------------------------------------------------------------ Executor

    def start(self) -> None:
        with self._lock:
            thread = self._leader = self._new_thread()
        thread.start()
        self._watchdog.start()

    def saturated(self) -> bool:
        return self._shares.active >= self._shares.limit or time.monotonic() < self._refusing_until

    def stop(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        self._ended = True
        self._alarm.set()
        with self._lock:
            threads = [self._watchdog, *self._threads]
            for idle in self._idle:
                idle.turn.release()
            self._idle.clear()
        for connection in self.source.connections():
            connection.wake()
        for thread in threads:
            # One that was not started yet ends by itself; joining it would be an error.
            if thread is not threading.current_thread() and thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def sent(self, link: Link) -> None:
        # What the leader's hooks send leaves with the batch, unless that is a very large one;
        # everybody else's at once.
        leader = self._leader
        if leader is None or threading.get_ident() != leader.id or link.plenty:
            link.flush()

    @contextlib.contextmanager
    def parked(self) -> Iterator[None]:
        me = threading.current_thread()
        if not isinstance(me, PoolThread) or me.pool is not self:
            yield
            return
        with self._lock:
            successor = None
            if self._leader is me:
                self._hook_started = 0.0
                successor = self._pass_lead()
            else:
                self._leave(me)
        self._wake(successor)
        try:
            yield
        finally:
            with self._lock:
                self._enter(me)

    # ------------------------------------------------------------------ a thread of the pool

    def work(self, me: PoolThread) -> None:
        """What each thread does."""
        lock = self._lock
        lock.acquire()
        try:
            while not self._ended:
                if self._leader is None:
                    self._leader = me
                if self._overdue and self._leader is me:
                    self._receive(partial(self.poll, 0.0))
                connection = self._shares.claim()
                if connection is not None:
                    try:
                        self._run(me, connection)
                    except Exception:
                        self._lose(connection)
                elif self._leader is me:
                    self._receive(partial(self.receive, self._shares.active > 0))
                elif not self._park(me):
                    break
        finally:
            self._threads.discard(me)
            if self._leader is me:
                self._leader = None
            lock.release()
            hygiene.end_of_thread()

    def _receive(self, look: Callable[[], list[tuple[WorkerConnection, Event]]]) -> None:
        """Have what came handled; called and left with the lock held, by the leader."""
        self._lock.release()
        try:
            pairs = look()
        finally:
            self._lock.acquire()
        self._flushed = self._received = time.monotonic()
        self._overdue = False
        for connection, event in pairs:
            connection.queue.append(event)
            if not connection.busy:
                connection.busy = True
                self._shares.add(connection)

    def _run(self, me: PoolThread, connection: WorkerConnection) -> None:
        """Run one event of a claimed connection; called and left with the lock held."""
        lock = self._lock
        shares = self._shares
        event = connection.queue.pop(0)
        me.share = shares.messages if type(event) is Message else shares.others
        average = self._average(connection, event)
        leading = self._leader is me
        successor = None
        if leading and average.blocked > SLOW and not average.probe():
            successor = self._pass_lead()
            leading = False
        if not leading:
            self._enter(me)
        lock.release()
        try:
            connection.thread = me.id
            if leading:
                alive = self._handle_leading(me, connection, event, average)
            else:
                if successor is not None:
                    self._flush()
                    # As late as possible: until the hook blocks it could only wait for the GIL.
                    self._wake(successor)
                alive = handle(connection, event)
        finally:
            lock.acquire()
            if self._leader is me:
                self._hook_started = 0.0
            if me.active:
                self._leave(me)
        if not alive or not connection.queue:
            connection.busy = False
        else:
            self._shares.add(connection)
        if self._leader is not me and (connection.link.hurry or self.patient):
            lock.release()
            try:
                connection.link.flush()
            except Exception:
                logger.exception("sending replies failed")
            finally:
                lock.acquire()

    def _lose(self, connection: WorkerConnection) -> None:
        """Not a hook failed, but what runs them; called and left with the lock held."""
        for _ in connection.queue:
            connection.link.done(connection.conn, 0, None)
        connection.queue.clear()
        connection.busy = False
        self._lock.release()
        try:
            self.give_up(connection)
        finally:
            self._lock.acquire()

    def _flush(self) -> None:
        try:
            self.source.flush()
        except Exception:
            logger.exception("sending replies failed")

    def _handle_leading(
        self, me: PoolThread, connection: WorkerConnection, event: Event, average: Average
    ) -> bool:
        """Handle an event without giving up the lead, under the eyes of the watchdog."""
        self._hook_average = average
        started = time.monotonic()
        if started - self._flushed > REPLY_AFTER:
            self._flush()
            self._flushed = started = time.monotonic()
            self._overdue = started - self._received > LOOK_AFTER
        self._hook_started = started
        if self._dozing or average.blocked > SLOW:
            self._dozing = False
            self._alarm.set()
        if average.wall < SUSPICIOUS:
            alive = handle(connection, event)
            wall = time.monotonic() - started
            blocked = wall if wall < SUSPICIOUS else 0.0
            if blocked and average.blocked < SUSPICIOUS:
                return alive  # as fast as ever
        else:
            computed = time.process_time()
            alive = handle(connection, event)
            computed = time.process_time() - computed
            wall = time.monotonic() - started
            blocked = waiting(wall, computed)
        if self._leader is me:  # else the watchdog has taken the sample
            average.add(wall, blocked)
        return alive

    def _enter(self, thread: PoolThread) -> None:
        """The thread may block from here on."""
        thread.active = True
        self._shares.enter(thread.share)

    def _leave(self, thread: PoolThread) -> None:
        thread.active = False
        self._shares.leave(thread.share)

    def _average(self, connection: WorkerConnection, event: Event) -> Average:
        averages = connection.runner
        if not isinstance(averages, Averages):
            averages = self._averages.setdefault(connection.handler_class, Averages())
            connection.runner = averages
        if type(event) is Message:
            return averages.message if connection.lifecycle.opened else averages.open
        return averages.close if type(event) is Disconnect else averages.connect

    # ------------------------------------------------------------------ who leads

    def _pass_lead(self) -> PoolThread:
        """Give the lead to an idle or new thread, which the caller wakes once it has released the
        lock. `Shares` bound their number: the limit, the reserve, and those in ``wait``."""
        self._leader = self._idle.pop() if self._idle else self._new_thread()
        return self._leader

    def _new_thread(self) -> PoolThread:
        self._numbers += 1
        thread = PoolThread(self, self._numbers, self._shares.messages)
        self._threads.add(thread)
        return thread

    def _wake(self, thread: PoolThread | None) -> None:
        if thread is None:
            return
        if thread.ident is not None:
            thread.turn.release()
            return
        try:
            thread.start()
        except RuntimeError as error:
            logger.error("no further thread for the pool (%s): refusing upgrades with 503", error)
            with self._lock:
                self._refusing_until = time.monotonic() + 1.0
                self._threads.discard(thread)
                if self._leader is thread:
                    self._leader = None  # whoever finishes its hook first takes it

    def _park(self, me: PoolThread) -> bool:
        """Wait for the lead; called and left with the lock held. False after a long idle time."""
        self._idle.append(me)
        self._lock.release()
        try:
            woken = me.turn.acquire(timeout=IDLE)
        finally:
            self._lock.acquire()
        if woken or me not in self._idle:
            if not woken:
                me.turn.acquire()  # the lead came at the last moment
            return True
        self._idle.remove(me)
        return False

    # ------------------------------------------------------------------ watchdog

    def _watch(self) -> None:
        seen = 0.0  # when the hook began that was seen last
        seen_at = computed = 0.0  # when it was seen first, and the process's CPU time then
        quiet = 0
        while not self._ended:
            started = self._hook_started
            if started != seen:
                seen, seen_at, computed = started, time.monotonic(), time.process_time()
            elif started and time.monotonic() - started > STUCK:
                wall = time.monotonic() - seen_at
                self._depose(started, waiting(wall, time.process_time() - computed))
            if self._leader is None and time.monotonic() >= self._refusing_until:
                self._appoint()
            self._saturation.look(self._shares.active, time.monotonic(), self.source.connections)
            if started:
                quiet = 0
                time.sleep(STUCK)
                continue
            quiet = 0 if self._shares.active else quiet + 1
            # Being woken costs the hook that does it, so not for every single one.
            self._dozing = quiet >= 50
            if not self._hook_started and self._alarm.wait(1.0 if self._dozing else 0.01):
                quiet = 0
            self._alarm.clear()

    def _appoint(self) -> None:
        """Give the lead to somebody: its thread could not be started, or came to grief."""
        successor = None
        with self._lock:
            if self._leader is None and not self._ended:
                successor = self._pass_lead()
        self._wake(successor)

    def _depose(self, started: float, blocked: float) -> None:
        """Take the lead from a thread whose hook does not return."""
        with self._lock:
            leader = self._leader
            if leader is None or self._hook_started != started:
                return
            # Now, not when it returns: else each of many such hooks would keep the lead in turn.
            self._hook_average.add(STUCK, blocked)
            successor = self._pass_lead()
            self._enter(leader)
            self._hook_started = 0.0
        self._wake(successor)
