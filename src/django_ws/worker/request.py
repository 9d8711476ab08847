"""The handshake as a Django request, with session and user as a view has them."""

from __future__ import annotations

import logging
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, cast

from django.apps import apps
from django.contrib.sessions.backends.base import SessionBase, UpdateError
from django.http import HttpRequest, QueryDict
from django.http.cookie import parse_cookie
from django.utils.datastructures import MultiValueDict
from django.utils.functional import SimpleLazyObject, cached_property, empty

from .. import conf
from ..wire.messages import Handshake

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

    User = AbstractBaseUser | AnonymousUser

__all__ = ["HandshakeRequest", "load_user", "user_key"]

logger = logging.getLogger("django_ws.session")

#: ``django.contrib.auth.SESSION_KEY``, which a project without that app cannot import.
_USER = "_auth_user_id"


class HandshakeRequest(HttpRequest):
    """What ``handler.request`` is, built from the handshake as ``ASGIRequest`` is from a scope.

    Args:
        handshake: the upgrade request.
        user_key: names the user that another worker had loaded; empty to ask the session.
    """

    def __init__(self, handshake: Handshake, user_key: str = "") -> None:
        # Not super().__init__(), which would fill in what is lazy here; ASGIRequest does the same.
        self._handshake = handshake
        self._session: SessionBase | None = None
        self._session_key: str | None = None
        self._found: tuple[str, str] | None = None  # user and key of the session as last read
        self._user: User | None = None
        self._user_key = user_key
        self.method = "GET"
        self.path = self.path_info = handshake.path
        self.resolver_match = None
        self.META = _meta(handshake)
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
            store = conf.session_store()
            if store is None:
                raise AttributeError(
                    "there is no session: add django.contrib.sessions to INSTALLED_APPS"
                )
            self._session = store(self._session_key or self.COOKIES.get(conf.session_cookie_name()))
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
    def user(self, user: User) -> None:
        self._user = user

    def refresh_user(self) -> None:
        """Load :attr:`user` anew, from the session, at its next use."""
        self._user = None
        self._user_key = ""

    def _load_user(self) -> User:
        return load_user(self, self._user_key)

    def user_key(self, before: str) -> str:
        """What names the user to another worker; ``before`` if nobody has asked for it yet."""
        user = self._user
        if user is None or (isinstance(user, SimpleLazyObject) and user._wrapped is empty):
            return before
        return user_key(user)

    def identity(self) -> tuple[str, str]:
        """Whose connection it is, by the session's data: no user is loaded.

        Returns:
            Primary key of the user, as text, and a digest of the session's key; empty for nobody
            and without a session.
        """
        if self._found is None:
            if conf.session_store() is None:
                return "", ""
            if not (self._session_key or self.COOKIES.get(conf.session_cookie_name())):
                return "", ""
            self._found = _found(self.session)
        user, key = self._found
        return user, sha256(key.encode()).hexdigest() if key else ""

    def end_hook(self) -> None:
        """Save the session if the hook changed it, and forget its data: call it after each hook."""
        session, self._session = self._session, None
        if session is None:
            return
        if session.modified and not session.is_empty():
            try:
                session.save()
            except UpdateError:
                # As in SessionMiddleware; but here nobody waits for a response.
                logger.warning(
                    "%s: a session was deleted while a hook changed it, by a logout for example; "
                    "the change is lost",
                    self._handshake.namespace,
                )
                return
        # May differ from the cookie's after login(), flush() or for a session made here.
        self._session_key = session.session_key
        if hasattr(session, "_session_cache"):  # it was read, so this costs no query
            self._found = _found(session)


def _found(session: SessionBase) -> tuple[str, str]:
    """Primary key of a session's user, and its key; empty if there is no such session any more."""
    user = session.get(_USER, "")  # reads it first
    return str(user), session.session_key or ""


def _meta(handshake: Handshake) -> dict[str, object]:
    meta: dict[str, object] = {
        "REQUEST_METHOD": "GET",
        "QUERY_STRING": handshake.query,
        "SCRIPT_NAME": "",
        "PATH_INFO": handshake.path,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": handshake.server[0],
        "SERVER_PORT": str(handshake.server[1]),
        "REMOTE_ADDR": handshake.client[0],
        "REMOTE_HOST": handshake.client[0],
        "REMOTE_PORT": handshake.client[1],
        "wsgi.url_scheme": handshake.scheme,
    }
    headers: dict[str, str] = {}
    for name, value in handshake.headers:
        # "X_Y" and "X-Y" would be the same key: drop what only looks like the other.
        if "_" in name:
            continue
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        separator = "; " if key == "HTTP_COOKIE" else ","
        headers[key] = f"{headers[key]}{separator}{value}" if key in headers else value
    meta.update(headers)
    return meta


# ---------------------------------------------------------------- users


def user_key(user: User) -> str:
    """What names a loaded user to another worker.

    Returns:
        Path of the authentication backend, NUL, primary key; empty for an anonymous user and for
        one that is not loaded yet.
    """
    if isinstance(user, SimpleLazyObject) and user._wrapped is empty:
        return ""
    if not user.is_authenticated:
        return ""
    backend = getattr(user, "backend", "")
    return f"{backend}\0{user._meta.pk.value_to_string(user)}"


def load_user(request: HandshakeRequest, key: str = "") -> User:
    """Load the user of a connection.

    Args:
        request: its handshake.
        key: what :func:`user_key` said of the user that another worker had loaded; empty to ask the
            session.

    Returns:
        An anonymous user if there is none (any more).

    Raises:
        AttributeError: The project has no ``django.contrib.auth``, or no sessions.
    """
    if not apps.is_installed("django.contrib.auth"):
        raise AttributeError("there is no user: add django.contrib.auth to INSTALLED_APPS")
    from django.contrib import auth
    from django.contrib.auth.models import AnonymousUser

    if not key:
        user = auth.get_user(request)
        if user.is_authenticated:
            # For `user_key`: get_user() itself does not say which backend it asked.
            user.backend = request.session[auth.BACKEND_SESSION_KEY]
        return user
    backend, _, pk = key.partition("\0")
    if not backend:
        # A user that a handler set by itself; as login() does with a single backend.
        backend = conf.authentication_backends()[0]
    if backend not in conf.authentication_backends():
        return AnonymousUser()
    found = auth.load_backend(backend).get_user(auth.get_user_model()._meta.pk.to_python(pk))
    if found is None:
        return AnonymousUser()
    found.backend = backend
    return cast("AbstractBaseUser", found)
