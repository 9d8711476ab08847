"""The messages of the wire, version 2.

Every message is a tagged MessagePack array. A field may be added at the end of a message, with a
default, without a new wire version: an older reader ignores it, a newer one fills it in. So may a
message with a new tag: a reader of version 2 skips what it does not know (:class:`Unknown`). A
changed meaning needs ``WIRE_VERSION + 1`` and a reader for the version before.

Sequence numbers count the *events* of one connection, from 1 (its :class:`Connect`) on without a
gap. Whatever is said about a connection names it by ``conn``, a number that the gateway never uses
twice in its life.
"""

from __future__ import annotations

import enum

import msgspec

__all__ = [
    "BINARY",
    "READABLE",
    "TEXT",
    "WIRE_VERSION",
    "Accept",
    "Answer",
    "Call",
    "Close",
    "Confirm",
    "Connect",
    "Disconnect",
    "Emit",
    "Event",
    "Expel",
    "Failed",
    "Fenced",
    "GatewayAnswer",
    "GetHistory",
    "GetPosition",
    "GetPresence",
    "GroupSend",
    "Handshake",
    "Heartbeat",
    "Hello",
    "Identity",
    "Info",
    "Join",
    "Joined",
    "Kind",
    "Leave",
    "Message",
    "NamespaceInfo",
    "Position",
    "Present",
    "Publication",
    "Publish",
    "PublisherMessage",
    "Recent",
    "Recheck",
    "Refuse",
    "Release",
    "Released",
    "Reply",
    "Restore",
    "Resume",
    "Resumed",
    "Retiring",
    "Revalidate",
    "Role",
    "SaveSnapshot",
    "Send",
    "Sequenced",
    "Snapshot",
    "Unknown",
    "UseTicket",
    "Welcome",
    "WorkerMessage",
    "size_of",
]

WIRE_VERSION = 2

#: Versions that can be read. Version 1 has neither roles nor :class:`Identity`.
READABLE = frozenset({1, 2})

#: Opcodes of data frames (RFC 6455 §5.2), used for whole messages.
TEXT = 1
BINARY = 2


class Role(enum.IntEnum):
    """What the sender of a batch is. Version 1 does not say: there the link tells."""

    UNNAMED = 0
    GATEWAY = 1
    WORKER = 2
    PUBLISHER = 3


class Unknown(msgspec.Struct, frozen=True):
    """Stands for a message that only a newer peer knows. To be counted and skipped."""

    tag: int


class Handshake(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The upgrade request as the gateway got it. Kept encoded; decoded when somebody asks.

    Attributes:
        namespace: which handler the URL chose.
        kwargs: the other named groups of ``--websocket-url``; unmatched ones are left out.
        scheme: ``http`` or ``https``, as the gateway was spoken to.
        path: decoded path, without the query.
        query: the raw query string.
        headers: names in lower case, in the order they came; values decoded as Latin-1.
        client: the peer's address and port.
        server: the address and port it reached.
        subprotocols: what ``Sec-WebSocket-Protocol`` offers, in the client's order.
        time: seconds since the epoch when the request came.
        auth: JSON that the client sent with its first envelope; empty for none.
        kind: of client: ``plain``, or what its envelopes are called.
    """

    namespace: str
    kwargs: dict[str, str]
    scheme: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    client: tuple[str, int]
    server: tuple[str, int]
    subprotocols: list[str]
    time: float
    auth: bytes = b""
    kind: str = "plain"


class Snapshot(msgspec.Struct, array_like=True, gc=False):
    """What a new instance needs in order to continue a connection elsewhere.

    Attributes:
        state: ``handler.state``, encoded as MessagePack; empty bytes for an empty dict. With plain
            attributes of the handler: an array of the two, each a map. Opaque to gateways.
        user: ``backend path + NUL + primary key`` of the user already loaded; empty if none was.
        movable: False if the instance has something that only its own process has.
    """

    state: bytes = b""
    user: str = ""
    movable: bool = True


class Position(msgspec.Struct, array_like=True, frozen=True):
    """How far a group has come.

    Attributes:
        offset: of its last publication; 0 before the first one.
        epoch: names the memory that counts the offsets: another one has other offsets.
    """

    offset: int
    epoch: str


# ---------------------------------------------------------------- events: gateway -> worker


class Welcome(msgspec.Struct, array_like=True, tag=1):
    """First message to a worker: this gateway has connected to it.

    Attributes:
        gateway: the gateway's incarnation.
        link: what the :class:`Hello` said, so that the worker knows where to reply.
        max_pending: bytes a worker may have sent to one connection without a :class:`Confirm`.
        max_message: bytes of the largest message that the gateway writes to a browser.
        home: as in :class:`Hello`.
    """

    gateway: str
    link: int
    max_pending: int
    max_message: int
    home: str = ""


class Connect(msgspec.Struct, array_like=True, tag=2, gc=False):
    """A browser asks to connect; seq is 1. Answered by :class:`Accept` or :class:`Refuse`."""

    conn: int
    seq: int
    namespace: str
    handshake: bytes


class Message(msgspec.Struct, array_like=True, tag=3, gc=False):
    """A whole message from the browser; the payload of a text message is valid UTF-8."""

    conn: int
    seq: int
    opcode: int
    data: bytes


class Disconnect(msgspec.Struct, array_like=True, tag=4, gc=False):
    """The last event of a connection, however it ended.

    Attributes:
        code: RFC 6455 §7.1.5, so 1005 for a close frame without a code, 1006 for none at all.
        reason: the peer's reason, or what the gateway closed it with.
    """

    conn: int
    seq: int
    code: int
    reason: str


class Confirm(msgspec.Struct, array_like=True, tag=5, gc=False):
    """Returns ``size`` bytes of the connection's send window. Not an event: it has no seq."""

    conn: int
    size: int


class Release(msgspec.Struct, array_like=True, tag=6, gc=False):
    """Asks a retiring worker to give a connection back, once it has handled what came before.

    With conn 0 it answers :class:`Retiring`: no connection comes that the worker does not know yet.
    """

    conn: int


class Restore(msgspec.Struct, array_like=True, tag=7, gc=False):
    """Continues a connection that another worker had accepted.

    Attributes:
        seq: the last event handled; the next one has seq + 1. A message is the connection's first
            if ``seq`` is 1.
        subprotocol: what was agreed; empty for none.
        groups: the groups it is a member of.
        window: bytes of the send window that are used up.
        ended: only its :class:`Disconnect` follows, so ``on_restore`` does not run.
        info: as of :class:`Info`.
        user, session: as of :class:`Accept`, or of the last :class:`Identity`.
    """

    conn: int
    seq: int
    namespace: str
    handshake: bytes
    subprotocol: str
    groups: list[str]
    snapshot: Snapshot
    window: int
    ended: bool
    info: bytes = b""
    user: str = ""
    session: str = ""


class Revalidate(msgspec.Struct, array_like=True, tag=8, gc=False):
    """The user of a connection may have changed: look whether it may stay. Has no seq."""

    conn: int


class Joined(msgspec.Struct, array_like=True, tag=9, gc=False):
    """The answer to a :class:`Join` with a ``request``. Not an event: it has no seq.

    Attributes:
        offset, epoch: how far the group had come when the membership began.
    """

    conn: int
    request: int
    offset: int
    epoch: str


class Kind(enum.IntEnum):
    """What a :class:`Call` is."""

    EVENT = 1
    REQUEST = 2


class Call(msgspec.Struct, array_like=True, tag=10, gc=False):
    """What a client with envelopes says that is no plain message.

    Attributes:
        kind: of :class:`Kind`.
        name: of the event; empty for a request.
        data: JSON: the event's arguments as an array, or the request's value.
        attachments: bytes that stand in ``data`` as ``{"_placeholder": true, "num": index}``.
        answer: a :class:`Reply` with this seq is waited for.
    """

    conn: int
    seq: int
    kind: int
    name: str
    data: bytes
    attachments: list[bytes] = []
    answer: bool = False


class Resume(msgspec.Struct, array_like=True, tag=11, gc=False):
    """The browser is back by another connection: may it have the session?

    Not an event: it has no seq, and takes its turn behind what came before. Answered by
    :class:`Resumed`. Only for workers whose :class:`Hello` says ``resumes``.

    Attributes:
        request: counts these questions of a gateway.
        handshake: of the new connection.
        user: whose session it is, as in :class:`Accept`.
    """

    conn: int
    request: int
    handshake: bytes
    user: str


#: Events that have a sequence number and are acknowledged by it.
Sequenced = Connect | Message | Disconnect | Call

Event = Welcome | Sequenced | Confirm | Release | Restore | Revalidate | Joined | Resume


# ---------------------------------------------------------------- replies: worker -> gateway


class NamespaceInfo(msgspec.Struct, array_like=True, frozen=True):
    """What a gateway must know of a namespace.

    Attributes:
        on_worker_lost: ``"close"`` or ``"redeliver"``.
        history_size: messages kept per group.
        history_ttl: seconds they are kept.
    """

    on_worker_lost: str = "close"
    history_size: int = 0
    history_ttl: float = 0.0


class Hello(msgspec.Struct, array_like=True, tag=1):
    """A worker announces itself, again with every gateway that (re)appears.

    Attributes:
        endpoint: where its PULL socket can be reached.
        link: number of the replies link that this came on, returned in :class:`Welcome`. It
            changes whenever that link was down.
        pid: for people and the supervisor.
        started: seconds since the epoch; the newest ready worker's namespaces are in force.
        namespaces: by name.
        fingerprints: a digest of each setting that gateways work with, by name; an empty one for
            what a flag decides, none at all for a worker that does not tell.
        wire: the newest version that the worker speaks. ``Hello`` itself travels in a batch of
            version 1, which every gateway reads; the gateway answers in the newest that both
            know, and what follows from either side has that.
        resumes: it knows :class:`Resume`.
        home: base directory and settings module, between them a space; empty if the project has
            a name of its own, or the worker does not tell. Both ends must have the same.
    """

    endpoint: str
    link: int
    pid: int
    started: float
    namespaces: dict[str, NamespaceInfo]
    fingerprints: dict[str, str] = {}
    wire: int = 1
    home: str = ""
    resumes: bool = False


class Heartbeat(msgspec.Struct, array_like=True, tag=2, gc=False):
    """The worker's Python code still runs.

    Attributes:
        accepting: False while it has no thread or process left for a new connection.
    """

    accepting: bool


class Accept(msgspec.Struct, array_like=True, tag=3, gc=False):
    """``on_connect`` said yes.

    Attributes:
        subprotocol: one of those offered; empty for none.
        user: primary key of the session's user, as text; empty for nobody.
        session: digest of the session's key; empty without a session.
    """

    conn: int
    subprotocol: str
    user: str = ""
    session: str = ""


class Refuse(msgspec.Struct, array_like=True, tag=4, gc=False):
    """``on_connect`` said no, with an HTTP status (400 to 599) and reason."""

    conn: int
    status: int
    reason: str


class Send(msgspec.Struct, array_like=True, tag=5, gc=False):
    """A message for the browser."""

    conn: int
    opcode: int
    data: bytes


class Close(msgspec.Struct, array_like=True, tag=6, gc=False):
    """Close the connection, once everything sent before is written."""

    conn: int
    code: int
    reason: str


class Join(msgspec.Struct, array_like=True, tag=7, gc=False):
    """The connection becomes a member of a group; before it is accepted, too.

    Attributes:
        request: other than 0 to be answered by :class:`Joined`.
        since: what was published after it comes first.
    """

    conn: int
    group: str
    request: int = 0
    since: Position | None = None


class Leave(msgspec.Struct, array_like=True, tag=8, gc=False):
    """The connection leaves a group."""

    conn: int
    group: str


class GroupSend(msgspec.Struct, array_like=True, tag=9, gc=False):
    """A publication by a handler: a message for every member of a group.

    Attributes:
        exclude: the connection that does not get it; 0 for none.
        event: name of the event; empty for a plain message.
        json: ``data`` is the JSON of a value that is no ``str``.
        left_out: id of a connection at another gateway that does not get it; empty for none.
    """

    group: str
    opcode: int
    data: bytes
    exclude: int = 0
    event: str = ""
    json: bool = False
    left_out: str = ""


class SaveSnapshot(msgspec.Struct, array_like=True, tag=10, gc=False):
    """The snapshot that goes with the acknowledgement in the same batch."""

    conn: int
    snapshot: Snapshot


class Retiring(msgspec.Struct, array_like=True, tag=11):
    """The worker takes nothing new: move its connections, each as soon as nothing is in flight."""


class Released(msgspec.Struct, array_like=True, tag=12, gc=False):
    """The last word of a worker about a connection that it gave back."""

    conn: int
    snapshot: Snapshot


class Identity(msgspec.Struct, array_like=True, tag=13, gc=False):
    """Whose connection it is, where that has changed since :class:`Accept`; fields as there."""

    conn: int
    user: str
    session: str


class Info(msgspec.Struct, array_like=True, tag=14, gc=False):
    """What presence shows of the connection.

    Attributes:
        info: JSON.
    """

    conn: int
    info: bytes


class Emit(msgspec.Struct, array_like=True, tag=15, gc=False):
    """A named event for the browser; ``data`` and ``attachments`` as in :class:`Call`."""

    conn: int
    name: str
    data: bytes
    attachments: list[bytes] = []


class Reply(msgspec.Struct, array_like=True, tag=16, gc=False):
    """The answer to a :class:`Call`.

    Attributes:
        seq: of the call.
        code: 0 for success, else why not (4400 and the like).
        data: JSON: a request's value, or an acknowledgement's arguments as an array; of a failure
            the words, as plain text.
    """

    conn: int
    seq: int
    code: int
    data: bytes
    attachments: list[bytes] = []


class Resumed(msgspec.Struct, array_like=True, tag=17, gc=False):
    """The answer to a :class:`Resume`.

    Attributes:
        request: of the question.
        status: 0 for yes; else why not, as in :class:`Refuse`.
        over: the session ends with this refusal; else another client may still have it.
    """

    conn: int
    request: int
    status: int
    reason: str
    over: bool


#: What a worker says.
WorkerMessage = (
    Hello
    | Heartbeat
    | Accept
    | Refuse
    | Send
    | Close
    | Join
    | Leave
    | GroupSend
    | SaveSnapshot
    | Retiring
    | Released
    | Identity
    | Info
    | Emit
    | Reply
    | Resumed
)


# ---------------------------------------------------------------- requests: publisher -> gateway


class Publish(msgspec.Struct, array_like=True, tag=32, gc=False):
    """A publication from any Django process. Answered by :class:`Answer` with its position.

    Attributes:
        request: number of the request, to be found in its answer; 0 if nobody waits for one.
        exclude: id of the connection that does not get it; empty for none.
        event, json: as in :class:`GroupSend`.
        user: as in :class:`Accept`: every connection of that user gets it, and ``group`` is empty.
    """

    request: int
    group: str
    opcode: int
    data: bytes
    exclude: str = ""
    event: str = ""
    json: bool = False
    user: str = ""


class Expel(msgspec.Struct, array_like=True, tag=33, gc=False):
    """Closes every connection to which all of what is not empty applies; answered by their number.

    Attributes:
        user, session: as in :class:`Accept`.
        group: of which it is a member.
        id: the connection's.
        over: the session has ended: whoever is found to be of it in a moment is closed, too.
    """

    request: int
    user: str
    session: str
    group: str
    id: str
    code: int
    reason: str
    over: bool = False


class GetHistory(msgspec.Struct, array_like=True, tag=34, gc=False):
    """Asks for the publications of a group after ``since``, or for the newest ones without it.

    Attributes:
        limit: how many at most.
    """

    request: int
    group: str
    since: Position | None
    limit: int


class GetPosition(msgspec.Struct, array_like=True, tag=35, gc=False):
    """Asks how far a group has come."""

    request: int
    group: str


class GetPresence(msgspec.Struct, array_like=True, tag=36, gc=False):
    """Asks who is in a group."""

    request: int
    group: str


class UseTicket(msgspec.Struct, array_like=True, tag=37, gc=False):
    """Uses up a ticket; answered by 1, or by 0 if it is not good (any more).

    Attributes:
        nonce: names the ticket.
        expires: seconds since the epoch, after which nobody takes it.
    """

    request: int
    nonce: str
    expires: float


class Recheck(msgspec.Struct, array_like=True, tag=38, gc=False):
    """A user may have changed: workers are to look whether its connections may stay.

    Answered by the number of connections.

    Attributes:
        user: as in :class:`Accept`.
    """

    request: int
    user: str


class Publication(msgspec.Struct, array_like=True, frozen=True):
    """What a group's history has of a publication.

    Attributes:
        offset: its number; 0 in a group without history.
        opcode, data, event, json: as published.
        time: seconds since the epoch at which it was published.
    """

    offset: int
    opcode: int
    data: bytes
    event: str
    json: bool
    time: float


class Present(msgspec.Struct, array_like=True, frozen=True):
    """One connection in a group.

    Attributes:
        since: seconds since the epoch at which it joined.
        info: JSON that its handler has given.
    """

    id: str
    user: str
    since: float
    info: bytes


class Recent(msgspec.Struct, array_like=True, frozen=True):
    """The answer to :class:`GetHistory`.

    Attributes:
        complete: nothing is missing between ``since`` and the first publication.
    """

    publications: list[Publication]
    position: Position
    complete: bool


#: What a publisher says. Each is answered on the DEALER that it came on.
PublisherMessage = Publish | Expel | GetHistory | GetPosition | GetPresence | UseTicket | Recheck


# ---------------------------------------------------------------- answers on the replies link


class Fenced(msgspec.Struct, array_like=True, tag=1):
    """This incarnation counts as dead, or does not belong here, and must end."""

    incarnation: str
    reason: str


class Answer(msgspec.Struct, array_like=True, tag=2, gc=False):
    """A request was served.

    Attributes:
        value: encoded; :class:`Position` for :class:`Publish` and :class:`GetPosition`,
            :class:`Recent` for :class:`GetHistory`, a list of :class:`Present` for
            :class:`GetPresence`, a number for :class:`Expel`,
            :class:`UseTicket` and :class:`Recheck`.
    """

    request: int
    value: msgspec.Raw


class Failed(msgspec.Struct, array_like=True, tag=3, gc=False):
    """A request was not served.

    Attributes:
        code: one word for programs.
        words: for people.
    """

    request: int
    code: str
    words: str


GatewayAnswer = Fenced | Answer | Failed


def size_of(message: Call | Emit | Reply) -> int:
    """Bytes by which a message counts in the windows of its connection."""
    size = len(message.data)
    if message.attachments:
        size += sum(map(len, message.attachments))
    return size
