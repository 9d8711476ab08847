"""The scenarios as django-ws handlers."""

from django_ws import WebSocketHandler

from .work import block, query


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


class Sleep(WebSocketHandler):
    def on_message(self, message):
        block()
        self.send(message)


class Orm(WebSocketHandler):
    def on_message(self, message):
        query()
        self.send(message)


class Fan(WebSocketHandler):
    def on_connect(self):
        self.join("fan")

    def on_message(self, message):
        self.publish("fan", message)


class Kept(WebSocketHandler):
    """As Fan, with a history: see GROUPS."""

    def on_connect(self):
        self.join("kept")

    def on_message(self, message):
        self.publish("kept", message)


class Members(WebSocketHandler):
    """Joins groups: the message is their common beginning, and how many."""

    def on_message(self, message):
        name, number = message.split()
        for each in range(int(number)):
            self.join(f"{name}-{each}")
        self.send("done")


class Auth(WebSocketHandler):
    def on_connect(self):
        return self.user.is_authenticated

    def on_message(self, message):
        self.send(message)


class Events(WebSocketHandler):
    """The same for clients of Socket.IO, which speak of events."""

    def on_event(self, event, message):
        if event == "fan":
            self.publish("fan", message, event="echo")
            return
        if event == "sleep":
            block()
        elif event == "join":
            self.join("fan")
        self.emit("echo", message)
