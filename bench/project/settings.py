"""Settings of the benchmarks' project.

The environment says what the runner wants:

``BENCH_DIR``           where the database and the sockets are
``BENCH_STACK``         ``django_ws`` or ``channels``: each gets only its own app
``BENCH_LAYER``         ``none``, ``redis`` or ``pubsub``: the channel layer
``BENCH_REDIS``         the server of the channel layer, or the engine
``BENCH_ENGINE``        if gateways are to share that
``BENCH_DATABASE``      ``sqlite`` or ``postgres``
``BENCH_POSTGRES``      the directory of PostgreSQL's socket
``BENCH_SOCKETIO``      if clients of Socket.IO are to come
``BENCH_MESSAGE_RATE``  for scenarios in which a client is meant to exceed the limit
"""

import os
from pathlib import Path

DIRECTORY = Path(os.environ["BENCH_DIR"])
STACK = os.environ.get("BENCH_STACK", "django_ws")

SECRET_KEY = "for benchmarks only"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    STACK,
]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DIRECTORY / "db.sqlite3"},
}
if os.environ.get("BENCH_DATABASE") == "postgres":
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": "bench",
        "HOST": os.environ["BENCH_POSTGRES"],
        # With Django's default of 0 each message would open a connection, and the scenario would
        # measure that instead of the query. No measurement lasts as long as this.
        "CONN_MAX_AGE": 60,
    }
ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DEFAULT_WS_HANDLERS = {
    "default": "project.handlers.Echo",
    "sleep": "project.handlers.Sleep",
    "orm": "project.handlers.Orm",
    "fan": "project.handlers.Fan",
    "auth": "project.handlers.Auth",
    "kept": "project.handlers.Kept",
    "members": "project.handlers.Members",
}
SOCKETIO = "BENCH_SOCKETIO" in os.environ
if SOCKETIO:
    DEFAULT_WS_HANDLERS["default"] = "project.handlers.Events"
DJANGO_WS = {
    "SOCKETIO": SOCKETIO,
    "PUSH_SOCKET": f"ipc://{DIRECTORY}/push",
    "SUB_SOCKET": f"ipc://{DIRECTORY}/sub",
    # All clients have one address here. The limit is counted all the same.
    "MAX_CONNECTIONS_PER_IP": 20_000,
    # Raised, not switched off, where a scenario has one client send more than 1,000 messages/s.
    "MESSAGE_RATE": float(os.environ.get("BENCH_MESSAGE_RATE", "1000")),
    "PROJECT": "bench",
    **({"ENGINE": os.environ["BENCH_REDIS"]} if "BENCH_ENGINE" in os.environ else {}),
    "GROUPS": {"kept": {"history_size": 100, "history_ttl": 300}},
}

_LAYERS = {
    "redis": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}
if (layer := os.environ.get("BENCH_LAYER", "none")) != "none":
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": _LAYERS[layer],
            "CONFIG": {"hosts": [os.environ["BENCH_REDIS"]]},
        },
    }
