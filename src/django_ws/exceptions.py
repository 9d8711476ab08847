"""Everything that django-ws raises.

* :exc:`DjangoWSError`

  * :exc:`ConnectionClosed`
  * :exc:`Reject`
  * :exc:`MessageTooBig`
  * :exc:`SendTimeout`
  * :exc:`SessionReadOnly`
  * :exc:`RequestError`
  * :exc:`PublishError`

    * :exc:`GatewayUnavailable`
    * :exc:`PublishTimeout`
"""

from __future__ import annotations

from operator import index

__all__ = [
    "ConnectionClosed",
    "DjangoWSError",
    "GatewayUnavailable",
    "MessageTooBig",
    "PublishError",
    "PublishTimeout",
    "Reject",
    "RequestError",
    "SendTimeout",
    "SessionReadOnly",
]


def plain(text: object) -> str:
    """A ``str`` that goes over the wire, of a lazy one or a ``SafeString``."""
    # str.__str__: SafeString's own __str__ returns a SafeString.
    return str.__str__(text if isinstance(text, str) else str(text))


class DjangoWSError(Exception):
    """Root of the exceptions of django-ws."""


class ConnectionClosed(DjangoWSError):
    """``send`` on a connection that is closed. Left alone in a hook, it ends the hook quietly.

    Attributes:
        code: the close code; 1006 if it is not known (RFC 6455 §7.1.5).
        reason: the close reason.
    """

    def __init__(self, code: int = 1006, reason: str = "") -> None:
        super().__init__(f"the connection is closed ({code}{f': {reason}' if reason else ''})")
        self.code = code
        self.reason = reason


class Reject(DjangoWSError):
    """Raised in ``on_connect`` to refuse the handshake with a status of one's choice.

    Args:
        status: HTTP status, 400 to 599.
        reason: shown to the client after the status; without line breaks.

    Raises:
        TypeError: The status is no ``int``.
        ValueError: The status is not an error's, or the reason has control characters.
    """

    def __init__(self, status: int = 403, reason: str = "") -> None:
        status, reason = index(status), plain(reason)
        if not 400 <= status <= 599:
            raise ValueError(f"a refusal needs an HTTP status from 400 to 599, not {status}")
        if any(ord(char) < 32 or ord(char) == 127 for char in reason):
            raise ValueError("the reason of a refusal has control characters")
        reason.encode()  # UnicodeEncodeError, a ValueError, for half a surrogate pair
        super().__init__(f"{status} {reason}".rstrip())
        self.status = status
        self.reason = reason


class RequestError(DjangoWSError):
    """Raised in ``on_request`` to answer that it cannot be done; the connection lives.

    Args:
        code: a number for programs; those of django-ws are 4400 (nobody answers such requests) and
            4500 (the hook failed).
        message: words for people.

    Raises:
        TypeError: The code is no ``int``.
    """

    def __init__(self, code: int, message: str = "") -> None:
        code = index(code)
        super().__init__(f"{code} {message}".rstrip())
        self.code = code
        self.message = message


class MessageTooBig(DjangoWSError):
    """A message over the limit; nothing was sent.

    Args:
        what: has that size, if it is not a single message.

    Attributes:
        size: bytes of the message.
        limit: bytes that were allowed.
    """

    def __init__(self, size: int, limit: int, what: str = "a message") -> None:
        super().__init__(f"{what} has {size} bytes, over the limit of {limit}")
        self.size = size
        self.limit = limit


class SendTimeout(DjangoWSError):
    """The client did not read for ``SEND_TIMEOUT`` seconds, so the message was not sent."""


class SessionReadOnly(DjangoWSError):
    """A hook wrote to the session where no cookie can follow, so the browser would not have it."""


class PublishError(DjangoWSError):
    """A publication did not get through."""


class GatewayUnavailable(PublishError):
    """No gateway took the publication."""


class PublishTimeout(PublishError):
    """The gateway did not confirm the publication in time; it may have been delivered."""
