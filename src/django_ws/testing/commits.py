"""What a test has published on a commit that never comes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from ..deferral import Deferred, deferring, only_of_a_test

__all__ = ["Commits"]


class _Thread(threading.local):
    busy = False


class Commits:
    """Publications that wait for the commit of a ``TestCase``.

    They count as soon as only the test's own transactions are open, in the order of the calls; what
    was rolled back does not. What waited before this object was made never does.
    """

    def __init__(self) -> None:
        # Kept, so that no new one has the id of one that is gone.
        self._earlier = list(_deferred())
        self._thread = _Thread()

    def settle(self, *, overtaken: bool = False) -> None:
        """Send what counts by now. Nothing, where what is being sent calls for it.

        Args:
            overtaken: only what was published before something that has been sent by now, or is
                just being sent: ``captureOnCommitCallbacks`` begins in the middle.
        """
        if self._thread.busy:
            return
        earlier = set(map(id, self._earlier))
        found = [each for each in _deferred() if id(each) not in earlier]
        if overtaken:
            while found and not found[-1].done:
                found.pop()
        self._thread.busy = True
        try:
            for deferred in found:
                deferred()
        finally:
            self._thread.busy = False


def _deferred() -> Iterator[Deferred[object]]:
    """What waits for commits that only Django's ``TestCase`` keeps from happening.

    Of all threads: an ``async def`` test runs in another one than its transaction.
    """
    for connection in deferring():
        if connection.in_atomic_block and only_of_a_test(connection):
            for entry in connection.run_on_commit:
                callback = entry[1]
                if isinstance(callback, Deferred):
                    yield callback
