from django_ws.base import WebSocketHandler


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)
