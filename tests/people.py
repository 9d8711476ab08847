"""A proxy of the user model."""

from django.contrib.auth.models import User


class Person(User):
    class Meta:
        proxy = True
        app_label = "django_ws"
