"""Publish from any Django code: views, signals, the admin, commands, tasks, threads.

Everything here is safe in threads, greenlets, async code and forked processes, and nothing waits
for longer than it says.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

from . import outlet, publications, publisher
from .exceptions import MessageTooBig, plain
from .publications import History, Position, Presence, Publication
from .publisher_link import next_request
from .wire import messages as wire
from .wire.identity import session_digest
from .wire.messages import Expel, GetHistory, GetPosition, GetPresence, Publish, Recent

__all__ = [
    "History",
    "Position",
    "Presence",
    "Publication",
    "apublish",
    "disconnect",
    "history",
    "position",
    "presence",
    "publish",
    "publish_many",
    "publish_to_user",
]

# ---------------------------------------------------------------- publishing


def publish(
    group: str,
    message: object,
    *,
    event: str | None = None,
    immediate: bool = False,
    wait: bool = False,
    timeout: float = 5.0,
    using: str | None = None,
    exclude: str | None = None,
) -> Publication | None:
    """Send a message to every member of ``group``.

    Inside ``atomic`` it goes out on commit, in the order of the calls, and never if that part of
    the transaction is rolled back. It cannot raise then: what gets lost is logged and counted.

    Args:
        group: its name.
        message: ``str`` or ``bytes``, or anything that ``DjangoJSONEncoder`` takes, which goes out
            as JSON.
        event: sends a named event instead of a plain message.
        immediate: send at once, also inside a transaction.
        wait: return when the gateway has it.
        timeout: seconds to wait so.
        using: the database whose commit counts; ``None`` for the default one if it is in a
            transaction, else the only one that is.
        exclude: id of a connection that does not get it.

    Returns:
        With ``wait`` the publication, which has an offset if the group has a history.

    Raises:
        GatewayUnavailable: No gateway took it within a second; then others fail at once for a
            second. Not with ``ON_NO_GATEWAY = "drop"``, unless ``wait`` is given.
        PublishTimeout: With ``wait``: the gateway did not answer in time; it may be delivered.
        PublishError: With ``wait``: the gateway refuses it.
        MessageTooBig: The message is over 1 MiB (or ``MAX_MESSAGE_SIZE``, if that is more).
        RuntimeError: ``wait`` inside a transaction, without ``immediate``.
        TypeError, ValueError: The group or the message is something else.
    """
    drafts = [_draft(group, message, event=event, exclude=exclude)]
    return _only(outlet.publish(drafts, immediate, wait, timeout, using))


def publish_many(
    messages: Iterable[tuple[str, object]],
    *,
    immediate: bool = False,
    wait: bool = False,
    timeout: float = 5.0,
    using: str | None = None,
) -> list[Publication]:
    """Send many messages at once, which costs less than one by one.

    Args:
        messages: pairs of group and message.
        immediate, wait, timeout, using: as :func:`publish` takes them.

    Returns:
        With ``wait`` the publications, else nothing.

    Raises:
        Exception: As :func:`publish` does; what is wrong with one message keeps all back.
    """
    drafts = [_draft(*_pair(each)) for each in messages]
    return outlet.publish(drafts, immediate, wait, timeout, using) if drafts else []


def publish_to_user(
    user: object,
    message: object,
    *,
    event: str | None = None,
    immediate: bool = False,
    wait: bool = False,
    timeout: float = 5.0,
    using: str | None = None,
) -> Publication | None:
    """Send a message to every connection of a user, whatever groups it is in.

    Args:
        user: the user, or the primary key.
        message, event, immediate, wait, timeout, using: as :func:`publish` takes them.

    Returns:
        As :func:`publish` does; there is no history, so the offset is 0.

    Raises:
        ValueError: It is nobody: an anonymous user, or one that is not saved.
        Exception: As :func:`publish` does.
    """
    drafts = [_draft("", message, event=event, user=_user_key(user))]
    return _only(outlet.publish(drafts, immediate, wait, timeout, using))


async def apublish(
    group: str,
    message: object,
    *,
    event: str | None = None,
    immediate: bool = False,
    wait: bool = False,
    timeout: float = 5.0,
    using: str | None = None,
    exclude: str | None = None,
) -> Publication | None:
    """:func:`publish` for async code; the loop never waits."""
    drafts = [_draft(group, message, event=event, exclude=exclude)]
    return _only(await outlet.apublish(drafts, immediate, wait, timeout, using))


def disconnect(
    *,
    user: object = None,
    session: object = None,
    group: str | None = None,
    id: str | None = None,
    code: int = 4401,
    reason: str = "",
) -> int:
    """Close connections: those to which all applies that is given.

    Inside a transaction of the default database it happens on commit, so that nobody who comes back
    at once finds the old state.

    Args:
        user: of this user, or primary key.
        session: of this session, or with this key.
        group: members of it.
        id: the connection with this ``handler.id``.
        code: of the close frame; pages of ``django-ws.v1`` do not come back after 4400 to 4499.
        reason: at most 123 bytes of UTF-8.

    Returns:
        How many there were; 0 if they are closed on commit.

    Raises:
        TypeError: The code is no ``int``.
        ValueError: Nothing is given, it is nobody, or code or reason cannot be in a close frame.
        GatewayUnavailable, PublishTimeout: As of :func:`publish` with ``wait``; with
            ``ON_NO_GATEWAY = "drop"`` it is logged instead.
    """
    if user is None and session is None and group is None and id is None:
        raise ValueError("disconnect() needs a user, a session, a group or an id")
    code, reason = operator.index(code), plain(reason)
    if code != 1000 and not 3000 <= code <= 4999:
        raise ValueError(f"{code} is no close code for applications: 1000, or 3000 to 4999")
    if len(reason.encode()) > 123:
        raise ValueError("a close reason has at most 123 bytes (RFC 6455 §5.5)")
    message = Expel(
        next_request(),
        "" if user is None else _user_key(user),
        "" if session is None else _session_digest(session),
        "" if group is None else _group(group),
        "" if id is None else _text("an id", id),
        code,
        reason,
    )
    return outlet.expel(message)


# ---------------------------------------------------------------- asking


def history(group: str, *, since: Sequence[object] | None = None, limit: int = 100) -> History:
    """What was published in a group.

    Args:
        group: its name; a pattern of ``GROUPS`` says how much is kept.
        since: a position: the first publications after it; ``None`` for the newest ones.
        limit: how many at most. Large ones may be fewer: go on from the last.

    Raises:
        GatewayUnavailable: No gateway answers within a second.
        TypeError, ValueError: ``group``, ``since`` or ``limit`` is something else.
    """
    position = None if since is None else wire.Position(*publications.position_of(since))
    # More than any history has; a gateway could not read what is no such number.
    limit = max(0, min(operator.index(limit), 2**31))
    answers = outlet.ask(GetHistory(next_request(), _group(group), position, limit), Recent)
    return publications.history(group, answers[0])


def position(group: str) -> Position:
    """How far a group has come.

    Ask *before* you query what a page shows, and let the page connect from there: then it misses
    nothing.

    Raises:
        GatewayUnavailable: No gateway answers within a second.
    """
    found = outlet.ask(GetPosition(next_request(), _group(group)), wire.Position)[0]
    return Position(found.offset, found.epoch)


def presence(group: str) -> list[Presence]:
    """Who is in a group, in the order in which they came; nobody without ``"presence": True`` in
    ``GROUPS``.

    Raises:
        GatewayUnavailable: No gateway answers within a second.
    """
    answers = outlet.ask(GetPresence(next_request(), _group(group)), list[wire.Present])
    return [each for found in answers for each in publications.presence(found)]


# ---------------------------------------------------------------- what is given


def _draft(
    group: str,
    message: object,
    *,
    event: str | None = None,
    exclude: str | None = None,
    user: str = "",
) -> Publish:
    opcode, data, json = publications.encode(message)
    limit = publisher.configuration().max_outgoing
    if len(data) > limit:
        raise MessageTooBig(len(data), limit)
    return Publish(
        0,
        group if user else _group(group),
        opcode,
        data,
        "" if exclude is None else _text("exclude", exclude),
        "" if event is None else _text("an event", event),
        json,
        user,
    )


def _pair(pair: object) -> tuple[str, object]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"publish_many() takes pairs of group and message, not {pair!r}")
    return pair[0], pair[1]


def _group(group: str) -> str:
    return _text("a group's name", group)


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is a str, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{what} cannot be empty")
    value.encode()
    return str.__str__(value)


def _user_key(user: object) -> str:
    """A user's primary key as text, as gateways know it."""
    meta = getattr(user, "_meta", None)
    key = user if isinstance(user, (str, int)) else getattr(user, "pk", user)
    if key is None or key == "" or isinstance(key, bool):
        raise ValueError(f"{user!r} is nobody: it has no primary key")
    return str(meta.pk.value_to_string(user)) if meta is not None else str(key)


def _session_digest(session: object) -> str:
    key = getattr(session, "session_key", session)
    return session_digest(_text("a session's key", key))


def _only(found: list[Publication]) -> Publication | None:
    return found[0] if found else None
