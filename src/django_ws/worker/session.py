"""The session of a hook: as a view's, but for what only a response with a cookie could follow."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore

from .. import conf
from ..exceptions import SessionReadOnly

__all__ = ["session_class"]

if TYPE_CHECKING:
    _Base = SessionBase
else:
    _Base = object  # the project's own store follows in the order of bases

_ADVICE = "do it in a view, whose response can set the cookie, and connect after that"


class _HookSession(_Base):
    """Goes before the project's store among the bases of a class.

    The browser has the session's key in a cookie, and no response follows in which another one
    could be set. So what needs a new key is refused before anything is written or deleted.

    Attributes:
        flushed: a hook has ended it.
    """

    flushed = False

    @property
    def modified(self) -> bool:
        """Whether there is something to save."""
        return self._modified

    @modified.setter
    def modified(self, modified: bool) -> None:
        if modified and not self.session_key:
            raise SessionReadOnly(
                f"there is no session that a handler could write to: {_ADVICE}, or keep it in "
                "handler.state"
            )
        if modified and isinstance(self, CookieStore):
            raise SessionReadOnly(
                "the session is in a cookie (signed_cookies), which a handler cannot set: "
                f"{_ADVICE}, or use another SESSION_ENGINE"
            )
        self._modified = modified

    def create(self) -> None:
        """Refused: there is no way to tell the browser the new session's key."""
        raise SessionReadOnly(f"a handler cannot begin a session: {_ADVICE}")

    def cycle_key(self) -> None:
        """Refused, before the browser's own session is touched. ``login()`` does it."""
        raise SessionReadOnly(
            f"a handler cannot change the session's key, as login() and cycle_key() do: {_ADVICE}"
        )

    def flush(self) -> None:
        """End the session, as ``logout()`` does; without one there is nothing to end."""
        self.flushed = True
        if self.session_key and not isinstance(self, CookieStore):
            super().flush()
        else:
            self._session_cache: dict[str, object] = {}


@functools.cache
def _derived(store: type[SessionBase]) -> type[SessionBase]:
    # The same name: it goes into the salt by which the data of a session is signed.
    return type(store.__name__, (_HookSession, store), {"__qualname__": store.__qualname__})


def session_class() -> type[SessionBase] | None:
    """The project's session store as hooks use it; ``None`` without sessions."""
    store = conf.session_store()
    return None if store is None else _derived(store)
