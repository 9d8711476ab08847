"""What a test leaves behind fails it."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import pytest
import zmq

#: Threads that belong to the process: gevent's hub and the like come with their libraries.
_DEADLINE = 3.0


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No thread and no ZeroMQ socket of the test's outlives it."""
    threads = set(threading.enumerate())
    sockets = _open_sockets()
    yield
    deadline = time.monotonic() + _DEADLINE
    while left := [t for t in threading.enumerate() if t not in threads and t.is_alive()]:
        if time.monotonic() > deadline:
            pytest.fail(f"threads are left: {', '.join(thread.name for thread in left)}")
        left[0].join(0.05)
    if leaked := _open_sockets() - sockets:
        pytest.fail(f"{len(leaked)} ZeroMQ sockets are left open")


def _open_sockets() -> set[int]:
    return {
        id(item) for item in gc.get_objects() if isinstance(item, zmq.Socket) and not item.closed
    }
