import threading
import time

from django.apps import AppConfig
from django.conf import settings
from django.db import connection


class ThingsConfig(AppConfig):
    name = "things"

    def ready(self):
        if getattr(settings, "QUERY_IN_READY", False):
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        if getattr(settings, "THREAD_IN_READY", False):
            threading.Thread(target=time.sleep, args=(60,), name="poller", daemon=True).start()
