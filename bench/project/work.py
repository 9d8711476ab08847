"""What handlers do in the scenarios that block; the same for every server."""

import time

from django.contrib.auth import get_user_model


def block() -> None:
    """Ten milliseconds, as one query to a database on another machine takes."""
    time.sleep(0.01)


def query() -> str:
    """One query."""
    user = get_user_model().objects.get(pk=1)
    return str(user.get_username())
