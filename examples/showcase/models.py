from django.db import models


class Visitor(models.Model):
    """An open tab of the page "Visitors"."""

    connection = models.CharField(max_length=64, unique=True)
    since = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.connection
