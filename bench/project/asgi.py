"""The ASGI application of the Channels servers. Only the scenario that needs it pays for auth."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

from . import consumers  # noqa: E402

PREFIX = "Async" if os.environ.get("BENCH_CONSUMERS") == "async" else ""


def consumer(name: str) -> object:
    return getattr(consumers, PREFIX + name).as_asgi()


application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": URLRouter(
            [
                path("socket/", consumer("Echo")),
                path("socket/sleep", consumer("Sleep")),
                path("socket/orm", consumer("Orm")),
                path("socket/fan", consumer("Fan")),
                path("socket/auth", AuthMiddlewareStack(consumer("Auth"))),
            ]
        ),
    }
)
