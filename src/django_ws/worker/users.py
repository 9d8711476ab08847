"""The user of a connection: who the session says it is, and how another worker finds it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from django.apps import apps
from django.contrib.sessions.backends.base import SessionBase
from django.db.models import Model
from django.utils.crypto import constant_time_compare
from django.utils.functional import SimpleLazyObject, empty

from .. import conf

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

    User = AbstractBaseUser | AnonymousUser

__all__ = ["find_user", "load_user", "session_user", "user_id", "user_key"]

#: Finds the user of a backend's path and a primary key as text, as :func:`find_user` does.
Finder = Callable[[str, str], Any]


def user_id(user: object) -> str:
    """What gateways call a user: the primary key as text; empty for nobody.

    Args:
        user: any object with the interface of Django's users.
    """
    if not getattr(user, "is_authenticated", False):
        return ""
    if isinstance(user, Model):
        return str(user._meta.pk.value_to_string(user))
    key = getattr(user, "pk", None)
    return "" if key is None else str(key)


def user_key(user: User) -> str:
    """What names a loaded user to another worker.

    Returns:
        Path of the authentication backend, NUL, primary key; empty for an anonymous user, for one
        that is not loaded yet, and for one that is no model, which nobody else could load. For one
        that does not come from the session, :mod:`.request` appends where it comes from.
    """
    if isinstance(user, SimpleLazyObject) and user._wrapped is empty:
        return ""
    if not user.is_authenticated or not isinstance(user, Model):
        return ""
    return f"{getattr(user, 'backend', '')}\0{user_id(user)}"


def load_user(key: str) -> User:
    """Load the user that another worker had.

    Args:
        key: what :func:`user_key` said.

    Returns:
        An anonymous user if there is none (any more).
    """
    from django.contrib.auth.models import AnonymousUser

    backend, pk, *_ = f"{key}\0".split("\0")
    # One that a handler set by itself has no backend; as login() does with a single one.
    found = find_user(backend or conf.authentication_backends()[0], pk)
    return AnonymousUser() if found is None else cast("AbstractBaseUser", found)


def find_user(backend: str, pk: str) -> Any:
    """Ask an authentication backend for a user.

    Args:
        backend: its path.
        pk: primary key as text.

    Returns:
        ``None`` if there is none (any more), or the project has no such backend (any more).
    """
    from django.contrib import auth

    if backend not in conf.authentication_backends():
        return None
    found = auth.load_backend(backend).get_user(auth.get_user_model()._meta.pk.to_python(pk))
    if found is not None:
        # For `user_key`: the user itself does not say which backend it came from.
        found.backend = backend
    return found


def session_user(session: SessionBase, find: Finder = find_user) -> User:
    """The user who is logged in in a session.

    As ``django.contrib.auth.get_user``, but the session is only read: that one gives it another
    key where a fallback of ``SECRET_KEY`` verifies it, and flushes it where none does.

    Args:
        find: finds it.

    Returns:
        An anonymous user if there is none, or if the session is not theirs any more.
    """
    from django.contrib import auth
    from django.contrib.auth.models import AnonymousUser

    try:
        user = find(session[auth.BACKEND_SESSION_KEY], session[auth.SESSION_KEY])
    except KeyError:
        return AnonymousUser()
    if user is None or not _verified(user, session.get(auth.HASH_SESSION_KEY) or ""):
        return AnonymousUser()
    return cast("AbstractBaseUser", user)


def _verified(user: AbstractBaseUser, found: str) -> bool:
    """Whether a session's hash is still the user's, be it by a fallback of ``SECRET_KEY``."""
    if not hasattr(user, "get_session_auth_hash"):
        return True
    if not found:
        return False
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(found, each) for each in hashes)


def require_auth() -> None:
    """Say what is missing in a project without users.

    Raises:
        AttributeError: The project has no ``django.contrib.auth``.
    """
    if not apps.is_installed("django.contrib.auth"):
        raise AttributeError("there is no user: add django.contrib.auth to INSTALLED_APPS")
