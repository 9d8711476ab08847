"""One event of a connection: the hooks that it runs, and its acknowledgement."""

from __future__ import annotations

import logging
from functools import partial

from ..wire.messages import (
    TEXT,
    Call,
    Close,
    Connect,
    Disconnect,
    Event,
    Kind,
    Message,
    Release,
    Released,
    Restore,
    Resume,
    Resumed,
    SaveSnapshot,
)
from .connection import WorkerConnection
from .driver import drive
from .lifecycle import Refusal
from .payloads import unpack
from .request import HandshakeRequest

__all__ = ["handle"]

logger = logging.getLogger("django_ws.worker")


def handle(connection: WorkerConnection, event: Event) -> bool:
    """Run the hooks for one event and acknowledge it.

    Returns:
        False once the connection has ended here, so that nothing more may come.
    """
    if connection.over:
        # The receiving thread had looked it up before its last hook was done.
        connection.link.done(connection.conn, 0, None)
        return False
    alive, seq, saved = True, 0, None
    try:
        if type(event) is Message or type(event) is Call:
            seq = event.seq
            if not connection.closed_here:
                lifecycle = connection.lifecycle
                if type(event) is Message:
                    data = event.data
                    call = lifecycle.message(data.decode() if event.opcode == TEXT else data)
                    drive(lifecycle, connection, call)
                elif type(event) is Call:
                    _call(connection, event)
                if (
                    connection.handover.used
                    or connection.loaded_request is not None
                    or lifecycle.handler.__dict__
                ):
                    saved = _save(connection)
        elif isinstance(event, (Connect, Disconnect, Restore)):
            seq = event.seq
            alive = _begin_or_end(connection, event)
            if alive and not connection.lifecycle.refused:
                saved = _save(connection)
        elif isinstance(event, Resume):
            connection.link.put(_resume(connection, event))
            saved = _save(connection)
        elif isinstance(event, Release):
            alive = _give_back(connection)
        else:
            connection.user_changes = False
            if not connection.closing and not connection.lifecycle.refused:
                if connection.loaded_request is not None:
                    connection.loaded_request.refresh_user()
                drive(connection.lifecycle, connection, connection.lifecycle.user_changed())
                saved = _save(connection)
    except Exception:
        # What hooks raise does not get here; whatever this is, the thread has others to serve.
        logger.exception("%s: connection %s failed", connection.namespace, connection.id)
        connection.close(1011, "internal error")
    if alive:
        connection.link.done(connection.conn, seq, saved)
    else:
        connection.end(seq)
    return alive


def _begin_or_end(connection: WorkerConnection, event: Connect | Disconnect | Restore) -> bool:
    lifecycle = connection.lifecycle
    if isinstance(event, Connect):
        return _connect(connection)
    if isinstance(event, Restore):
        furnish = connection.handover.furnish
        drive(lifecycle, connection, lifecycle.restore(event.seq > 1, event.ended, furnish))
        return True
    drive(lifecycle, connection, lifecycle.close())
    return False


def _call(connection: WorkerConnection, event: Call) -> None:
    """An event or a request."""
    lifecycle = connection.lifecycle
    connection.asked = event.seq if event.answer else 0
    connection.asked_event = event.kind == Kind.EVENT
    try:
        value = unpack(event.data, event.attachments)
    except (ValueError, RecursionError):
        connection.close(1007, "not JSON")
        return
    if event.kind == Kind.REQUEST:
        drive(lifecycle, connection, lifecycle.request(value))
        return
    args = value if isinstance(value, list) else [value]
    drive(lifecycle, connection, lifecycle.event(event.name, args))
    if connection.asked:  # on_message has taken it: acknowledged without values
        connection.answer(0, [])


def _connect(connection: WorkerConnection) -> bool:
    connection.decide()
    try:
        if not connection.resolves():
            raise Refusal(404, "")
        drive(connection.lifecycle, connection, connection.lifecycle.connect())
        user, session = _identity(connection)
    except Exception as error:
        if not isinstance(error, Refusal):
            logger.exception("%s: connection %s failed", connection.namespace, connection.id)
            error = Refusal(500, "")
        if error.close and connection.handshake.kind != "v1":  # these can read any refusal
            connection.lifecycle.refused = True
            connection.let_in_and_close(error.close, error.reason)
            return True
        connection.refuse(error.status, error.reason)
        return False
    connection.accept(user, session)
    return True


def _resume(connection: WorkerConnection, event: Resume) -> Resumed:
    """Whether a browser that is back may have the connection."""
    lifecycle = connection.lifecycle
    status, reason, over = 0, "", False
    if connection.closing or not lifecycle.made:
        status = 410  # the gateway hears of its end in a moment
    else:
        before = connection.come_back(event.handshake)
        recognize = partial(connection.recognize, event.user)
        try:
            drive(lifecycle, connection, lifecycle.resume(recognize))
        except Refusal as refusal:
            status, reason, over = refusal.status, refusal.reason, not refusal.stranger
            if refusal.stranger:
                connection.undo(before)
        finally:
            connection.is_back()
    return Resumed(connection.conn, event.request, status, reason, over)


def _identity(connection: WorkerConnection) -> tuple[str, str]:
    """Whose connection it is, also if no hook has asked for the user yet."""
    connection.before_hook()
    try:
        request = connection.loaded_request
        if request is None:  # not to be kept: most handlers never ask for one
            request = HandshakeRequest(connection.handshake)
        return request.identity()
    finally:
        connection.after_hook(False)


def _give_back(connection: WorkerConnection) -> bool:
    """Give the connection back, or close it if only this process can continue it."""
    if connection.lifecycle.refused:
        # It ends in a moment, and nobody else knows that on_close is not to run.
        connection.link.put(Close(connection.conn, connection.close_code or 1000, ""))
        return True
    handover = connection.handover
    if not handover.movable:
        _save(connection, at_once=True)  # what was too large the last time may fit by now
    if not handover.movable:
        reason = handover.why_not(connection.lifecycle.handler)
        connection.executor.cannot_move(connection.handler_class, reason)
        connection.close(1012, "service restart")
        return True
    connection.closing = True
    connection.link.put(Released(connection.conn, handover.snapshot))
    return False


def _save(connection: WorkerConnection, at_once: bool = False) -> SaveSnapshot | None:
    """The snapshot, if it changed with this hook."""
    lifecycle = connection.lifecycle
    if not lifecycle.made:
        return None
    handover, request = connection.handover, connection.loaded_request
    if request is not None:
        connection.identify(*request.identity())
    try:
        snapshot = handover.save(lifecycle.handler, request, at_once=at_once)
    except (TypeError, ValueError, RuntimeError) as error:
        drive(lifecycle, connection, lifecycle.state_failed(error))
        snapshot = handover.save(lifecycle.handler, request, state=False, at_once=at_once)
    return None if snapshot is None else SaveSnapshot(connection.conn, snapshot)
