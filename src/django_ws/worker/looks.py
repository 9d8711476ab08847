"""May they stay? A look at what connections' users come from: session, ticket or token."""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends.base import SessionBase

from .. import conf, tickets
from ..exceptions import SessionReadOnly
from .request import Source
from .session import session_class
from .users import find_user, session_user

__all__ = ["Look"]

#: ``django.contrib.auth.SESSION_KEY``, which a project without that app cannot import.
_USER = "_auth_user_id"


class Look:
    """One look at many connections: each user and each session is read once. Nothing is written.

    Only for connections that have a user.
    """

    def __init__(self) -> None:
        self._users: dict[tuple[str, str], Any] = {}
        self._sessions: dict[str, SessionBase | None] = {}

    def find(self, source: Source) -> Any:
        """The user, if the connection may stay.

        Args:
            source: what the user comes from.

        Returns:
            ``None`` if it may not; ``True`` if there is nothing that could be looked at.
        """
        if source.ticket is not None or (source.given and source.user):
            backend, pk, *_ = source.user.split("\0")
            user = self._user(backend or conf.authentication_backends()[0], pk)
            if user is None or source.ticket is None:
                return user
            return user if tickets.digest_holds(user, source.ticket[0]) else None
        if source.given or not source.session:
            return True  # no model, so only the handler could tell
        session = self._session(source.session)
        if session is None:
            return None
        user = session_user(session, self._user)
        return user if user.is_authenticated else None

    def _session(self, key: str) -> SessionBase | None:
        """The session; ``None`` if there is no such any more."""
        if key not in self._sessions:
            self._sessions[key] = _read(key)
        return self._sessions[key]

    def _user(self, backend: str, pk: str) -> Any:
        if (backend, str(pk)) not in self._users:
            user = find_user(backend, pk)
            self._users[backend, str(pk)] = user if user is None or _may(backend, user) else None
        return self._users[backend, str(pk)]


def _read(key: str) -> SessionBase | None:
    store = session_class()
    if store is None:
        return None
    session = store(key)
    try:
        session.get(_USER)  # reads it
    except SessionReadOnly:  # of an expired one some stores make a new one
        return None
    return session if session.session_key else None


def _may(backend: str, user: Any) -> bool:
    """Whether a backend would let a user in, also if its ``get_user`` does not look."""
    from django.contrib import auth

    decides = getattr(auth.load_backend(backend), "user_can_authenticate", None)
    return bool(decides(user)) if decides is not None else bool(getattr(user, "is_active", True))
