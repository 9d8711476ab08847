from django_ws.base import WebSocketHandler

from showcase.models import Visitor


class Visitors(WebSocketHandler):
    """Tells every open tab how many there are."""

    def on_open(self, message):
        Visitor.objects.get_or_create(connection=self.id)
        self.watch()

    def on_restore(self):
        # A new worker goes on here, if the loop had begun.
        if "count" in self.state:
            self.watch()

    def on_close(self):
        Visitor.objects.filter(connection=self.id).delete()

    def watch(self):
        self.send_count()
        while not self.wait(1):
            self.send_count()

    def send_count(self):
        count = Visitor.objects.count()
        if count != self.state.get("count"):
            self.state["count"] = count
            self.send(str(count))
