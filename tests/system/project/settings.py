"""Settings of the project that the system tests serve; each test adds its own in ``local.json``."""

import json
from pathlib import Path

BASE = Path(__file__).resolve().parent
_local = json.loads((BASE / "local.json").read_text())

SECRET_KEY = "tests"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["django_ws", "things"]
ROOT_URLCONF = "urls"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE / "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DEFAULT_WS_HANDLERS = {
    "default": "handlers.Echo",
    "hooks": "handlers.Hooks",
    "door": "handlers.Door",
    "sleep": "handlers.Sleep",
    "loop": "handlers.Loop",
    "sender": "handlers.Sender",
    "json": "handlers.Json",
    "state": "handlers.State",
    "attributes": "handlers.Attributes",
    "flood": "handlers.Flood",
    "db": "things.handlers.Db",
    "ledger": "handlers.Ledger",
    "again": {"handler": "handlers.Ledger", "on_worker_lost": "redeliver"},
    "carried": {"handler": "handlers.Carried", "on_worker_lost": "redeliver"},
    "poison": {"handler": "handlers.Hooks", "on_worker_lost": "redeliver"},
    "where": "handlers.Where",
    "elsewhere": "handlers.Elsewhere",
    "forks": "handlers.Forks",
    "rooms": "handlers.Rooms",
    "voices": "handlers.Voices",
    "flapping": "handlers.Flapping",
    "day": {"handler": "handlers.Day", "url": "ws/day/<day:day>/"},
    "hang": {"handler": "handlers.Sleep", "hang_timeout": 0.5},
}
DJANGO_WS = {"ALLOW_MISSING_ORIGIN": True}

for _name, _value in _local.items():
    if isinstance(_value, dict):
        globals().setdefault(_name, {}).update(_value)
    else:
        globals()[_name] = _value
