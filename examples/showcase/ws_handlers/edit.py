from django_ws.base import WebSocketHandler


class Edit(WebSocketHandler):
    def on_message(self, message):
        self.send("Change this text and save the file.")
