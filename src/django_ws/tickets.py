"""Tickets: signed words that let a page connect once, where no cookie goes along.

A ticket names a user, is valid for a minute, and is used up with the first connection. It dies with
the user's password, and one that a page got from ``{% ws_ticket %}`` with the page's session.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from django.core import signing
from django.utils.crypto import constant_time_compare

from . import conf, outlet
from .conf_problems import nearest
from .exceptions import PublishError, Reject
from .publisher_link import next_request
from .wire.messages import UseTicket

__all__ = [
    "Ticket",
    "auth_digest",
    "bearer",
    "digest_holds",
    "find",
    "make_ticket",
    "read",
    "sign",
    "use_up",
]

_SALT = "django_ws.ticket"


class Ticket(NamedTuple):
    """What is in a ticket.

    Attributes:
        user: primary key as text.
        backend: dotted path of the authentication backend.
        namespace: the only one it is good for; empty for any.
        nonce: names this ticket among all.
        expires: seconds since the epoch.
        digest: of the user's session hash, which changes with the password.
        session: digest of the key of the session that it was made in; empty for none.
    """

    user: str
    backend: str
    namespace: str
    nonce: str
    expires: int
    digest: str
    session: str


def make_ticket(user: Any, *, max_age: float = 60, namespace: str | None = None) -> str:
    """Make a ticket, which lets its bearer connect once as ``user``.

    Clients bring it as ``?ticket=``. It is not bound to a session: a logout does not end what it
    began, but a new password, deactivation and deletion do.

    Args:
        user: somebody who is saved.
        max_age: seconds for which it is valid.
        namespace: the only one it is good for; ``None`` for any.

    Returns:
        Text that can be in a URL as it is.

    Raises:
        ValueError: It is nobody, ``max_age`` is not above 0, or there is no such namespace.
    """
    return sign(user, max_age, namespace or "", "")


def sign(user: Any, max_age: float, namespace: str, session: str) -> str:
    """:func:`make_ticket`, bound to a session.

    Args:
        session: digest of its key; empty for none.
    """
    if not user.is_authenticated or user.pk is None:
        raise ValueError(f"{user!r} is nobody: there is no user to make a ticket for")
    if not max_age > 0:
        raise ValueError(f"max_age is a number of seconds above 0, not {max_age!r}")
    known = conf.handler_paths()
    if namespace and known and namespace not in known:
        raise ValueError(f"DEFAULT_WS_HANDLERS has no {namespace!r}. {nearest(namespace, known)}")
    ticket = Ticket(
        str(user._meta.pk.value_to_string(user)),
        getattr(user, "backend", None) or conf.authentication_backends()[0],
        namespace,
        secrets.token_hex(16),
        int(time.time() + max_age) + 1,
        auth_digest(user),
        session,
    )
    return signing.dumps(list(ticket), salt=_SALT)


def find(query: str, auth: bytes) -> str:
    """The ticket that a client has brought; empty for none.

    Args:
        query: of the handshake, raw.
        auth: JSON that the client sent when it connected; empty for a plain one.
    """
    if "ticket=" in query:
        found = parse_qs(query).get("ticket", [""])[-1]
        if found:
            return found
    if auth:
        try:
            given = json.loads(auth)
        except RecursionError:  # a stranger's, and deeper than this stack has room for
            return ""
        if isinstance(given, dict) and isinstance(given.get("ticket"), str):
            return str(given["ticket"])
    return ""


def read(text: str, namespace: str, spend: Callable[[str, float], bool]) -> tuple[Ticket, Any]:
    """Check a ticket in every way, and use it up.

    Args:
        namespace: that it is to be used for.
        spend: :func:`use_up`, or what stands for it.

    Returns:
        The ticket, and its user.

    Raises:
        Reject: 401 for a ticket that lets nobody in, 503 if no gateway can tell.
    """
    from django.contrib import auth

    try:
        ticket = Ticket(*signing.loads(text, salt=_SALT))
    except (signing.BadSignature, TypeError, ValueError):
        raise _refused() from None
    if ticket.expires <= time.time() or ticket.namespace not in ("", namespace):
        raise _refused()
    user: Any = None
    if ticket.backend in conf.authentication_backends():
        pk = auth.get_user_model()._meta.pk.to_python(ticket.user)
        user = auth.load_backend(ticket.backend).get_user(pk)
    if user is None or not getattr(user, "is_active", True):
        raise _refused()
    if not digest_holds(user, ticket.digest):
        raise _refused()
    try:
        first = spend(ticket.nonce, float(ticket.expires))
    except PublishError:
        raise Reject(503, "") from None
    if not first:
        raise _refused()
    user.backend = ticket.backend
    return ticket, user


def bearer(text: str) -> str:
    """Whose ticket it is: primary key as text; empty if it is none. It may be used up."""
    try:
        return Ticket(*signing.loads(text, salt=_SALT)).user
    except (signing.BadSignature, TypeError, ValueError):
        return ""


def use_up(nonce: str, expires: float) -> bool:
    """Tell every gateway that a ticket is used.

    Returns:
        False if one knows it as used, or can remember no more.

    Raises:
        PublishError: One does not answer.
    """
    return all(outlet.ask(UseTicket(next_request(), nonce, expires), int))


def auth_digest(user: Any) -> str:
    """What tells a user's passwords apart; empty for a user without."""
    digests = _digests(user)
    return digests[0] if digests else ""


def digest_holds(user: Any, digest: str) -> bool:
    """Whether it is still the user's, be it by a fallback of ``SECRET_KEY``."""
    digests = _digests(user)
    return not digests or any(constant_time_compare(digest, each) for each in digests)


def _digests(user: Any) -> list[str]:
    if not hasattr(user, "get_session_auth_hash"):
        return []
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return [hashlib.sha256(f"django-ws hash {each}".encode()).hexdigest()[:32] for each in hashes]


def _refused() -> Reject:
    return Reject(401, "the ticket is not valid")
