"""What a test leaves behind fails it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from django_ws.transport import sockets

DEADLINE = 3.0


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No thread and no ZeroMQ socket of the test's outlives it."""
    threads = set(threading.enumerate())
    before = _open_sockets()
    yield
    deadline = time.monotonic() + DEADLINE
    while left := [t for t in threading.enumerate() if t not in threads and t.is_alive()]:
        if time.monotonic() > deadline:
            pytest.fail(f"threads are left: {', '.join(thread.name for thread in left)}")
        left[0].join(0.05)
    if leaked := _open_sockets() - before:
        pytest.fail(f"{len(leaked)} ZeroMQ sockets are left open")


def _open_sockets() -> set[int]:
    # pyzmq keeps weak references to the sockets of a context, those of monitors included.
    known = list(sockets._shared_context()._sockets)
    return {id(socket) for socket in known if not socket.closed}
