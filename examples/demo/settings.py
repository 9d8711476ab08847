"""Settings of the demo: an ordinary Django project, and one more setting for the WebSockets."""

import sys
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = True
SECRET_KEY = "for the demo only: it is public"

INSTALLED_APPS = [
    "django.contrib.staticfiles",
    "django_ws",
    "showcase",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "demo.urls"
WSGI_APPLICATION = "demo.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
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
TIME_ZONE = "UTC"
USE_TZ = True

# The key is what stands in the URL: ws://127.0.0.1:8888/socket/echo
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
}

# The page of Socket.IO.
DJANGO_WS = {"SOCKETIO": True}

# Where the pages look for the sockets: on their own port, but for pages that runserver serves.
DEMO_WS_PORT = "8888" if "runserver" in sys.argv else ""
