"""From where on a client wants to hear its groups."""

from __future__ import annotations

from collections.abc import Iterable

from ..wire.messages import Position

__all__ = ["Wanted"]


class Wanted:
    """Positions that a page already shows. Each serves once, when its group is joined.

    Args:
        positions: group and position; an empty group stands for any.
    """

    __slots__ = ("_any", "_by_group", "_taken")

    def __init__(self, positions: Iterable[tuple[str, Position]] = ()) -> None:
        self._by_group = dict(positions)
        self._any = self._by_group.pop("", None)
        self._taken: set[str] = set()  # bounded by the groups of the connection

    def take(self, group: str) -> tuple[Position | None, bool]:
        """The position in a group, and whether it may be another group's."""
        position = self._by_group.get(group, self._any)
        if position is None or group in self._taken:
            return None, False
        self._taken.add(group)
        return position, group not in self._by_group

    def again(self) -> None:
        """The groups are joined anew, from the beginning."""
        self._taken.clear()
