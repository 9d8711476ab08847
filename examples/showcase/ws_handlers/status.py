import os

from django.core import signing
from django_ws.base import JsonWebSocketHandler


class Status(JsonWebSocketHandler):
    """Answers each number with the process that handled it."""

    def on_message(self, message):
        pid = os.getpid()
        # Signed, so that the view which kills the process kills no other one.
        self.send_json({"number": message, "pid": pid, "token": signing.dumps(pid, salt="worker")})
