"""What was published in a test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import overload

import msgspec
from django.db import connections

from .. import publications
from ..deferral import Deferred, only_of_a_test
from ..outlet import set_outlet
from ..publications import Publication
from ..wire import messages as wire
from ..wire.codec import encode
from ..wire.messages import Expel, GetHistory, GetPresence, Publish, PublisherMessage

__all__ = ["CapturedPublications", "capture_publications"]

#: Nothing has an offset in a test: no gateway counts.
NOWHERE = wire.Position(0, "test")


class CapturedPublications(Sequence[Publication]):
    """The publications so far, in order; equal to a list of the same.

    What waits for the commit of a ``TestCase``, which never comes, counts as soon as only the
    test's own transactions are open.
    """

    def __init__(self) -> None:
        self._found: list[Publication] = []
        # Published before; kept, so that no new one has the id of one that is gone.
        self._earlier = list(_deferred())

    def clear(self) -> None:
        """Forget what was published so far."""
        self._settle()
        self._found.clear()

    @overload
    def __getitem__(self, index: int) -> Publication: ...
    @overload
    def __getitem__(self, index: slice) -> list[Publication]: ...
    def __getitem__(self, index: int | slice) -> Publication | list[Publication]:
        self._settle()
        return self._found[index]

    def __len__(self) -> int:
        self._settle()
        return len(self._found)

    def __eq__(self, other: object) -> bool:
        return list(self) == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<CapturedPublications {list(self)!r}>"

    def _settle(self) -> None:
        earlier = set(map(id, self._earlier))
        for deferred in list(_deferred()):
            if id(deferred) not in earlier:
                deferred()

    # ------------------------------------------------------------------ Outlet

    def send(self, messages: Sequence[PublisherMessage]) -> None:
        """Remember publications."""
        self._found.extend(
            publications.published(each, NOWHERE) for each in messages if isinstance(each, Publish)
        )

    def ask(self, requests: Sequence[PublisherMessage], timeout: float) -> list[list[msgspec.Raw]]:
        """Answer as a gateway without histories, presence and connections does."""
        self.send(requests)
        return [[msgspec.Raw(encode(_answer(each))) for each in requests]]


def _answer(request: PublisherMessage) -> object:
    if isinstance(request, GetHistory):
        return wire.Recent([], NOWHERE, False)
    if isinstance(request, GetPresence):
        return []
    return 0 if isinstance(request, Expel) else NOWHERE


def _deferred() -> Iterator[Deferred[object]]:
    """What waits for commits that only Django's ``TestCase`` keeps from happening."""
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block and only_of_a_test(connection):
            for entry in connection.run_on_commit:
                callback = entry[1]
                if isinstance(callback, Deferred):
                    yield callback


@contextmanager
def capture_publications() -> Iterator[CapturedPublications]:
    """Collect what any thread of this process publishes, instead of sending it.

    In a ``TestCase`` it counts what was published on commit, with ``captureOnCommitCallbacks`` or
    without; what was rolled back does not count.
    """
    captured = CapturedPublications()
    before = set_outlet(captured)
    try:
        yield captured
        captured._settle()
    finally:
        set_outlet(before)
