"""What hooks are promised, in every mode and over every link."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .clients import Client
from .raw import RawClient
from .server import until

pytestmark = pytest.mark.system

KIB = 1024


@pytest.mark.parametrize("value", ["none", "false", "true", "zero", "text", "object"])
def test_only_none_passes_the_first_message_on(server, value):
    with Client(server, "hooks") as client:
        client.send(value)
        assert client.ask("second") == (f"had {value}" if value == "none" else "had second")
        if value == "none":
            assert client.receive() == "had second"
        first = [["message", value]] if value == "none" else []
        assert client.notes() == [["connect"], ["open", value], *first, ["message", "second"]]


def test_on_close_after_the_clients_close(server):
    with Client(server, "hooks") as client:
        client.ask("none")
        client.socket.close(4001, "bye")
    assert client.until_noted("close")[-1] == ["close", 4001, "bye"]


def test_on_close_without_a_code(server):
    client = RawClient(server, f"hooks?who=codeless{server.port}")
    client.socket.sendall(b"\x88\x80" + bytes(4))
    (note,) = until(lambda: server.project.journal("close", who=f"codeless{server.port}"))
    client.socket.close()
    assert note[4:] == [1005, ""]


def test_on_close_when_the_browser_vanishes(server):
    client = Client(server, "hooks")
    client.send("nap 0.2", "b", "c")
    client.until_noted("open")
    client.vanish()
    notes = client.until_noted("close")
    messages = [note[1] for note in notes if note[0] == "message"]
    # A reset may overtake what the server had not read; what came is handled in order, and first.
    assert messages == ["nap 0.2", "b", "c"][: len(messages)]
    assert notes[-1] == ["close", 1006, ""]


def test_on_close_after_every_earlier_message(server):
    with Client(server, "hooks") as client:
        client.send("nap 0.2", *"bcdef")
    notes = client.until_noted("close")
    assert [note[1] for note in notes if note[0] == "message"] == ["nap 0.2", *"bcdef"]
    assert notes[-1][0] == "close"


def test_on_close_when_no_message_ever_came(server):
    Client(server, "hooks").vanish()
    with Client(server, "hooks") as client:
        pass
    assert client.until_noted("close") == [["connect"], ["close", 1000, ""]]


def test_nothing_is_delivered_after_the_handlers_own_close(server):
    with Client(server, "hooks") as client:
        client.send("true", "close 4002 enough")
        with contextlib.suppress(ConnectionClosed):  # the close may already be here
            client.send("more", "and more")
        assert client.closing() == (4002, "enough")
        notes = client.until_noted("close")
    assert notes == [
        ["connect"],
        ["open", "true"],
        ["message", "close 4002 enough"],
        ["close", 4002, "enough"],
    ]


def test_on_close_runs_once(server):
    clients = [Client(server, "hooks") for _ in range(10)]
    for number, client in enumerate(clients):
        client.send("close 4002 enough" if number % 2 else "none")
        client.vanish() if number % 3 else client.close()
    for client in clients:
        client.until_noted("close")
    with Client(server, "hooks") as last:  # whatever came late would have come before this
        last.ask("none")
    assert [len(client.notes("close")) for client in clients] == [1] * 10


@pytest.mark.parametrize(
    ("door", "status"), [("reject", 451), ("denied", 403), ("false", 403), ("raise", 500)]
)
def test_on_connect_refuses(server, door, status):
    with pytest.raises(InvalidStatus) as refused:
        Client(server, f"door?door={door}")
    response = refused.value.response
    assert response.status_code == status
    assert (response.reason_phrase == "not here") == (door == "reject")
    assert b"from on_connect" not in (response.body or b"")


@pytest.mark.parametrize("door", ["", "true"])
def test_what_on_connect_sends_comes_first(server, door):
    with Client(server, f"door?door={door}") as client:
        client.send("kwargs")
        assert client.receive() == "from on_connect"
        assert client.receive() == b"and more"
        assert json.loads(client.receive()) == [{}, "door", None]


def test_subprotocol(server):
    offered = ["soap", "chat"]
    with Client(server, "door?subprotocol=chat", subprotocols=offered) as client:
        assert client.socket.subprotocol == "chat"
    with Client(server, "door", subprotocols=offered) as client:
        assert client.socket.subprotocol is None
    with pytest.raises(InvalidStatus) as refused:
        Client(server, "door?subprotocol=other", subprotocols=offered)
    assert refused.value.response.status_code == 500


@pytest.mark.parametrize("size", [0, 1, 125, 126, 70_000, KIB * KIB])
def test_sends_of_every_size(server, size):
    with Client(server, "sender") as client:
        assert client.ask(f"text {size}") == "x" * size
        assert client.ask(f"bytes {size}") == b"x" * size


def test_send_from_a_thread_after_the_hook_returned(server):
    with Client(server, "sender") as client:
        assert client.ask("later 5") == "xxxxx"


@pytest.mark.parametrize("message", ["", b"", "ä" * 32 * KIB, b"\0" * 64 * KIB])
def test_echo_up_to_64_kib(server, message):
    with Client(server) as client:
        assert client.ask(message) == message


def test_more_than_64_kib_is_closed_1009(server):
    with Client(server) as client, Client(server) as other:
        client.send("x" * (64 * KIB + 1))
        assert client.closing()[0] == 1009
        assert other.ask("still there") == "still there"


def test_an_exception_closes_1011_and_stays_alone(server):
    with Client(server, "hooks") as other, Client(server, "hooks") as client:
        other.ask("none")
        client.send("true", "raise on purpose")
        assert client.closing()[0] == 1011
        client.until_noted("close")
        assert other.ask("more") == "had more"
    log = until(lambda: "ValueError: on purpose" in server.output() and server.output())
    assert "hooks: connection" in log
    assert "Traceback (most recent call last)" in log


def test_permission_denied_closes_4403(server):
    with Client(server, "hooks") as client:
        client.send("true", "denied")
        assert client.closing()[0] == 4403


def test_json(server):
    with Client(server, "json") as client:
        assert json.loads(client.ask('{"a": [1, null]}')) == {"open": {"a": [1, None]}}
        assert json.loads(client.receive()) == {"message": {"a": [1, None]}}
        client.send("{not json")
        assert client.closing()[0] == 1007
    with Client(server, "json") as client:
        client.send(b"{}")
        assert client.closing()[0] == 1003


def test_state(server):
    with Client(server, "state") as client:
        assert [client.ask("x").split()[0] for _ in range(3)] == ["1", "2", "3"]


def test_a_looping_hook_sends_and_ends_with_its_connection(server):
    with Client(server, "loop") as client:
        client.send("0.02")
        assert [client.receive() for _ in range(3)] == ["1", "2", "3"]
    assert client.until_noted("close")[-2:] == [["loop ends", True, False], ["close", 1000, ""]]


def test_unknown_namespace_and_path(server):
    for path in ("nothing", "a/b"):
        with pytest.raises(InvalidStatus) as refused:
            Client(server, path)
        assert refused.value.response.status_code == 404


def test_host_and_origin(server):
    for headers, status in (
        ({"Host": "evil.example"}, 400),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ):
        with pytest.raises(InvalidStatus) as refused:
            Client(server, additional_headers=headers)
        assert refused.value.response.status_code == status
    for origin in ("http://127.0.0.1:8000", "https://other.example"):
        with Client(server, origin=origin) as client:
            assert client.ask("hello") == "hello"


def test_what_another_thread_sends_leaves_at_once(server):
    with Client(server, "elsewhere") as client, Client(server) as other:
        began = time.monotonic()
        for number in range(150):
            assert client.ask(str(number)) == str(number)
            assert other.ask("hello") == "hello"
        assert time.monotonic() - began < 1.5


def test_a_process_that_a_hook_forks_ends_by_sigterm(server):
    """Though its worker leaves that signal to the supervisor."""
    with Client(server, "forks") as client:
        os.kill(int(client.ask("fork")), signal.SIGTERM)
        assert client.receive() == str(int(signal.SIGTERM))
