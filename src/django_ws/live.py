"""Live pages: models that publish what becomes of their objects.

@live("orders", "customer-{customer_id}")
class Order(models.Model):
    def live_message(self, change):
        return {"id": self.pk, "status": self.status, "change": change}
"""

from __future__ import annotations

import re
from collections.abc import Callable
from string import Formatter
from typing import TypeVar

from django.db.models import Model
from django.db.models.signals import class_prepared, post_delete, post_save

from .deferral import lost
from .exceptions import GatewayUnavailable
from .publishing import publish

__all__ = ["CREATED", "DELETED", "UPDATED", "live"]

#: What may have happened to an object.
CREATED = "created"
UPDATED = "updated"
DELETED = "deleted"

M = TypeVar("M", bound=Model)


def live(*groups: str, method: str = "live_message") -> Callable[[type[M]], type[M]]:
    """Let a model publish on save and delete: on commit, as :func:`django_ws.publish` does.

    The model's method ``live_message(change)`` says what: ``str`` (also HTML), ``bytes``, anything
    that goes out as JSON, or ``None`` for nothing. ``change`` is :data:`CREATED`, :data:`UPDATED`
    or :data:`DELETED`. Without the method it is a dict of ``model``, ``pk`` and ``change``.

    Subclasses, proxies included, publish as well. What sends no signals of Django's does not:
    ``bulk_create``, ``bulk_update``, ``QuerySet.update``, changes of many-to-many relations; nor
    do fixtures that are being loaded.

    Args:
        groups: where to; ``{name}`` stands for an attribute of the object.
        method: what says it, instead of ``live_message``. So a model decorated twice can tell one
            group in JSON and another one in HTML.

    Raises:
        ValueError: There is no group, or one whose braces name no attribute.
        TypeError: A group is no text; so it is with ``@live`` alone. Or it decorates no model.
        AttributeError: When the object is saved: it has no such method.
    """
    if not groups:
        raise ValueError('live() needs a group: @live("orders")')
    if not all(isinstance(group, str) for group in groups):  # @live without an argument
        raise TypeError(f'live() takes names of groups, as @live("orders") does, not {groups[0]!r}')

    for group in groups:
        _check(group)

    def decorate(model: type[M]) -> type[M]:
        if not (isinstance(model, type) and issubclass(model, Model)):
            raise TypeError(f"live() is for models, and {model!r} is none")

        def saved(instance: Model, created: bool, raw: bool, using: str, **kwargs: object) -> None:
            if not raw:
                _publish(groups, method, instance, CREATED if created else UPDATED, using)

        def deleted(
            sender: type[Model], instance: Model, using: str, origin: object, **kwargs: object
        ) -> None:
            # The parent's row of an object that tells of its end itself.
            whole = getattr(origin, "model", type(origin))
            if whole is sender or not issubclass(whole, sender):
                _publish(groups, method, instance, DELETED, using)

        def connect(sender: type[Model], **kwargs: object) -> None:
            # Per model: a receiver for all of them would make every deletion in bulk slow.
            if issubclass(sender, model):
                post_save.connect(saved, sender=sender, weak=False)
                post_delete.connect(deleted, sender=sender, weak=False)

        if not model._meta.abstract:
            connect(model)
        class_prepared.connect(connect, weak=False)
        return model

    return decorate


def _check(group: str) -> None:
    try:
        names = [name for _, name, _, _ in Formatter().parse(group) if name is not None]
    except ValueError:  # a single brace
        names = [""]
    if not all(re.split(r"[.\[]", name)[0].isidentifier() for name in names):
        raise ValueError(
            f"live(): the braces of {group!r} name no attribute, as in 'customer-{{customer_id}}'"
        )


class _Attributes:
    """What ``{name}`` in a group's name finds."""

    def __init__(self, instance: Model) -> None:
        self._instance = instance

    def __getitem__(self, name: str) -> object:
        return getattr(self._instance, name)


def _publish(
    groups: tuple[str, ...], method: str, instance: Model, change: str, using: str
) -> None:
    message = _message(instance, method, change)
    if message is None:
        return
    attributes = _Attributes(instance)
    for group in groups:
        name = group.format_map(attributes)
        try:
            publish(name, message, using=using)
        except GatewayUnavailable as error:
            # The object is saved all the same, so save() must not look as if it failed.
            lost(1, error)


def _message(instance: Model, method: str, change: str) -> object:
    if method == "live_message" and not hasattr(instance, method):
        return {"model": instance._meta.label_lower, "pk": instance.pk, "change": change}
    return getattr(instance, method)(change)
