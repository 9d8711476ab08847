"""Settings of the demo: an ordinary Django project, and one more setting for the WebSockets."""

import sys
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = True
SECRET_KEY = "for the demo only: it is public"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_ws",
    "showcase",
    "chat",
    "orders",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "demo.urls"
WSGI_APPLICATION = "demo.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "db.sqlite3",
        # Many threads write: queue for the lock at the start of a transaction, and read meanwhile.
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STATIC_URL = "static/"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "chat:members"
LOGOUT_REDIRECT_URL = "showcase:front"
TIME_ZONE = "UTC"
USE_TZ = True

# The key is what stands in the URL, ws://127.0.0.1:8888/socket/echo, unless there is one.
DEFAULT_WS_HANDLERS = {
    "default": "showcase.ws_handlers.counter.RandomCounter",
    "block": "showcase.ws_handlers.block.Block",
    "edit": "showcase.ws_handlers.edit.Edit",
    # If the worker is killed, another one gets what it had not handled.
    "echo": {"handler": "showcase.ws_handlers.echo.Echo", "on_worker_lost": "redeliver"},
    "status": {"handler": "showcase.ws_handlers.status.Status", "on_worker_lost": "redeliver"},
    "visitors": {
        "handler": "showcase.ws_handlers.visitors.Visitors",
        "on_worker_lost": "redeliver",
    },
    "board": "showcase.ws_handlers.board.Board",
    "chat": {"handler": "chat.ws_handlers.Chat", "url": "ws/chat/<slug:room>/"},
    # Closed with 4401 after the handshake, so that the page can say why.
    "members": {"handler": "chat.ws_handlers.Members", "url": "ws/members/", "refuse": "close"},
    "orders": {"handler": "orders.ws_handlers.Orders", "url": "ws/orders/"},
    "orders_html": {"handler": "orders.ws_handlers.OrdersHtml", "url": "ws/orders/html/"},
}

ROOM = {"history_size": 100, "history_ttl": 300, "presence": True, "join_leave": "user"}
DJANGO_WS = {
    "SOCKETIO": True,  # for the page of Socket.IO
    "GROUPS": {
        "chat-*": ROOM,
        "members": ROOM,
        "orders*": {"history_size": 100, "history_ttl": 300},
    },
}

# Where the pages look for the sockets: on their own port, but for pages that runserver serves.
DEMO_WS_PORT = ""
if "runserver" in sys.argv:
    DEMO_WS_PORT = "8888"
    DJANGO_WS["PUBLIC_URL"] = "ws://127.0.0.1:8888"
