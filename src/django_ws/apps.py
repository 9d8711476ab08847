"""The Django app: ``"django_ws"`` in ``INSTALLED_APPS``."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

__all__ = ["DjangoWSConfig"]


class DjangoWSConfig(AppConfig):
    """Registers the system checks (``manage.py check --tag django_ws``), and listens who has logged
    out and whose users have changed."""

    name = "django_ws"
    label = "django_ws"
    verbose_name = "WebSockets"

    def ready(self) -> None:
        from .checks import check_handlers, check_settings
        from .csp_checks import check_csp
        from .deploy_checks import check_deployment
        from .staying import connect_signals

        checks.register(check_settings, "django_ws")
        checks.register(check_handlers, "django_ws")
        checks.register(check_csp, "django_ws")
        checks.register(check_deployment, "django_ws", deploy=True)
        connect_signals()
