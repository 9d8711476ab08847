"""Groups of connections, in this gateway's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..wire.messages import GroupSend
from .shared import Shared

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Hub"]


class Hub:
    """Who is in which group. An empty group does not exist."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[int, Session]] = {}

    def join(self, group: str, session: Session) -> None:
        """Make a connection a member."""
        if session.ended:
            return
        if session.groups is None:
            session.groups = set()
        session.groups.add(group)
        self._groups.setdefault(group, {})[session.conn] = session

    def leave(self, group: str, session: Session) -> None:
        """End a membership."""
        if session.groups is not None:
            session.groups.discard(group)
        members = self._groups.get(group)
        if members is not None:
            members.pop(session.conn, None)
            if not members:
                del self._groups[group]

    def leave_all(self, session: Session) -> None:
        """The connection has ended; its list of groups stays for ``on_close``."""
        groups = session.groups
        if groups:
            for group in tuple(groups):
                self.leave(group, session)
            session.groups = groups

    def publish(self, message: GroupSend) -> None:
        """Send a message to every member but ``exclude``."""
        members = self._groups.get(message.group)
        if not members:
            return
        shared = Shared(message.group, message.opcode, message.data, message.event, message.json)
        exclude = message.exclude
        # A copy: a member that is too slow leaves while this runs.
        for conn, session in list(members.items()):
            if conn != exclude:
                session.send_shared(shared)
