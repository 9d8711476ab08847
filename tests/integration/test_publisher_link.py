"""A publisher's links to gateways, over real sockets."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.conf import LazySettings

from django_ws import (
    GatewayUnavailable,
    Position,
    PublishError,
    PublishTimeout,
    history,
    publish,
    publish_many,
    publisher,
    publisher_link,
)
from django_ws import position as ask_position
from django_ws.options import PublisherConfig
from django_ws.transport.replies import RepliesReceiver
from django_ws.wire import messages as wire
from django_ws.wire.codec import decode_replies, encode
from django_ws.wire.messages import Answer, Failed, GetPosition, Publish, Role

ROOT = Path(__file__).parents[2]


class Stub:
    """A gateway that remembers and answers."""

    def __init__(self, endpoint: str, epoch: str = "e") -> None:
        self.endpoint = endpoint
        self.epoch = epoch
        self.got: list[Publish] = []
        self.senders: set[tuple[str, str, int]] = set()
        self.silent = False
        self.refuses = ""
        self.code = "refused"
        self._receiver = RepliesReceiver(endpoint)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            item = self._receiver.receive()
            if item is None:
                self._ended.wait(0.001)
                continue
            batch = decode_replies(item[1])
            self.senders.add((batch.project, batch.sender, batch.role))
            for message in batch.messages:
                if isinstance(message, Publish):
                    self.got.append(message)
                request = getattr(message, "request", 0)
                if request and not self.silent:
                    self._receiver.answer(item[0], encode(self._answer(request)))

    def _answer(self, request: int) -> Answer | Failed:
        if self.refuses:
            return Failed(request, self.code, self.refuses)
        position = wire.Position(len(self.got), self.epoch)
        return Answer(request, msgspec.Raw(encode(position)))

    @property
    def texts(self) -> list[str]:
        return [each.data.decode() for each in self.got]

    def wait_for(self, number: int) -> list[str]:
        wait_for(lambda: len(self.got) >= number)
        return self.texts

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._receiver.close()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def endpoint(tmp_path: Path, settings: LazySettings) -> Iterator[str]:
    endpoint = f"ipc://{tmp_path}/sub"
    settings.DJANGO_WS = {"SUB_SOCKET": endpoint}
    yield endpoint
    publisher.configure(None)


@pytest.fixture
def stub(endpoint: str) -> Iterator[Stub]:
    stub = Stub(endpoint)
    yield stub
    stub.close()


def test_what_is_published_arrives_in_order(stub: Stub) -> None:
    for number in range(2000):
        publish("room", str(number))
    assert stub.wait_for(2000) == [str(number) for number in range(2000)]
    ((project, sender, role),) = stub.senders
    assert (project, len(sender), role) == ("tests.urls", 16, Role.PUBLISHER)


def test_what_one_thread_does_arrives_in_its_order(stub: Stub) -> None:
    def work(name: str) -> None:
        for number in range(100):
            found = publish(name, str(number), wait=number % 10 == 9)
            assert (found is not None) == (number % 10 == 9)

    threads = [threading.Thread(target=work, args=(f"thread-{index}",)) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stub.wait_for(1200)
    for index in range(12):
        of_one = [each.data.decode() for each in stub.got if each.group == f"thread-{index}"]
        assert of_one == [str(number) for number in range(100)]


def test_who_asks_finds_what_was_published_before(stub: Stub) -> None:
    publish_many([("room", str(number)) for number in range(500)])
    assert ask_position("room") == Position(500, "e")


def test_who_waits_for_many_hears_of_each(stub: Stub) -> None:
    """More answers at once than a DEALER has room for would get lost."""
    found = publish_many([("room", str(n)) for n in range(2000)], wait=True, timeout=20)
    assert [each.offset for each in found if each] == list(range(1, 2001))
    assert stub.texts == [str(n) for n in range(2000)]


def test_one_who_gives_up_early_is_no_sign_of_a_gateway_that_is_gone(stub: Stub) -> None:
    stub.silent = True
    with pytest.raises(PublishTimeout):
        publish("room", "asked", wait=True, timeout=0.01)
    publish("room", "first")
    failed: list[Exception] = []

    def send() -> None:
        try:
            for n in range(200):
                publish("room", str(n))
        except GatewayUnavailable as error:
            failed.append(error)

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    stub.wait_for(4002)


@pytest.mark.parametrize("limit", [None, "10", 1.5])
def test_a_limit_that_no_gateway_could_read_is_refused_here(stub: Stub, limit: Any) -> None:
    with pytest.raises(TypeError):
        history("room", limit=limit)
    assert stub.senders == set()


def test_a_large_lot_is_cut_into_batches(stub: Stub) -> None:
    publish_many([("room", "x" * 300_000) for _ in range(10)])
    assert len(stub.wait_for(10)) == 10


def test_without_a_gateway_it_raises_within_a_second_and_then_at_once(endpoint: str) -> None:
    started = time.monotonic()
    with pytest.raises(GatewayUnavailable, match="is run_wsserver"):
        publish("room", "x")
    assert 0.9 < time.monotonic() - started < 1.5
    started = time.monotonic()
    for _ in range(50):
        with pytest.raises(GatewayUnavailable):
            publish("room", "x")
    with pytest.raises(GatewayUnavailable):
        publish("room", "x", wait=True)
    with pytest.raises(GatewayUnavailable):
        ask_position("room")
    assert time.monotonic() - started < 0.5
    # It is back before the second is over: whoever comes next gets through.
    stub = Stub(endpoint)
    try:
        wait_for(lambda: _gets_through("back"))
        stub.wait_for(1)
    finally:
        stub.close()


def _gets_through(text: str) -> bool:
    try:
        publish("room", text)
    except GatewayUnavailable:
        return False
    return True


def test_a_gateway_that_does_not_answer(stub: Stub) -> None:
    publish("room", "x")
    stub.silent = True
    started = time.monotonic()
    with pytest.raises(PublishTimeout, match="did not answer in time"):
        publish("room", "x", wait=True, timeout=0.2)
    assert time.monotonic() - started < 0.6
    started = time.monotonic()
    with pytest.raises(GatewayUnavailable):
        ask_position("room")  # it has just failed to answer: no view waits for it again
    assert time.monotonic() - started < 0.5
    stub.silent = False
    # A late answer is nobody's.
    wait_for(lambda: _position() == Position(2, "e"))


def _position() -> Position | None:
    try:
        return ask_position("room")
    except GatewayUnavailable:
        return None


def test_a_gateway_that_refuses(stub: Stub) -> None:
    stub.refuses = "this gateway serves another project"
    with pytest.raises(PublishError, match="another project"):
        publish("room", "x", wait=True)


def test_several_gateways_get_it_all(tmp_path: Path, settings: LazySettings) -> None:
    endpoints = [f"ipc://{tmp_path}/sub{index}" for index in range(2)]
    settings.DJANGO_WS = {"SUB_SOCKET": ",".join(endpoints)}
    stubs = [Stub(endpoint, epoch) for endpoint, epoch in zip(endpoints, "ab", strict=True)]
    try:
        publish("room", "1")
        found = publish("room", "2", wait=True)
        assert found is not None
        assert found.epoch == "a"
        for stub in stubs:
            assert stub.wait_for(2) == ["1", "2"]
        stubs.pop(0).close()
        wait_for(lambda: _epoch() == "b")
        started = time.monotonic()
        for number in range(20):
            publish("room", str(number))
        assert time.monotonic() - started < 0.5  # who is down is not waited for
        assert len(stubs[0].wait_for(22)) >= 22
    finally:
        for stub in stubs:
            stub.close()
        publisher.configure(None)


def test_of_gateways_that_share_an_engine_one_is_enough(tmp_path: Path) -> None:
    """Workers are at gateways, which speak to the engine for them."""
    endpoints = [f"ipc://{tmp_path}/sub{index}" for index in range(2)]
    config = PublisherConfig(project="tests.urls", sub_sockets=endpoints, engine="redis://there")
    stubs = [Stub(endpoint) for endpoint in endpoints]
    links = publisher_link.Gateways(config)
    try:
        links.send([Publish(0, "room", wire.TEXT, b"1")])
        assert len(links.ask([Publish(1, "room", wire.TEXT, b"2")], 5.0)) == 1
        assert stubs[0].wait_for(2) == ["1", "2"]
        assert stubs[1].got == []
        stubs.pop(0).close()
        wait_for(lambda: _taken(links))
        links.send([Publish(0, "room", wire.TEXT, b"last")])
        wait_for(lambda: stubs[0].texts[-1:] == ["last"])
    finally:
        links.close()
        for stub in stubs:
            stub.close()


def _taken(links: publisher_link.Gateways) -> bool:
    try:
        return bool(links.ask([Publish(2, "room", wire.TEXT, b"x")], 0.2))
    except PublishTimeout:
        return False


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("engine_away", GatewayUnavailable),
        ("engine_busy", GatewayUnavailable),
        ("engine_unknown", PublishTimeout),
        ("engine_refused", PublishError),
    ],
)
def test_a_gateway_whose_engine_fails(stub: Stub, code: str, error: type[Exception]) -> None:
    stub.refuses, stub.code = "the engine", code
    with pytest.raises(PublishError, match="the engine") as caught:
        publish("room", "x", wait=True)
    assert caught.type is error


def _epoch() -> str:
    try:
        found = publish("room", "x", wait=True, timeout=0.2)
    except PublishTimeout:  # it went to the one that was ending just then
        return ""
    assert found is not None
    return found.epoch


def _publish_in_child(text: str) -> None:
    publish("room", text)


def test_forked_children_have_links_of_their_own(stub: Stub) -> None:
    publish("room", "parent")
    stub.wait_for(1)
    context = multiprocessing.get_context("fork")
    children = [
        context.Process(target=_publish_in_child, args=(f"child {index}",)) for index in range(3)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(10)
        assert child.exitcode == 0
    publish("room", "parent again")
    assert sorted(stub.wait_for(5)) == [
        "child 0",
        "child 1",
        "child 2",
        "parent",
        "parent again",
    ]
    assert len(stub.senders) == 4


def test_a_command_that_ends_at_once_loses_nothing(stub: Stub) -> None:
    program = (
        "import django\n"
        "from django.conf import settings\n"
        f"settings.DJANGO_WS = {{'SUB_SOCKET': {stub.endpoint!r}}}\n"
        "django.setup()\n"
        "from django_ws import publish\n"
        "for number in range(200): publish('room', str(number) * 1000)\n"
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run([sys.executable, "-c", program], check=False, cwd=ROOT, env=environment)
    assert done.returncode == 0
    assert stub.wait_for(200)[-1] == "199" * 1000


def test_other_settings_other_gateways(stub: Stub, tmp_path: Path, settings: LazySettings) -> None:
    publish("room", "here")
    other = Stub(f"ipc://{tmp_path}/other")
    try:
        settings.DJANGO_WS = {"SUB_SOCKET": other.endpoint, "PROJECT": "elsewhere"}
        publish("room", "there")
        assert other.wait_for(1) == ["there"]
        assert {project for project, *_ in other.senders} == {"elsewhere"}
    finally:
        other.close()
    assert stub.wait_for(1) == ["here"]


def test_a_question_is_no_publication(stub: Stub) -> None:
    assert ask_position("room") == Position(0, "e")
    assert stub.got == []
    assert publisher_link.next_request() > 0
    assert GetPosition(1, "room").request == 1
