from django.db import models
from django_ws.live import DELETED, live


@live("{group}")
class Message(models.Model):
    """What somebody said. Whoever saves or deletes one, also in the admin, its group hears it."""

    group = models.CharField(max_length=80, db_index=True)
    author = models.CharField(max_length=150)
    text = models.CharField(max_length=500)
    time = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.author}: {self.text}"

    def live_message(self, change):
        if change == DELETED:
            return {"id": self.pk, "deleted": True}
        return {"id": self.pk, "author": self.author, "text": self.text}
