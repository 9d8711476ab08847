from dataclasses import asdict

from django_ws import presence
from django_ws.auth import login_required
from django_ws.base import JsonWebSocketHandler

from .models import Message
from .people import name_of


class Chat(JsonWebSocketHandler):
    """A room: what is said, who is there, who is writing."""

    def on_connect(self):
        self.group = self.group_name()
        self.name = name_of(self.user, self.request.session)
        self.info = {"name": self.name}
        # What came after the page was rendered comes first: the page has said where it begins.
        self.join(self.group)
        # Nothing is kept of this group.
        self.join(f"writing-{self.group}")
        self.emit("people", [asdict(who) for who in presence(self.group)], self.name)

    def on_message(self, message):
        if text := message.get("text", "").strip():
            # The model is @live: this publishes it.
            Message.objects.create(group=self.group, author=self.name, text=text[:500])
        else:
            self.publish(f"writing-{self.group}", self.name, event="writing")

    def group_name(self):
        return f"chat-{self.kwargs['room']}"


@login_required
class Members(Chat):
    """A room for those who are logged in."""

    def group_name(self):
        return "members"
