import time

from django_ws.base import WebSocketHandler


class Block(WebSocketHandler):
    def on_message(self, message):
        time.sleep(1)
        self.send(message)
