"""Who is in which group, in as few bytes as a million memberships call for.

Tables are large while they are small: one for each group of a few members, or for each connection
in a few groups, would take most of the memory. So a few are kept in tuples.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Generic, Protocol, TypeVar

__all__ = ["Memberships", "added", "removed"]

#: Up to so many, looking at each takes no longer than a table does.
FEW = 8


class Connection(Protocol):
    """What is needed of a member."""

    @property
    def conn(self) -> int: ...


M = TypeVar("M", bound=Connection)


class _Crowd(dict[int, M]):
    """More than a few members of a group, and its name, which all of them keep."""

    __slots__ = ("name",)

    def __init__(self, name: str, members: Collection[M]) -> None:
        super().__init__((member.conn, member) for member in members)
        self.name = name


class Memberships(Generic[M]):
    """The members of groups. An empty group does not exist."""

    def __init__(self) -> None:
        self._by_group: dict[str, tuple[M, ...] | _Crowd[M]] = {}

    def __contains__(self, group: str) -> bool:
        return group in self._by_group

    def of(self, group: str) -> Collection[M]:
        """The members of a group, in the order in which they came."""
        found = self._by_group.get(group, ())
        return found if isinstance(found, tuple) else found.values()

    def has(self, group: str, conn: int) -> bool:
        """Whether a connection is in a group."""
        found = self._by_group.get(group, ())
        if isinstance(found, tuple):
            return conn in [each.conn for each in found]
        return conn in found

    def add(self, group: str, member: M) -> str:
        """Let a connection in, unless it is there.

        Returns:
            The group's name, for whoever keeps it: equal strings of many are one then.
        """
        found = self._by_group.get(group, ())
        if isinstance(found, tuple):
            if self.has(group, member.conn):
                return group
            if len(found) < FEW:
                self._by_group[group] = (*found, member)
                return group
            found = self._by_group[group] = _Crowd(group, found)
        found[member.conn] = member
        return found.name

    def remove(self, group: str, conn: int) -> bool:
        """Let a connection go. Returns whether it was there."""
        found = self._by_group.get(group, ())
        if isinstance(found, tuple):
            left = tuple(each for each in found if each.conn != conn)
            if len(left) == len(found):
                return False
            self._by_group[group] = found = left
        elif found.pop(conn, None) is None:
            return False
        if not found:
            del self._by_group[group]
        return True


def added(groups: Collection[str] | None, name: str) -> Collection[str]:
    """The groups of a connection, with one more."""
    if isinstance(groups, dict):
        groups[name] = None
        return groups
    if groups is None:
        return (name,)
    if name in groups:
        return groups
    more = (*groups, name)
    return more if len(more) <= FEW else dict.fromkeys(more)


def removed(groups: Collection[str] | None, name: str) -> Collection[str] | None:
    """The groups of a connection, without one."""
    if isinstance(groups, dict):
        groups.pop(name, None)
        return groups
    return None if groups is None else tuple(each for each in groups if each != name)
