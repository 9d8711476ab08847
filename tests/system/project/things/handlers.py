import time

from django.db import connection
from journal import note

from django_ws import WebSocketHandler

from .models import Thing


class Db(WebSocketHandler):
    """ORM work in every hook."""

    def on_connect(self):
        Thing.objects.count()

    def on_message(self, message):
        if message == "write":
            thing = Thing.objects.create(name=self.id)
            self.send(Thing.objects.get(pk=thing.pk).name)
        elif message == "wait":
            Thing.objects.count()
            self.send("waiting")
            self.wait()
        elif message == "backend":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                self.send(str(cursor.fetchone()[0]))
        else:
            Thing.objects.count()
            time.sleep(0.001)
            self.send("read")

    def on_close(self):
        note("db close", "", Thing.objects.count() >= 0)
