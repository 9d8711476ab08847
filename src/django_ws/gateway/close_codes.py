"""Which close code tells a client what else an HTTP status would."""

from __future__ import annotations

__all__ = ["of_status"]

#: "Too many": a client that is not to stop for ever, as it would after 4429.
TOO_MANY = 3013


def of_status(status: int) -> int:
    """The close code of a refusal, see docs/client-protocol.md.

    Args:
        status: 400 to 599.
    """
    return TOO_MANY if status == 429 else 4000 + status
