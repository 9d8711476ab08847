"""Which connections are whose."""

from __future__ import annotations

from .session import Session

__all__ = ["Index"]


class Index:
    """Accepted connections by one of their words: the user, or the session of the web site.

    Most words have one connection, so that one stands there without a dict around it.
    """

    def __init__(self) -> None:
        self._found: dict[str, Session | dict[int, Session]] = {}

    def add(self, word: str, session: Session) -> None:
        """Enter a connection; an empty word is nobody's."""
        if not word:
            return
        found = self._found.setdefault(word, session)
        if isinstance(found, dict):
            found[session.conn] = session
        elif found is not session:
            self._found[word] = {found.conn: found, session.conn: session}

    def discard(self, word: str, session: Session) -> None:
        """Take a connection out."""
        found = self._found.get(word)
        if isinstance(found, dict):
            found.pop(session.conn, None)
            if not found:
                del self._found[word]
        elif found is session:
            del self._found[word]

    def find(self, word: str) -> list[Session]:
        """The connections."""
        found = self._found.get(word)
        if found is None:
            return []
        return list(found.values()) if isinstance(found, dict) else [found]

    def count(self, word: str) -> int:
        """How many there are."""
        found = self._found.get(word)
        if found is None:
            return 0
        return len(found) if isinstance(found, dict) else 1
