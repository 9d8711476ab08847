"""Who may stay: tells the gateways who has logged out, and whose users have changed.

Goes by Django's signals, in whatever process they are sent: a view, the admin, a shell, a task.
What no signal tells (``QuerySet.update()``, raw SQL, other services), ``REVALIDATE`` finds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from django.apps import apps
from django.contrib.auth.signals import user_logged_out
from django.db import router
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete

from .wire.identity import session_digest
from .wire.messages import Expel, Recheck

__all__ = ["LOGGED_OUT", "connect_signals"]

logger = logging.getLogger("django_ws.publishing")

#: How a connection is closed whose session or user may not stay.
LOGGED_OUT = (4401, "logged out")

#: Users of a group who are looked at when its permissions change; others only by ``REVALIDATE``.
MAX_USERS = 10_000

_UID = "django_ws.staying"


def connect_signals() -> None:
    """Listen from now on. Without ``django.contrib.auth`` there is nothing to hear."""
    if not apps.is_installed("django.contrib.auth"):
        return
    from django.contrib.auth import get_user_model

    user_logged_out.connect(_logged_out, dispatch_uid=_UID)
    user_model = get_user_model()
    # Each by itself: a listener to all models would make every deletion of the project slow. One
    # that inherits from the user model, be it a proxy, sends its signals by its own name.
    for model in apps.get_models():
        if issubclass(model, user_model):
            post_save.connect(_saved, sender=model, dispatch_uid=_UID)
            post_delete.connect(_deleted, sender=model, dispatch_uid=_UID)
    for name in ("groups", "user_permissions"):
        field = getattr(user_model, name, None)
        if field is not None and hasattr(field, "through"):
            m2m_changed.connect(_granted, sender=field.through, dispatch_uid=_UID)
    if hasattr(getattr(user_model, "groups", None), "through"):
        from django.contrib.auth.models import Group

        through = Group.permissions.through
        m2m_changed.connect(_group_granted, sender=through, dispatch_uid=_UID)
        pre_delete.connect(_group_goes, sender=Group, dispatch_uid=_UID)


def _quietly(listener: Callable[..., None]) -> Callable[..., None]:
    """What goes wrong here is no affair of whoever has sent the signal."""

    @wraps(listener)
    def listen(**kwargs: Any) -> None:
        try:
            listener(**kwargs)
        except Exception:
            logger.exception("gateways do not know of a change")

    return listen


@_quietly
def _logged_out(request: Any, **kwargs: Any) -> None:
    """The signal comes before the session is deleted: hence ``over``."""
    session = getattr(request, "session", None)
    key = getattr(session, "session_key", None)
    if not key:
        return
    # One that is not in a database is gone for good, whatever becomes of a transaction.
    model = getattr(session, "model", None)
    using = None if model is None else router.db_for_write(model)
    found = Expel(0, "", session_digest(key), "", "", *LOGGED_OUT, True)
    _tell([found], using, immediate=model is None)


@_quietly
def _saved(
    instance: Model, created: bool, update_fields: Iterable[str] | None, using: str, **kwargs: Any
) -> None:
    # With each login comes a save of `last_login` alone.
    if not created and set(update_fields or ("",)) != {"last_login"}:
        _recheck(instance, using)


@_quietly
def _deleted(instance: Model, using: str, **kwargs: Any) -> None:
    _recheck(instance, using)


@_quietly
def _granted(
    instance: Model,
    action: str,
    reverse: bool,
    pk_set: set[Any] | None,
    using: str,
    **kwargs: Any,
) -> None:
    """Groups or permissions of users have changed, from whichever side."""
    if not reverse:
        if action.startswith("post_"):
            _recheck(instance, using)
    elif action in ("post_add", "post_remove"):
        _recheck_by_pk(pk_set or (), using)
    elif action == "pre_clear":  # afterwards nobody knows who it was
        _recheck_all(instance, using)


@_quietly
def _group_granted(
    instance: Model,
    action: str,
    reverse: bool,
    pk_set: set[Any] | None,
    model: type[Model],
    using: str,
    **kwargs: Any,
) -> None:
    """Permissions of groups have changed, from whichever side."""
    if action not in ("post_add", "post_remove", "pre_clear"):
        return
    if not reverse:
        _recheck_all(instance, using)
        return
    groups = model._base_manager.using(using)
    found = groups.filter(pk__in=pk_set) if pk_set else groups.filter(permissions=instance)
    for group in found:
        _recheck_all(group, using)


@_quietly
def _group_goes(instance: Model, using: str, **kwargs: Any) -> None:
    _recheck_all(instance, using)


def _recheck(user: Model, using: str) -> None:
    from django.contrib.auth import get_user_model

    # Not by its own primary key: that of a model which inherits has another name.
    _recheck_by_pk([get_user_model()._meta.pk.value_to_string(user)], using)


def _recheck_all(owner: Model, using: str) -> None:
    """All users who have a group or a permission, as it is now."""
    from django.contrib.auth import get_user_model

    field = "groups" if owner._meta.model_name == "group" else "user_permissions"
    users = get_user_model()._base_manager.using(using).filter(**{field: owner})
    found = list(users.values_list("pk", flat=True)[: MAX_USERS + 1])
    if len(found) > MAX_USERS:
        logger.warning(
            "over %d users of %r have changed: the rest is left to REVALIDATE", MAX_USERS, owner
        )
    _recheck_by_pk(found[:MAX_USERS], using)


def _recheck_by_pk(users: Iterable[object], using: str) -> None:
    _tell([Recheck(0, str(user)) for user in users], using)


def _tell(messages: list[Expel | Recheck], using: str | None, *, immediate: bool = False) -> None:
    from . import outlet  # not before it is needed: ZeroMQ is none of most commands' affair

    if messages:
        outlet.tell(messages, using, immediate)
