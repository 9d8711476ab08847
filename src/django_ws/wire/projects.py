"""Which processes belong together."""

from __future__ import annotations

__all__ = ["foreign_home"]


def foreign_home(theirs: str, ours: str) -> str:
    """What is wrong between two projects of one name, in words."""

    def told(home: str) -> str:
        directory, _, module = home.rpartition(" ")
        return f"{directory} (settings {module!r})"

    return (
        f"it is of the project in {told(theirs)}, and this one of that in {told(ours)}; give each "
        'sockets of its own, or, if they are the same project, both the same DJANGO_WS["PROJECT"]'
    )
