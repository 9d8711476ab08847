"""What somebody is called."""

import random


def name_guest(session):
    """Give a guest's browser a name, the same one in all of its tabs."""
    session.setdefault("guest", f"Guest {random.randint(100, 999)}")


def name_of(user, session):
    return user.get_username() if user.is_authenticated else session.get("guest", "Guest")
