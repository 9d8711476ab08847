"""Sessions of django-ws.v1 that outlive their connections, against real processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from .envelopes import EnvelopeClient
from .server import MODES, Project, Server, until

pytestmark = pytest.mark.system

GROUPS = {"room*": {"history_size": 20, "history_ttl": 300}}


def make(directory: Path, **settings: object) -> Project:
    handlers = {
        "default": "handlers.Echo",
        "envelopes": "handlers.Envelopes",
        "again": {"handler": "handlers.Envelopes", "on_worker_lost": "redeliver"},
        "day": {"handler": "handlers.Envelopes", "url": "ws/day/<day:day>/"},
    }
    options = {
        "ALLOW_MISSING_ORIGIN": True,
        "HANDSHAKE_TIMEOUT": 20,
        "MAX_PENDING": 200_000,
        "GROUPS": GROUPS,
        **settings,
    }
    return Project(directory, DEFAULT_WS_HANDLERS=handlers, DJANGO_WS=options)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = make(tmp_path)
    yield project
    project.remove()


@pytest.fixture
def server(project: Project) -> Iterator[Server]:
    server = Server(project)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose parts stay alive."""
    project = make(tmp_path_factory.mktemp("shared"), PING_INTERVAL=0.3, PING_TIMEOUT=0.3)
    server = Server(project)
    yield server
    server.stop()
    project.remove()


def notes(client: EnvelopeClient, server: Server) -> list[object]:
    return [note[0] for note in server.project.journal(who=client.who)]


def publish(server: Server, group: str, *texts: str) -> None:
    """By another client, in order."""
    with EnvelopeClient(server).begin() as publisher:
        for text in texts:
            publisher.send(f"publish {group} {text}")
        publisher.until_handled(publisher.sent)


# ---------------------------------------------------------------- one connection


def test_everything_both_ways(shared: Server) -> None:
    with EnvelopeClient(shared).begin() as client:
        assert not client.welcome["resumed"]
        assert client.welcome["silence"] == 600
        client.send("hello")
        assert client.next() == ["m", "hello"]
        client.send(b"\x00\n\xff")
        assert client.next() == ["m", b"\x00\n\xff"]
        number = client.call("r", {"a": [1]})
        assert client.next() == ["ok", number, {"a": [1]}]
        number = client.call("r", b"\x01")
        assert client.next() == ["ok", number, b"\x01"]
        for wrong in ("fail", "mixed"):
            number = client.call("r", wrong)
            assert client.next() == ["err", number, 4500, "internal error"]
        client.call("e", [1, 2], "typing")
        assert client.next() == ["e", "heard", ["typing", 2]]
        for argument, answer in ([1], [1]), (b"\x02", b"\x02"):
            number = client.call("x", argument, "rename")
            assert client.next() == ["e", "heard", ["rename", 1]]
            assert client.next() == ["ok", number, answer]
        client.until_handled(number)


def test_a_sign_of_life_comes_by_itself_and_when_asked_for(shared: Server) -> None:
    with EnvelopeClient(shared).begin() as client:
        assert client.envelope() == ["a", 0]
        client.say(["p", 0])
        assert client.envelope(0.25) == ["a", 0]


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        (["m", 1, 0, "no hello"], 3501),
        (["a", 0], 3501),
        (["hello", {"had": -1}], 3501),
        (["nonsense"], 3501),
    ],
)
def test_the_first_envelope_is_a_hello(shared: Server, envelope: list[object], code: int) -> None:
    client = EnvelopeClient(shared).open()
    client.say(envelope)
    assert client.closed() == code


@pytest.mark.parametrize(
    "envelope", [["m", 3, 0, "gap"], ["a", 7], ["hello", {}], ["welcome", {}], ["m", 1, 0]]
)
def test_who_breaks_the_protocol_is_sent_away(shared: Server, envelope: list[object]) -> None:
    client = EnvelopeClient(shared).begin()
    client.say(envelope)
    assert client.closed() == 3501
    until(lambda: "close" in notes(client, shared))


@pytest.mark.parametrize(("status", "code"), [(403, 4403), (429, 3013), (503, 4503)])
def test_a_refusal_is_a_close_code(shared: Server, status: int, code: int) -> None:
    client = EnvelopeClient(shared, query=f"&refuse={status}").open()
    client.hello()
    assert client.closed() == code
    client = EnvelopeClient(shared, "nowhere").open()
    client.hello()
    assert client.closed() == 4404


def test_what_the_gateway_refuses_is_an_http_status(shared: Server) -> None:
    with pytest.raises(InvalidStatus) as caught:
        connect(
            shared.url, proxy=None, origin="http://evil.example", subprotocols=["django-ws.v1"]
        ).__enter__()
    assert caught.value.response.status_code == 403


def test_auth_is_the_handlers(shared: Server) -> None:
    with EnvelopeClient(shared).begin(auth={"token": 5}) as client:
        number = client.call("r", "auth")
        assert client.next() == ["ok", number, {"token": 5}]


# ---------------------------------------------------------------- coming back


def test_a_session_is_had_back(shared: Server) -> None:
    client = EnvelopeClient(shared).begin()
    client.send("a")
    assert client.next() == ["m", "a"]
    client.send("nap 0.3")
    client.send("b")
    client.cut()
    until(lambda: shared.project.journal("message", who=client.who)[2:], what="b")
    id = client.welcome["id"]
    client.begin(query="&again=say")
    assert client.welcome["resumed"]
    assert client.welcome["id"] == id
    assert client.welcome["had"] == 3
    assert client.next() == ["m", "b"]
    assert client.next() == ["m", "welcome back"]
    client.send("c")
    assert client.next() == ["m", "c"]
    assert notes(client, shared) == [
        *("connect", "message", "message", "message", "resume", "message")
    ]
    client.close()
    until(lambda: "close" in notes(client, shared))
    client.begin()
    assert not client.welcome["resumed"]
    client.close()


def test_what_is_sent_again_is_handled_once(shared: Server) -> None:
    client = EnvelopeClient(shared).begin()
    number = client.call("r", {"nap": 0.2})
    client.cut()
    client.begin()
    assert client.welcome["had"] == 1
    client.say(["r", number, 0, {"nap": 0.2}])  # as a client does that had not heard of it
    client.sent = number
    assert client.next() == ["ok", number, {"nap": 0.2}]
    client.send("next")
    assert client.next() == ["m", "next"]
    assert notes(client, shared).count("request") == 1
    client.close()


def test_publications_meanwhile_come_first_and_once(shared: Server) -> None:
    client = EnvelopeClient(shared, query="&group=room-a").begin()
    kind, group, offset, epoch, recovered = client.next()
    assert [kind, group, recovered] == ["j", "room-a", True]
    publish(shared, "room-a", "1")
    assert client.next() == ["g", "room-a", offset + 1, epoch, "", "1"]
    client.cut()
    publish(shared, "room-a", "2", "3")
    client.begin()
    publish(shared, "room-a", "4")
    for number, text in enumerate("234", offset + 2):
        assert client.next() == ["g", "room-a", number, epoch, "", text]
    client.send("leave room-a")
    assert client.next() == ["l", "room-a"]
    client.close()


def test_what_was_published_since_the_page_was_made_comes_first(shared: Server) -> None:
    publish(shared, "room-b", "1", "2", "3")
    with EnvelopeClient(shared, query="&group=room-b").begin() as client:
        _, _, offset, epoch, _ = client.next()
    since = {"group": "room-b", "offset": offset - 2, "epoch": epoch}
    with EnvelopeClient(shared, query="&group=room-b").begin(since=[since]) as client:
        assert client.next() == ["j", "room-b", offset - 2, epoch, True]
        assert client.next() == ["h", "room-b", offset - 1, epoch, "", "2"]
        assert client.next() == ["h", "room-b", offset, epoch, "", "3"]
        publish(shared, "room-b", "4")
        assert client.next() == ["g", "room-b", offset + 1, epoch, "", "4"]
    nameless = {"offset": offset, "epoch": epoch}
    with EnvelopeClient(shared, query="&group=room-b").begin(since=[nameless]) as client:
        assert client.next() == ["j", "room-b", offset, epoch, True]
        assert client.next() == ["h", "room-b", offset + 1, epoch, "", "4"]


def test_a_history_that_does_not_reach_back_is_told(shared: Server) -> None:
    publish(shared, "room-c", *map(str, range(25)))
    with EnvelopeClient(shared, query="&group=room-c").begin() as client:
        _, _, offset, epoch, _ = client.next()
    for position in ({"offset": offset - 22, "epoch": epoch}, {"offset": 3, "epoch": "another"}):
        since = [{"group": "room-c", **position}]
        with EnvelopeClient(shared, query="&group=room-c").begin(since=since) as client:
            assert client.next() == ["j", "room-c", offset - 20, epoch, False]
            offsets = [client.next()[2] for _ in range(20)]
            assert offsets == list(range(offset - 19, offset + 1))


def test_more_history_than_may_wait_for_a_client(shared: Server) -> None:
    """Nothing else waits for a client that is about to be let in."""
    big = [f"{number:02} " + "x" * 20_000 for number in range(15)]  # MAX_PENDING is 200,000 here
    publish(shared, "room-big", *big)
    position = {"group": "room-big", "offset": 0, "epoch": "another"}
    with EnvelopeClient(shared, query="&group=room-big").begin(since=[position]) as client:
        kind, _, offset, epoch, _ = client.next()
        assert [kind, offset] == ["j", 0]
        for number, text in enumerate(big, 1):
            assert client.next() == ["h", "room-big", number, epoch, "", text]
            client.acknowledge()


def test_groups_without_history_count_nothing(shared: Server) -> None:
    since = [{"group": "plain", "offset": 0, "epoch": "any"}]
    with EnvelopeClient(shared, query="&group=plain").begin(since=since) as client:
        assert client.next() == ["j", "plain", 0, "", True]
        publish(shared, "plain", "text")
        assert client.next() == ["g", "plain", 0, "", "", "text"]


def test_a_session_has_one_holder(shared: Server) -> None:
    first = EnvelopeClient(shared).begin()
    second = EnvelopeClient(shared)
    second.url, second.token, second.had = first.url, first.token, first.had
    second.begin()
    assert second.welcome["resumed"]
    assert first.closed() == 3505
    second.send("mine")
    assert second.next() == ["m", "mine"]
    second.close()
    until(lambda: notes(first, shared).count("close") == 1)


@pytest.mark.parametrize(("again", "code"), [("false", 4403), ("418", 4418), ("raise", 4500)])
def test_a_handler_may_refuse_which_ends_the_session(shared: Server, again: str, code: int) -> None:
    client = EnvelopeClient(shared).begin()
    client.cut()
    client.open(f"&again={again}")
    client.hello(token=client.token, had=0)
    assert client.closed() == code
    until(lambda: "close" in notes(client, shared))
    client.begin()
    assert not client.welcome["resumed"]
    client.close()


def test_another_user_cannot_have_a_session(shared: Server) -> None:
    client = EnvelopeClient(shared, query="&user=ann").begin()
    client.cut()
    client.open("&user=bob")
    client.hello(token=client.token, had=0)
    assert client.closed() == 4403
    assert "resume" not in notes(client, shared)
    client.begin()
    assert client.welcome["resumed"]
    client.send("still here")
    assert client.next() == ["m", "still here"]
    client.close()


def test_a_token_is_good_where_its_session_began(shared: Server) -> None:
    client = EnvelopeClient(shared, "again").begin()
    client.cut()
    other = EnvelopeClient(shared)
    other.token = client.token
    other.begin()
    assert not other.welcome["resumed"]
    other.close()
    client.begin()
    assert client.welcome["resumed"]
    client.close()


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4001])
def test_a_client_that_closes_takes_its_session_along(shared: Server, code: int) -> None:
    client = EnvelopeClient(shared).begin()
    client.close(code)
    (note,) = until(lambda: shared.project.journal("close", who=client.who))
    assert note[4] == code


def test_a_client_that_has_heard_nothing_comes_back(shared: Server) -> None:
    client = EnvelopeClient(shared).begin()
    client.close(4000)
    client.begin()
    assert client.welcome["resumed"]
    client.close()


@pytest.mark.parametrize("code", [1000, 4001])
def test_a_handler_that_closes_ends_the_session(shared: Server, code: int) -> None:
    client = EnvelopeClient(shared).begin()
    client.send(f"close {code}")
    assert client.closed() == code
    until(lambda: "close" in notes(client, shared))
    client.begin()
    assert not client.welcome["resumed"]
    client.send("nap 0.2")
    client.send(f"close {code}")
    client.cut()
    until(lambda: notes(client, shared).count("close") == 2, what="a close while parked")


# ---------------------------------------------------------------- giving up


def test_too_much_for_a_client_that_is_away(shared: Server) -> None:
    client = EnvelopeClient(shared).begin()
    client.send("nap 0.3")
    client.send("flood 300")
    client.cut()
    until(lambda: "close" in notes(client, shared))
    client.begin()
    assert not client.welcome["resumed"]
    client.close()


def test_a_client_that_acknowledges_nothing_is_waited_for(shared: Server) -> None:
    with EnvelopeClient(shared).begin() as client:
        client.send("flood 400")
        for number in range(400):
            assert client.next()[1].startswith(f"{number:06} ")
            if number % 50 == 49:
                client.acknowledge()


def test_sessions_wait_so_long_and_so_many(tmp_path: Path) -> None:
    project = make(tmp_path, SESSION_TTL=1, MAX_PARKED=2, HANDSHAKE_TIMEOUT=0.5)
    try:
        server = Server(project)
        silent = EnvelopeClient(server).open()
        assert silent.closed() == 4408
        clients = [EnvelopeClient(server).begin() for _ in range(3)]
        for client in clients:
            client.cut()
        until(lambda: "close" in notes(clients[0], server), 0.9)
        clients[1].begin()
        assert clients[1].welcome["resumed"]
        until(lambda: "close" in notes(clients[2], server), 3)
        assert "close" not in notes(clients[1], server)
        clients[1].cut()
        server.stop()
        assert notes(clients[1], server).count("close") == 1
    finally:
        project.remove()


# ---------------------------------------------------------------- all modes


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "pool"])
def test_in_every_mode(project: Project, mode: str) -> None:
    server = Server(project, f"--{mode}")
    client = EnvelopeClient(server, query="&group=room").begin()
    assert client.next()[0] == "j"
    client.call("r", {"nap": 0.3})
    client.cut()
    client.begin(query="&again=say")
    assert client.welcome["resumed"]
    got = [client.next(), client.next()]
    assert got == [["ok", 1, {"nap": 0.3}], ["m", "welcome back"]]
    client.cut()
    client.open("&again=false")
    client.hello(token=client.token, had=client.had)
    assert client.closed() == 4403
    until(lambda: "close" in notes(client, server))
    server.stop()


# ---------------------------------------------------------------- processes go


def test_a_worker_is_replaced_meanwhile(server: Server) -> None:
    here = EnvelopeClient(server, query="&group=room").begin()
    away = EnvelopeClient(server, query="&group=room").begin()
    assert [here.next()[0], away.next()[0]] == ["j", "j"]
    away.cut()
    (old,) = server.workers()
    server.process.send_signal(signal.SIGHUP)
    until(lambda: old not in server.workers(), 20)
    publish(server, "room", "text")
    away.begin()
    assert away.welcome["resumed"]
    for client in (here, away):
        assert client.next()[-1] == "text"
        client.send("hello")
        assert client.next() == ["m", "hello"]
        client.close()
    until(lambda: len(server.project.journal("close")) >= 3)


@pytest.mark.parametrize("path", ["envelopes", "again"])
def test_a_worker_dies_meanwhile(server: Server, path: str) -> None:
    idle, busy = EnvelopeClient(server, path).begin(), EnvelopeClient(server, path).begin()
    busy.send("nap 1")
    until(lambda: server.project.journal("message", who=busy.who))
    for client in (idle, busy):
        client.cut()
    (old,) = server.workers()
    old.kill()
    until(lambda: old not in server.workers() and server.workers(), 20)
    idle.begin()
    assert idle.welcome["resumed"]
    busy.begin()
    assert busy.welcome["resumed"] == (path == "again")
    if path == "again":
        busy.until_handled(1)
    for client in (idle, busy):
        client.send("hello")
        assert client.next() == ["m", "hello"]
        client.close()


def test_a_worker_dies_over_the_question(server: Server) -> None:
    client = EnvelopeClient(server).begin()
    client.cut()
    (old,) = server.workers()
    old.suspend()
    client.open()
    client.hello(token=client.token, had=0)
    old.kill()
    kind, welcome = client.envelope(20)
    assert [kind, welcome["resumed"]] == ["welcome", True]
    assert notes(client, server) == ["connect", "resume"]
    client.close()


def test_another_gateway_knows_no_token(server: Server) -> None:
    client = EnvelopeClient(server, query="&group=room").begin()
    _, group, offset, epoch, _ = client.next()
    server.gateway().kill()
    client.closed()
    until(lambda: "close" in notes(client, server), 20)

    def back() -> bool:
        try:
            client.begin(since=[{"group": group, "offset": offset, "epoch": epoch}])
        except OSError:
            return False
        return True

    until(back, 20)
    assert not client.welcome["resumed"]
    kind, _, _, _, recovered = client.next()
    assert [kind, recovered] == ["j", False]
    client.close()
