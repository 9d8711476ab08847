"""The handshake as a Django request, with session and user as a view has them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple, cast

from django.contrib.sessions.backends.base import SessionBase, UpdateError
from django.http import HttpRequest, QueryDict
from django.http.cookie import parse_cookie
from django.utils.datastructures import MultiValueDict
from django.utils.functional import SimpleLazyObject, cached_property, empty

from .. import conf, tickets
from ..wire.identity import session_digest
from ..wire.messages import Handshake
from .meta import meta
from .session import session_class
from .users import load_user, require_auth, session_user, user_id, user_key

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

    User = AbstractBaseUser | AnonymousUser

__all__ = ["HandshakeRequest", "Source"]

logger = logging.getLogger("django_ws.session")

#: ``django.contrib.auth.SESSION_KEY``, which a project without that app cannot import.
_USER = "_auth_user_id"

#: Stands for the key of a session that a hook has ended, so that the cookie is not asked again.
_NO_SESSION = ""


class Source(NamedTuple):
    """What a connection's user comes from.

    Attributes:
        user: names the user as :func:`.users.user_key` does; empty if none is loaded, or if it is
            no model.
        ticket: digests of its user's session hash, and of the session that it was made in.
        given: by a ticket, a token or the handler, so not by the session.
        session: key of the session; empty without one.
    """

    user: str
    ticket: tuple[str, str] | None
    given: bool
    session: str


class HandshakeRequest(HttpRequest):
    """What ``handler.request`` is, built from the handshake as ``ASGIRequest`` is from a scope.

    Args:
        handshake: the upgrade request.
        user_key: names the user that another worker had loaded; empty to ask the session.

    Attributes:
        lost: a hook has found that there is no such session (any more).
    """

    def __init__(self, handshake: Handshake, user_key: str = "") -> None:
        # Not super().__init__(), which would fill in what is lazy here; ASGIRequest does the same.
        self._handshake = handshake
        self._session: SessionBase | None = None
        self._session_key: str | None = None  # None: the cookie has it
        self._found: tuple[str, str] | None = None  # user and key of the session as last read
        self._user: User | None = None
        self._user_key = user_key
        self.lost = False
        # Of an assigned user; of a ticket's, also what holds it: digests of hash and session.
        source = user_key.split("\0")[2:]
        self._set = bool(source)  # the user was assigned, so the session does not tell who it is
        self._ticket = (source[1], source[2]) if len(source) == 3 else None
        self._stale = False  # the session's user may have changed since the hook read it
        self.method = "GET"
        self.META = meta(handshake)
        self.path = f"{self.META['SCRIPT_NAME']}{self.META['PATH_INFO']}"
        self.path_info = str(self.META["PATH_INFO"])
        self.resolver_match = None
        self._set_content_type_params(self.META)  # type: ignore[attr-defined]
        self._stream = BytesIO()
        self._read_started = False
        self.POST = QueryDict()
        self.FILES = MultiValueDict()

    @cached_property
    def GET(self) -> QueryDict:  # type: ignore[override]
        return QueryDict(self._handshake.query)

    @cached_property
    def COOKIES(self) -> dict[str, str]:  # type: ignore[override]
        return parse_cookie(self.META.get("HTTP_COOKIE", ""))

    def _get_scheme(self) -> str:
        # HttpRequest.scheme looks at SECURE_PROXY_SSL_HEADER first.
        return self._handshake.scheme

    @property
    def session(self) -> SessionBase:
        """The session of this hook; the next hook loads it anew.

        Raises:
            AttributeError: The project has no sessions.
        """
        if self._session is None:
            store = session_class()
            if store is None:
                raise AttributeError(
                    "there is no session: add django.contrib.sessions to INSTALLED_APPS"
                )
            self._session = store(self._cookie_key())
        return self._session

    @session.setter
    def session(self, session: SessionBase) -> None:
        self._session = session

    # The stubs know the project's own user model; here it may be any.
    @property  # type: ignore[override]
    def user(self) -> User:
        """The session's user, loaded on first use and kept for the connection."""
        if self._user is None:
            self._user = cast("User", SimpleLazyObject(self._load_user))
        return self._user

    @user.setter
    def user(self, user: User | None) -> None:
        if user is None:  # what a query has not found is nobody, and not the session's user
            from django.contrib.auth.models import AnonymousUser

            user = AnonymousUser()
        self._set = True  # first: other threads may look, see `user_key`
        self._ticket = None
        self._user = user

    def continued(self, handshake: Handshake) -> HandshakeRequest:
        """The request of the same client's next connection: who was assigned, or came by a ticket,
        is still the user."""
        request = HandshakeRequest(handshake, self.user_key() if self._set else "")
        if self._set:
            request._user, request._set, request._ticket = self._user, True, self._ticket
        return request

    def use_ticket(self, text: str, spend: Callable[[str, float], bool]) -> None:
        """Make the bearer of a ticket the user; arguments and exceptions as of
        :func:`.tickets.read`."""
        ticket, self.user = tickets.read(text, self._handshake.namespace, spend)
        self._ticket = ticket.digest, ticket.session

    def refresh_user(self) -> None:
        """Load :attr:`user` anew, from the session as it is by then, at its next use.

        One that came by a ticket or a token is asked for by its primary key; one that is no model
        stays as it is.
        """
        key = self.user_key()
        if self._set:
            if key:
                self._user, self._user_key = None, key
            return
        self._user = None
        self._user_key = ""
        self._stale = True
        self._found = None
        if self._session is not None and not self._session.modified:
            self._session = None

    def _load_user(self) -> User:
        require_auth()
        if self._ticket:
            return self._ticket_user()
        if self._user_key:
            return load_user(self._user_key)
        return session_user(self._read_session())

    def _ticket_user(self) -> User:
        """The user of a ticket, as long as its digest holds."""
        from django.contrib.auth.models import AnonymousUser

        user = load_user(self._user_key)
        held = self._ticket is not None and tickets.digest_holds(user, self._ticket[0])
        return user if held and user.is_authenticated else AnonymousUser()

    def _read_session(self) -> SessionBase:
        """The session as it is by now, without what the running hook has changed in it."""
        if self._stale and self._session is not None and self._session.modified:
            return type(self._session)(self._session.session_key)
        return self.session

    def user_key(self) -> str:
        """What names the user to another worker; empty for nobody."""
        user = self._user
        if user is None or _unloaded(user):
            return self._user_key
        key = user_key(user)
        if not self._set or not key:
            return key
        return "\0".join((key, "ticket", *self._ticket) if self._ticket else (key, "set"))

    @property
    def source(self) -> Source:
        """What its user comes from; any thread may ask, while a hook runs."""
        key = self.user_key()
        return Source(key, self._ticket, self._set, self._cookie_key() or "")

    def identity(self) -> tuple[str, str]:
        """Whose connection it is, as far as possible by the session's data alone.

        Returns:
            The user as :func:`.users.user_id` has it, and a digest of the session's key; empty for
            nobody and without a session.
        """
        user, key = self._in_session()
        digest = session_digest(key)
        if self._set:
            loaded = self._user is not None and not _unloaded(self._user)
            user = user_id(self._user) if loaded else self._user_key.split("\0")[1]
            if self._ticket:
                digest = self._ticket[1]
        return user, digest

    def _in_session(self) -> tuple[str, str]:
        """Primary key of the session's user, and the session's key."""
        if self._found is None:
            store = session_class()
            if store is None or not self._cookie_key():
                return "", ""
            # Not kept for the next hook, which shall see what has come meanwhile.
            self._found = _found(self._session or store(self._cookie_key()))
        return self._found

    def _cookie_key(self) -> str | None:
        if self._session_key is not None:
            return self._session_key
        return self.COOKIES.get(conf.session_cookie_name())

    def end_hook(self, failed: bool = False) -> None:
        """Save the session if the hook changed it, and forget its data: call it after each hook.

        Args:
            failed: an exception left the hook, so nothing is saved.

        Raises:
            SessionReadOnly: What the hook wrote cannot be saved without another cookie.
        """
        session, self._session = self._session, None
        self._stale = False
        if session is None and conf.saves_every_session() and self._cookie_key():
            session = self.session
            self._session = None
        if session is None:
            return
        wanted = session.modified or conf.saves_every_session()
        if wanted and not failed and session.session_key and not session.is_empty():
            try:
                session.save()
            except UpdateError:
                # As in SessionMiddleware; but here nobody waits for a response.
                logger.warning(
                    "%s: a session was deleted while a hook changed it, by a logout for example; "
                    "the change is lost",
                    self._handshake.namespace,
                )
                self.lost = True
                return
        if not failed:
            # May differ from the cookie's after flush().
            self._session_key = session.session_key or _NO_SESSION
        if hasattr(session, "_session_cache"):  # it was read, so this costs no query
            self._found = _found(session)
            if not session.session_key and not getattr(session, "flushed", True):
                self.lost = True


def _unloaded(user: User) -> bool:
    return isinstance(user, SimpleLazyObject) and user._wrapped is empty


def _found(session: SessionBase) -> tuple[str, str]:
    """Primary key of a session's user, and its key; empty if there is no such session any more."""
    user = session.get(_USER, "")  # reads it first
    return str(user), session.session_key or ""
