"""A URLconf with a converter of its own, which only some tests import."""

from __future__ import annotations

from datetime import date

from django.urls import URLPattern, register_converter


class IsoDayConverter:
    """A day like 2026-11-25."""

    regex = "[0-9]{4}-[0-9]{2}-[0-9]{2}"

    def to_python(self, value: str) -> date:
        """Raises ``ValueError`` for a day that does not exist."""
        return date.fromisoformat(value)

    def to_url(self, value: date) -> str:
        """The day as text."""
        return value.isoformat()


register_converter(IsoDayConverter, "iso_day")

urlpatterns: list[URLPattern] = []
