"""What was published in a test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import overload

from .. import publications
from ..publications import Publication
from ..wire import messages as wire
from ..wire.messages import Publish
from .gateway import local_gateway

__all__ = ["CapturedPublications", "capture_publications"]

#: What was captured has no offset: positions are what the code under test asks for.
NOWHERE = wire.Position(0, "test")


class CapturedPublications(Sequence[Publication]):
    """The publications so far, in order; equal to a list of the same.

    What waits for the commit of a ``TestCase``, which never comes, counts as soon as only the
    test's own transactions are open.
    """

    def __init__(self) -> None:
        self._found: list[Publication] = []
        self._gateway = local_gateway()
        self._gateway.commit()  # what was published before does not count
        self._gateway.watch(self._watch)
        self._release = self._gateway.held_by(self, lambda: None)

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

    def __repr__(self) -> str:
        return f"<CapturedPublications {list(self)!r}>"

    def _watch(self, message: Publish) -> None:
        self._found.append(publications.published(message, NOWHERE))

    def _settle(self) -> None:
        if self._release.alive:
            self._gateway.commit()

    def _end(self) -> None:
        self._settle()
        self._gateway.unwatch(self._watch)
        self._release()


@contextmanager
def capture_publications() -> Iterator[CapturedPublications]:
    """Collect what any thread of this process publishes, instead of sending it.

    In a ``TestCase`` it counts what was published on commit, with ``captureOnCommitCallbacks`` or
    without; what was rolled back does not count.
    """
    captured = CapturedPublications()
    try:
        yield captured
    finally:
        captured._end()
