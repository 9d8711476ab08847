"""What publishers ask of this gateway: Django processes that own no connection."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..wire.codec import encode
from ..wire.messages import (
    Answer,
    Expel,
    Failed,
    GatewayAnswer,
    GetHistory,
    GetPosition,
    GetPresence,
    Position,
    Publish,
    PublisherMessage,
)
from .session import Session
from .sessions import Sessions
from .shared import Shared

__all__ = ["LocalRequests"]

#: Bytes of a close frame's reason (RFC 6455 §5.5).
MAX_REASON = 123


class LocalRequests:
    """Serves requests from this gateway's memory alone, without any history.

    Args:
        incarnation: this gateway's, with which ids of its connections begin.
        max_message: bytes of the largest publication.
        answer: sends an answer to a DEALER.
    """

    def __init__(
        self,
        sessions: Sessions,
        incarnation: str,
        max_message: int,
        answer: Callable[[bytes, GatewayAnswer], None],
    ) -> None:
        self._sessions = sessions
        self._incarnation = incarnation
        self._max_message = max_message
        self._answer = answer

    def serve(self, identity: bytes, message: PublisherMessage) -> None:
        """Do what is asked, and answer if somebody waits for that."""
        match message:
            case Publish():
                self._publish(identity, message)
            case Expel():
                self._expel(identity, message)
            case GetHistory() | GetPosition() | GetPresence():
                self._failed(identity, message.request, "no_history", "no group has a history here")

    def _publish(self, identity: bytes, publish: Publish) -> None:
        if len(publish.data) > self._max_message:
            words = f"{len(publish.data)} bytes, and {self._max_message} are allowed"
            self._failed(identity, publish.request, "too_big", words)
            return
        self._sessions.groups.publish(
            Shared(publish.group, publish.opcode, publish.data, publish.event, publish.json),
            self._conn(publish.exclude),
        )
        self._succeeded(identity, publish.request, Position(0, ""))

    def _expel(self, identity: bytes, expel: Expel) -> None:
        if not 1000 <= expel.code <= 4999 or len(expel.reason.encode()) > MAX_REASON:
            words = f"no close frame can have the code {expel.code} with such a reason"
            self._failed(identity, expel.request, "bad_close", words)
            return
        conn = self._conn(expel.id)
        found: list[Session] = []
        if conn or not expel.id:  # else it is another gateway's
            found = self._sessions.find(expel.user, expel.session, expel.group, conn)
        for session in found:
            session.give_up(expel.code, expel.reason)
        self._succeeded(identity, expel.request, len(found))

    def _conn(self, id: str) -> int:
        """The number in a connection's id; 0 if it is none of this gateway."""
        gateway, _, number = id.rpartition("-")
        return int(number) if gateway == self._incarnation and number.isdecimal() else 0

    def _succeeded(self, identity: bytes, request: int, value: object) -> None:
        if request:
            self._answer(identity, Answer(request, msgspec.Raw(encode(value))))

    def _failed(self, identity: bytes, request: int, code: str, words: str) -> None:
        if request:
            self._answer(identity, Failed(request, code, words))
