from django_ws.base import WebSocketHandler


class Board(WebSocketHandler):
    """Answers what clients of Socket.IO emit."""

    def on_connect(self):
        self.join("board")

    def on_event(self, event, *args):
        match event, args:
            case "say", (str(text),):
                self.publish("board", {"text": text[:200], "by": self.id[-4:]}, event="said")
                return "published"  # the acknowledgement
            case "reverse", (bytes(data),):
                return data[::-1]
            case _:
                return super().on_event(event, *args)
