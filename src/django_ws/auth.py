"""Who may connect: decorators for handler classes, and the check that goes by them.

Class decorators, as those of ``django.contrib.auth.decorators`` are for views::

    @login_required
    class Chat(WebSocketHandler): ...

They are checked before ``on_connect``, by nothing that a handler overrides. A refusal is 401 for
who is not logged in, else 403.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, cast

from django.core.signals import setting_changed

from . import conf
from .exceptions import Reject
from .tickets import make_ticket

__all__ = [
    "authorize",
    "close_code",
    "login_not_required",
    "login_required",
    "make_ticket",
    "passes",
    "permission_required",
    "user_passes_test",
]

C = TypeVar("C", bound=type)

#: A test of a user: any object with the interface of Django's users.
Test = Callable[[Any], bool]

#: Close codes for the statuses that the namespace option ``refuse`` can tell a page.
_CLOSE_CODES = {401: 4401, 403: 4403}


class Subject(Protocol):
    """What the check needs of a handler."""

    @property
    def namespace(self) -> str: ...
    @property
    def user(self) -> Any: ...


class _Marked(Protocol):
    """What decorators leave on a class."""

    login_required: ClassVar[bool]
    _user_tests: ClassVar[tuple[Test, ...]]


# ---------------------------------------------------------------- decorators


def login_required(handler_class: C) -> C:
    """Let only users in who are logged in; others are refused with 401."""
    _marks("login_required", handler_class).login_required = True
    return handler_class


def login_not_required(handler_class: C) -> C:
    """Let everybody in, also if the project runs ``LoginRequiredMiddleware``.

    What other decorators ask for, they go on asking.
    """
    _marks("login_not_required", handler_class).login_required = False
    return handler_class


def permission_required(perm: str | Iterable[str]) -> Callable[[C], C]:
    """Let only users in who have a permission, or all of several.

    Args:
        perm: like ``"app.change_thing"``.
    """
    perms = (perm,) if isinstance(perm, str) else tuple(perm)
    return user_passes_test(functools.partial(_has_perms, perms))


def user_passes_test(test: Test) -> Callable[[C], C]:
    """Let only users in of whom ``test(user)`` is true.

    Args:
        test: may query; an exception in it refuses with 500.
    """

    def decorate(handler_class: C) -> C:
        marks = _marks("permission_required and user_passes_test", handler_class)
        marks._user_tests = (*getattr(handler_class, "_user_tests", ()), test)
        return handler_class

    return decorate


def _marks(decorator: str, handler_class: type) -> type[_Marked]:
    """The class, to be marked.

    Raises:
        TypeError: It is none: a hook or a view would look protected, and be left open.
    """
    if not isinstance(handler_class, type):
        name = getattr(handler_class, "__qualname__", repr(handler_class))
        raise TypeError(
            f"{decorator} of django_ws.auth: for handler classes, and {name} is none. A whole "
            "handler is protected, not a hook of it; for views there is "
            "django.contrib.auth.decorators"
        )
    return cast("type[_Marked]", handler_class)


def _has_perms(perms: tuple[str, ...], user: Any) -> bool:
    return bool(user.has_perms(perms))


# ---------------------------------------------------------------- the check


class _Rules(NamedTuple):
    """What a class in a namespace asks of users."""

    login: bool
    tests: tuple[Test, ...]


def authorize(handler: Subject) -> None:
    """Check a handler's user by its decorators, its namespace's ``auth``, and the middleware.

    Raises:
        Reject: 401 for nobody, 403 for somebody who may not.
    """
    rules = _rules(type(handler), handler.namespace)
    if not rules.login and not rules.tests:
        return
    user = handler.user
    if rules.login and not user.is_authenticated:
        raise Reject(401, "login required")
    if _passes(rules, user):
        return
    if not user.is_authenticated:
        raise Reject(401, "login required")
    raise Reject(403, "permission denied")


def passes(handler_class: type, namespace: str, user: Any) -> bool:
    """Whether a user passes what a class in a namespace tests, apart from being logged in."""
    return _passes(_rules(handler_class, namespace), user)


def _passes(rules: _Rules, user: Any) -> bool:
    return all(test(user) for test in rules.tests)


def close_code(namespace: str, status: int) -> int:
    """What a refusal closes with where ``refuse`` is ``"close"``; 0 for a plain HTTP status."""
    entry = conf.namespace(namespace)
    return _CLOSE_CODES.get(status, 0) if entry and entry.refuse == "close" else 0


@functools.lru_cache(256)
def _rules(handler_class: type, namespace: str) -> _Rules:
    entry = conf.namespace(namespace)
    own: bool | None = getattr(handler_class, "login_required", None)
    tests: tuple[Test, ...] = getattr(handler_class, "_user_tests", ())
    asked = ""
    if entry is not None:
        asked = entry.auth.login
        if entry.auth.permissions:
            tests = (*tests, functools.partial(_has_perms, tuple(entry.auth.permissions)))
    # The stricter one counts: what the code of a class asks for, no setting takes back.
    login = own is True or asked == "login_required"
    if not login and own is None and asked != "login_not_required":
        login = conf.requires_login()
    return _Rules(login, tests)


def _on_setting_changed(**kwargs: object) -> None:
    """Tests change settings."""
    _rules.cache_clear()


setting_changed.connect(_on_setting_changed)
