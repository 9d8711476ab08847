"""What publishers ask of this gateway: Django processes that own no connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

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
    GroupSend,
    Position,
    Publication,
    Publish,
    PublisherMessage,
    Recheck,
    UseTicket,
)
from .engine.base import Engine, Failure
from .groups import Groups, Member
from .shared import Shared

__all__ = ["Addressee", "Connections", "Requests"]

#: Bytes of a close frame's reason (RFC 6455 §5.5).
MAX_REASON = 123


class Addressee(Member, Protocol):
    """What a request needs of a connection."""

    def give_up(self, code: int, reason: str) -> None: ...


class Connections(Protocol):
    """What requests need of all connections; the methods are those of :class:`.Sessions`."""

    @property
    def groups(self) -> Groups: ...
    def find(self, user: str, key: str, group: str, conn: int, /) -> Sequence[Addressee]: ...
    def over(self, key: str, /) -> None: ...
    def recheck(self, user: str, /) -> int: ...
    def recheck_all(self) -> None: ...


class Requests:
    """Serves requests; :class:`.engine.base.Listener` of the engine that answers them.

    Args:
        max_message: bytes of the largest publication.
        answer: sends an answer to a DEALER.

    Attributes:
        engine: has the publications; set before the first use.
    """

    engine: Engine

    def __init__(
        self,
        sessions: Connections,
        max_message: int,
        answer: Callable[[bytes, GatewayAnswer], None],
    ) -> None:
        self._sessions = sessions
        self._groups = sessions.groups
        self._max_message = max_message
        self._answer = answer

    # ------------------------------------------------------------------ of Django processes

    def publish(self, message: GroupSend) -> None:
        """A handler's publication."""
        self.engine.publish(
            message.group,
            message.opcode,
            message.data,
            event=message.event,
            json=message.json,
            exclude=self._groups.id_of(message.exclude) if message.exclude else message.left_out,
        )

    def serve(self, identity: bytes, message: PublisherMessage) -> None:
        """Do what is asked, and answer if somebody waits for that."""
        answer = partial(self._answered, identity, message.request)
        match message:
            case Publish() if len(message.data) > self._max_message:
                words = f"{len(message.data)} bytes, and {self._max_message} are allowed"
                answer(Failure("too_big", words))
            case Publish() if message.user:
                nowhere = Position(0, "")
                self.engine.spread(message, lambda outcome: answer(_instead(outcome, nowhere)))
            case Publish():
                self.engine.publish(
                    message.group,
                    message.opcode,
                    message.data,
                    event=message.event,
                    json=message.json,
                    exclude=message.exclude,
                    done=answer if message.request else None,
                )
            case Expel():
                if not 1000 <= message.code <= 4999 or len(message.reason.encode()) > MAX_REASON:
                    words = f"no close frame can have the code {message.code} with such a reason"
                    answer(Failure("bad_close", words))
                else:
                    self.engine.spread(message, answer)
            case Recheck():
                self.engine.spread(message, answer)
            case UseTicket():
                self.engine.use_ticket(
                    message.nonce,
                    message.expires,
                    lambda used: answer(_instead(used, int(used is True))),
                )
            case GetHistory():
                self.engine.history(message.group, message.since, message.limit, answer)
            case GetPosition():
                self.engine.position(message.group, answer)
            case GetPresence():
                self.engine.presence(message.group, answer)

    def _answered(self, identity: bytes, request: int, outcome: object) -> None:
        if not request:
            return
        if isinstance(outcome, Failure):
            self._answer(identity, Failed(request, outcome.code, outcome.words))
        else:
            self._answer(identity, Answer(request, msgspec.Raw(encode(outcome))))

    # ------------------------------------------------------------------ of the engine

    def published(self, group: str, publication: Publication, epoch: str, exclude: str) -> None:
        """See :class:`.engine.base.Listener`."""
        self._groups.publish(group, publication, epoch, exclude)

    def missed(self, group: str, position: Position) -> None:
        """See :class:`.engine.base.Listener`."""
        self._groups.missed(group, position)

    def missed_spreads(self) -> None:
        """See :class:`.engine.base.Listener`: somebody may have logged out."""
        self._sessions.recheck_all()

    def spread(self, message: Publish | Expel | Recheck) -> int:
        """See :class:`.engine.base.Listener`."""
        if isinstance(message, Publish):
            shared = Shared(
                message.group, message.opcode, message.data, message.event, message.json
            )
            conn = self._groups.conn_of(message.exclude)
            found = self._sessions.find(message.user, "", "", 0)
            members: list[Member] = [each for each in found if each.conn != conn]
            self._groups.deliveries.add(shared, members)
            return len(members)
        if isinstance(message, Recheck):
            return self._sessions.recheck(message.user)
        if message.over and message.session:
            self._sessions.over(message.session)
        conn = self._groups.conn_of(message.id)
        if message.id and not conn:
            return 0  # another gateway's
        found = self._sessions.find(message.user, message.session, message.group, conn)
        for session in found:
            session.give_up(message.code, message.reason)
        return len(found)


def _instead(outcome: object, value: object) -> object:
    """The value, unless it failed."""
    return outcome if isinstance(outcome, Failure) else value
