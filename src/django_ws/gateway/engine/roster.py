"""Who is in the groups that keep presence."""

from __future__ import annotations

from collections import Counter

import msgspec

from ...wire.messages import Present

__all__ = ["Roster"]


class Roster:
    """Connections by group, in the order in which they came. An empty group does not exist."""

    def __init__(self) -> None:
        self._members: dict[str, dict[str, Present]] = {}
        self._users: dict[str, Counter[str]] = {}

    def enter(self, group: str, member: Present) -> tuple[bool, bool]:
        """Note a connection, or its new ``info``.

        Returns:
            Whether it is new here, and whether it is the first one of its user.
        """
        members = self._members.setdefault(group, {})
        known = members.get(member.id)
        if known is not None:
            members[member.id] = msgspec.structs.replace(known, info=member.info)
            return False, False
        members[member.id] = member
        return True, self._count(group, member.user, 1) == 1

    def leave(self, group: str, id: str) -> tuple[Present | None, bool]:
        """Forget a connection.

        Returns:
            What was known of it, and whether it was the last one of its user.
        """
        members = self._members.get(group, {})
        member = members.pop(id, None)
        if member is None:
            return None, False
        last = self._count(group, member.user, -1) == 0
        if not members:
            del self._members[group]
        return member, last

    def present(self, group: str) -> list[Present]:
        """Who is there."""
        return list(self._members.get(group, {}).values())

    def _count(self, group: str, user: str, change: int) -> int:
        """Connections of a user, counted anew. Of strangers each is somebody of its own."""
        if not user:
            return 1 if change > 0 else 0
        users = self._users.setdefault(group, Counter())
        users[user] = count = users[user] + change
        if not count:
            del users[user]
            if not users:
                del self._users[group]
        return count
