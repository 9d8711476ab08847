"""URLs of the test project: none, as WebSockets are routed by namespace."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
