"""Waiting for ZeroMQ's sockets, with and without gevent; contexts and forks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
import zmq

from django_ws.transport import sockets

Pair = tuple[Any, Any]


@pytest.fixture
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A PUSH and its PULL."""
    push, pull = sockets.new_socket(zmq.PUSH), sockets.new_socket(zmq.PULL)
    # A closed socket's name is only free a moment later.
    name = f"inproc://{request.node.name}"
    pull.bind(name)
    push.connect(name)
    yield push, pull
    push.close(0)
    pull.close(0)


@pytest.fixture(params=[False, True], ids=["threads", "gevent"])
def green(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(sockets, "_is_green", lambda: request.param)
    return bool(request.param)


def test_a_wait_ends_in_time(pair: Pair, green: bool) -> None:
    began = time.monotonic()
    assert not sockets.wait(pair[1], zmq.POLLIN, 0.05)
    assert time.monotonic() - began >= 0.04
    assert not sockets.wait(pair[1], zmq.POLLIN, 0.0)


def test_what_is_there_needs_no_wait(pair: Pair, green: bool) -> None:
    push, pull = pair
    assert sockets.wait(push, zmq.POLLOUT, 0.0)
    for _ in range(3):
        push.send(b"x")
        assert sockets.wait(pull, zmq.POLLIN, 5.0)
        assert pull.recv(zmq.NOBLOCK) == b"x"


def test_a_wait_ends_with_what_comes(pair: Pair, green: bool) -> None:
    push, pull = pair
    thread = threading.Timer(0.02, push.send, [b"x"])
    thread.start()
    assert sockets.wait(pull, zmq.POLLIN, 5.0)
    thread.join()
    assert pull.recv(zmq.NOBLOCK) == b"x"


def test_other_greenlets_run_meanwhile(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_is_green", lambda: True)
    push, pull = pair
    waiting = gevent.spawn(sockets.wait, pull, zmq.POLLIN, 5.0)
    gevent.sleep(0)
    assert not waiting.ready()
    push.send(b"x")
    assert waiting.get(timeout=5.0) is True


def test_this_process_is_not_green() -> None:
    sockets._is_green.cache_clear()
    assert not sockets._is_green()


def test_a_forked_child_has_a_context_of_its_own(pair: Pair) -> None:
    before = sockets._shared_context()
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:  # pragma: no cover
        other = sockets._shared_context() is not before
        os.write(writing, b"other" if other else b"same")
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 10) == b"other"
    os.close(reading)
    assert os.waitpid(pid, 0)[1] == 0
    assert sockets._shared_context() is before
