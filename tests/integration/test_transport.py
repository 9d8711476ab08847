"""The links over real ZeroMQ sockets, ipc and tcp."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from django_ws.transport import endpoints
from django_ws.transport.endpoints import Bound, EndpointError, bind
from django_ws.transport.events import EventsReceiver, EventsSender
from django_ws.transport.replies import RepliesReceiver, RepliesSender
from django_ws.transport.sockets import new_socket
from tests.ports import free_port

DEADLINE = 5.0


def until(condition: Callable[[], Any], what: str = "") -> Any:
    deadline = time.monotonic() + DEADLINE
    while not (result := condition()):
        assert time.monotonic() < deadline, what or "not in time"
        time.sleep(0.002)
    return result


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")


@pytest.fixture(params=["ipc", "tcp"])
def endpoint(request: pytest.FixtureRequest, directory: Path) -> str:
    return f"ipc://{directory}/x" if request.param == "ipc" else f"tcp://127.0.0.1:{free_port()}"


@pytest.fixture
def closing() -> Iterator[Callable[[Any], Any]]:
    """Closes what the test opens, the last first."""
    opened: list[Any] = []

    def add(thing: Any) -> Any:
        opened.append(thing)
        return thing

    yield add
    for thing in reversed(opened):
        thing.close()


class Holder:
    """Another process that binds an endpoint, and does what it is told by a line."""

    def __init__(self, endpoint: str, kind: int = zmq.PULL) -> None:
        code = """
            import sys, zmq
            from django_ws.transport.endpoints import bind
            bound = bind(int(sys.argv[2]), sys.argv[1])
            print("bound", flush=True)
            if sys.stdin.readline() == "close\\n":
                bound.close()
        """
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), endpoint, str(int(kind))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "bound\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.communicate("close\n", timeout=DEADLINE)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


# ---------------------------------------------------------------- binding


def test_only_the_owner_may_connect(directory: Path, closing: Any) -> None:
    closing(bind(zmq.PULL, f"ipc://{directory}/x"))
    for name in ("x", "x.lock"):
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600


def test_the_umask_is_as_before(directory: Path, closing: Any) -> None:
    before = os.umask(0o022)
    try:
        closing(bind(zmq.PULL, f"ipc://{directory}/x"))
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_nothing_is_left_after_a_close(directory: Path) -> None:
    bind(zmq.PULL, f"ipc://{directory}/x").close()
    assert list(directory.iterdir()) == []


def test_closing_twice_does_no_harm(directory: Path) -> None:
    bound = bind(zmq.PULL, f"ipc://{directory}/x")
    bound.close()
    bound.close()


def test_the_same_path_can_be_bound_again_at_once(directory: Path, closing: Any) -> None:
    """ZeroMQ removes the file by itself, later: not the next one's."""
    for _ in range(20):
        bind(zmq.PULL, f"ipc://{directory}/x").close()
    closing(bind(zmq.PULL, f"ipc://{directory}/x"))
    sender = closing(EventsSender(f"ipc://{directory}/x", 5))
    until(lambda: sender.changes() == [True])


def test_an_endpoint_in_use_is_refused(endpoint: str, closing: Any) -> None:
    closing(Holder(endpoint))
    with pytest.raises(EndpointError, match="in use by another running process"):
        bind(zmq.PULL, endpoint)


def test_with_a_suffix_there_is_another_place(endpoint: str, closing: Any) -> None:
    closing(Holder(endpoint))
    bound: Bound = closing(bind(zmq.PULL, endpoint, suffix="abc"))
    if endpoint.startswith("ipc"):
        assert bound.endpoint == endpoint + ".abc"
    else:
        assert int(bound.endpoint.rpartition(":")[2]) > int(endpoint.rpartition(":")[2])
    assert endpoints.may_connect(bound.endpoint, endpoint)


def test_what_a_crash_left_is_taken_over(endpoint: str, closing: Any) -> None:
    holder = closing(Holder(endpoint))
    holder.kill()
    closing(bind(zmq.PULL, endpoint))
    sender = closing(EventsSender(endpoint, 5))
    until(lambda: sender.changes() == [True])


def test_another_users_socket_is_not_touched(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = Holder(f"ipc://{directory}/x")
    holder.kill()
    holder.close()
    monkeypatch.setattr(endpoints.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(EndpointError, match="belongs to another user"):
        bind(zmq.PULL, f"ipc://{directory}/x")
    assert (directory / "x").exists()


def test_what_is_no_socket_is_not_touched(directory: Path) -> None:
    (directory / "x").write_text("precious")
    with pytest.raises(EndpointError, match="is a regular file, not a socket"):
        bind(zmq.PULL, f"ipc://{directory}/x")
    assert (directory / "x").read_text() == "precious"


def test_a_link_in_the_place_of_the_lock_is_not_followed(directory: Path) -> None:
    (directory / "x.lock").symlink_to(directory / "elsewhere")
    with pytest.raises(EndpointError, match="is a symbolic link, not a regular file"):
        bind(zmq.PULL, f"ipc://{directory}/x")
    assert not (directory / "elsewhere").exists()


def test_a_directory_that_is_not_there_is_named(directory: Path) -> None:
    with pytest.raises(EndpointError, match="there is no directory"):
        bind(zmq.PULL, f"ipc://{directory}/nowhere/x")


def test_port_0_becomes_a_real_one(closing: Any) -> None:
    bound = closing(bind(zmq.PULL, "tcp://127.0.0.1:0"))
    assert int(bound.endpoint.rpartition(":")[2]) > 0


@pytest.mark.skipif(not socket.has_ipv6, reason="without IPv6")
def test_ipv6(closing: Any) -> None:
    receiver = closing(EventsReceiver("tcp://[::1]:0", ""))
    sender = closing(EventsSender(receiver.endpoint, 5))
    until(lambda: sender.send(b"x"))
    assert receiver.receive(DEADLINE) == [b"x"]


# ---------------------------------------------------------------- events


@pytest.fixture
def link(endpoint: str, closing: Any) -> tuple[EventsReceiver, EventsSender]:
    receiver = closing(EventsReceiver(endpoint, "s"))
    sender = closing(EventsSender(receiver.endpoint, 5))
    until(lambda: sender.writable())
    return receiver, sender


def test_batches_arrive_in_order(link: tuple[EventsReceiver, EventsSender]) -> None:
    receiver, sender = link
    for number in range(50):
        until(lambda number=number: sender.send(b"%d" % number))
    got: list[bytes] = []
    while len(got) < 50:
        some = receiver.receive(DEADLINE)
        assert 0 < len(some) <= 32
        got += some
    assert got == [b"%d" % number for number in range(50)]
    assert receiver.receive(0.0) == []


def test_large_batches_arrive(link: tuple[EventsReceiver, EventsSender]) -> None:
    receiver, sender = link
    big = os.urandom(5 * 1024 * 1024)
    assert sender.send(big)
    assert receiver.receive(DEADLINE) == [big]


def test_before_the_link_is_up_nothing_is_swallowed(directory: Path, closing: Any) -> None:
    sender = closing(EventsSender(f"ipc://{directory}/nobody", 5))
    assert not sender.send(b"x")
    assert not sender.writable()


def test_a_full_queue_says_so_and_its_descriptor_tells_when_it_is_not(
    link: tuple[EventsReceiver, EventsSender],
) -> None:
    receiver, sender = link
    sent = 0

    def full() -> bool:
        nonlocal sent
        while sender.send(bytes(100_000)):
            sent += 1
            assert sent < 10_000
        time.sleep(0.02)  # what is on its way makes room once more
        return not sender.writable()

    until(full)
    got = 0
    while got < sent:
        got += len(receiver.receive(DEADLINE))
    until(sender.writable)
    assert sender.send(b"x")
    assert receiver.receive(DEADLINE) == [b"x"]


def test_the_end_of_a_worker_is_noticed_at_once(endpoint: str, closing: Any) -> None:
    holder = closing(Holder(endpoint))
    sender = closing(EventsSender(endpoint, 5))
    until(lambda: sender.changes() == [True])
    holder.kill()
    before = time.monotonic()
    until(lambda: False in sender.changes())
    assert time.monotonic() - before < 0.25
    assert not sender.send(b"x")


def test_a_paused_worker_over_ipc_is_not_gone(directory: Path, closing: Any) -> None:
    holder = closing(Holder(f"ipc://{directory}/x"))
    sender = closing(EventsSender(f"ipc://{directory}/x", 0.1))
    until(lambda: sender.changes() == [True])
    holder.process.send_signal(signal.SIGSTOP)
    try:
        deadline = time.monotonic() + 0.4
        while time.monotonic() < deadline:
            assert sender.changes() == []
            time.sleep(0.02)
    finally:
        holder.process.send_signal(signal.SIGCONT)


def test_a_sender_does_not_reconnect(endpoint: str, closing: Any) -> None:
    """What takes the endpoint next is another incarnation."""
    first = closing(Holder(endpoint))
    sender = closing(EventsSender(endpoint, 5))
    until(lambda: sender.changes() == [True])
    first.kill()
    until(lambda: False in sender.changes())
    closing(bind(zmq.PULL, endpoint))
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        assert True not in sender.changes()
        time.sleep(0.02)


# ---------------------------------------------------------------- replies


def receive(receiver: RepliesReceiver) -> tuple[bytes, bytes]:
    found: tuple[bytes, bytes] = until(receiver.receive)
    return found


def test_replies_and_answers(endpoint: str, closing: Any) -> None:
    receiver = closing(RepliesReceiver(endpoint))
    one, two = (closing(RepliesSender(endpoint, 5)) for _ in range(2))
    assert one.send(b"from one", DEADLINE)
    identity, data = receive(receiver)
    assert data == b"from one"
    assert two.send(b"from two", DEADLINE)
    receive(receiver)
    receiver.answer(identity, b"for one")
    assert until(one.receive) == b"for one"
    assert two.receive() is None


def test_answers_to_those_who_left_are_dropped(endpoint: str, closing: Any) -> None:
    receiver = closing(RepliesReceiver(endpoint))
    receiver.answer(b"nobody", b"x")


def test_a_fresh_sender_waits_for_the_link(endpoint: str, closing: Any) -> None:
    sender = closing(RepliesSender(endpoint, 5))
    assert not sender.send(b"x")
    assert not sender.send(b"x", 0.02)
    receiver = closing(RepliesReceiver(endpoint))
    assert sender.send(b"y", DEADLINE)
    assert receive(receiver)[1] == b"y"


def test_a_gateway_that_goes_and_comes_is_noticed(endpoint: str, closing: Any) -> None:
    receiver = RepliesReceiver(endpoint)
    sender = closing(RepliesSender(endpoint, 5))
    monitor = closing(sender.monitor())
    assert sender.send(b"x", DEADLINE)  # the link may have come up before the monitor did
    assert False not in monitor.changes()
    receiver.close()
    until(lambda: False in monitor.changes())
    again = closing(RepliesReceiver(endpoint))
    until(lambda: sender.connect() or True in monitor.changes())
    assert sender.send(b"y", DEADLINE)
    assert receive(again)[1] == b"y"


def test_senders_may_take_turns_under_a_lock(endpoint: str, closing: Any) -> None:
    receiver = closing(RepliesReceiver(endpoint))
    sender = closing(RepliesSender(endpoint, 5))
    lock = threading.Lock()

    def work(number: int) -> None:
        for count in range(50):
            with lock:
                assert sender.send(b"%d %d" % (number, count), DEADLINE)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    got = [receive(receiver)[1].split() for _ in range(200)]
    for thread in threads:
        thread.join(DEADLINE)
    for number in range(4):
        assert [int(c) for n, c in got if int(n) == number] == list(range(50))


# ---------------------------------------------------------------- other users of the machine


class Impostor:
    """Another user who has bound a path of ours, and takes whatever comes."""

    def __init__(self, path: Path, kind: int) -> None:
        self.path = path
        self.socket = new_socket(kind)
        self.socket.bind(f"ipc://{path}")
        os.chown(path, 65534, -1)

    def got_nothing(self) -> bool:
        return not self.socket.poll(200)

    def close(self) -> None:
        self.socket.close(linger=0)
        self.path.unlink(missing_ok=True)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@as_root
def test_nothing_is_said_to_a_gateway_of_another_user(directory: Path, closing: Any) -> None:
    impostor = Impostor(directory / "x", zmq.ROUTER)
    sender = closing(RepliesSender(f"ipc://{directory}/x", 5))
    assert "belongs to another user" in sender.refusal
    assert not sender.send(b"secret", 0.1)
    assert impostor.got_nothing()
    impostor.close()
    receiver = closing(RepliesReceiver(f"ipc://{directory}/x"))
    assert sender.send(b"for us", DEADLINE)
    assert receive(receiver)[1] == b"for us"
    assert sender.refusal == ""


@as_root
def test_nothing_is_said_to_who_takes_the_place_of_our_gateway(
    directory: Path, closing: Any
) -> None:
    gateway = closing(Holder(f"ipc://{directory}/x", zmq.ROUTER))
    sender = closing(RepliesSender(f"ipc://{directory}/x", 5))
    assert sender.send(b"for us", DEADLINE)
    gateway.kill()
    (directory / "x").unlink()
    impostor = closing(Impostor(directory / "x", zmq.ROUTER))
    # What it takes before it has noticed the end is lost with the old link.
    until(lambda: not sender.send(b"secret", 0.02))
    assert not sender.send(b"secret", 0.1)
    assert impostor.got_nothing()
    assert "belongs to another user" in sender.refusal


def test_a_socket_that_was_exchanged_while_connecting_gets_nothing(
    directory: Path, closing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "other").mkdir()
    closing(bind(zmq.ROUTER, f"ipc://{directory}/other/x"))
    impostor = closing(bind(zmq.ROUTER, f"ipc://{directory}/x"))
    connect = zmq.Socket.connect

    def swap(self: Any, endpoint: str) -> None:
        connect(self, endpoint)
        monkeypatch.undo()
        until(lambda: int(self.get(zmq.EVENTS)) & zmq.POLLOUT)
        os.rename(directory / "other" / "x", directory / "x")

    monkeypatch.setattr(zmq.Socket, "connect", swap)
    sender = closing(RepliesSender(f"ipc://{directory}/x", 5))
    assert sender.send(b"for whom it may concern", DEADLINE)
    assert not impostor.socket.poll(100)


@as_root
def test_nothing_is_said_to_a_worker_of_another_user(directory: Path, closing: Any) -> None:
    impostor = closing(Impostor(directory / "x", zmq.PULL))
    with pytest.raises(EndpointError, match="belongs to another user"):
        EventsSender(f"ipc://{directory}/x", 5)
    assert impostor.got_nothing()
