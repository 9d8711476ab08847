"""How a session is named to gateways, which need not know its key."""

from __future__ import annotations

import hashlib

__all__ = ["session_digest"]


def session_digest(key: str) -> str:
    """What :class:`.messages.Accept` and :class:`.messages.Expel` call a session.

    Args:
        key: the session's key: random, so that a plain digest cannot be reversed.
    """
    return hashlib.sha256(f"django-ws session {key}".encode()).hexdigest()[:32] if key else ""
