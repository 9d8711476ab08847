"""Clients of Socket.IO that tell which session they had: who gets it back, and who a new one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from django_ws.gateway.returning import Returning
from django_ws.wire.codec import decode_handshake
from django_ws.wire.messages import TEXT, Resumed
from tests.integration.gateway_harness import FakeSession, Gateway, gateway, wait_until
from tests.integration.test_gateway_engineio import Kind, Polled, kind

__all__ = ["kind"]


@contextlib.contextmanager
def serving(**limits: Any) -> Iterator[Gateway]:
    with gateway(
        {"message_rate": 0, "close_timeout": 0.3, **limits},
        socketio=True,
        socketio_recovery=True,
    ) as server:
        yield server


def enter(client: Any, path: str = "/", **auth: object) -> dict[str, str]:
    """Connect a namespace; what the client is told."""
    client.send(f"40{path}," + json.dumps(auth))
    packet = client.receive().decode()
    assert packet.startswith("40"), packet
    told: dict[str, str] = json.loads(packet[packet.index("{") :])
    return told


def send(server: Gateway, text: bytes, session: FakeSession | None = None) -> None:
    client = (session or server.session).client
    server.call(lambda: client.send(TEXT, text))


def heard(client: Any, text: str) -> str:
    """Hear a message; its offset."""
    packet = client.receive().decode()
    name, value, offset = json.loads(packet[packet.index("[") :])
    assert (name, value) == ("message", text)
    return str(offset)


def test_a_client_that_was_cut_off_is_back(kind: Kind) -> None:
    with serving() as server:
        first = kind(server)
        told = enter(first, "/", mine=1)
        send(server, b"1")
        offset = heard(first, "1")
        send(server, b"2")
        heard(first, "2")
        first.close()
        second = kind(server)
        assert enter(second, "/", pid=told["pid"], offset=offset, mine=1) == told
        assert heard(second, "2") != offset
        send(server, b"3")
        heard(second, "3")
        second.send('42["event"]')
        wait_until(lambda: server.session.called == [("event", b"[]", [])])
        second.send("41")
        assert server.ended() == (1000, "")


def test_handlers_do_not_see_what_brings_a_client_back(kind: Kind) -> None:
    asked: list[Returning] = []
    with serving() as server:
        answer = server.registry.on_question

        def note(session: FakeSession, question: Returning) -> None:
            asked.append(question)
            answer(session, question)

        server.registry.on_question = note  # type: ignore[method-assign]
        client = kind(server)
        told = enter(client, "/", pid="of another server", offset="x", mine=1)
        assert json.loads(server.session.handshake.auth) == {"mine": 1}
        assert enter(kind(server), "/", pid=told["pid"], mine=2) == told
        (question,) = asked
        assert json.loads(decode_handshake(question.handshake).auth) == {"mine": 2}
        assert server.session.withdrawn == asked


def test_the_one_who_comes_back_holds_the_session(kind: Kind) -> None:
    with serving() as server:
        first = kind(server)
        told = enter(first)
        second = kind(server)
        assert enter(second, pid=told["pid"]) == told
        assert first.receive() == b"41"
        if isinstance(first, Polled):
            assert first.get() == (200, b"1")
        assert first.ended()
        assert server.session.ended == []
        send(server, b"1")
        heard(second, "1")


@pytest.mark.parametrize(
    "auth",
    [
        {"pid": "another"},
        {"pid": "PID", "offset": "MARK-3"},
        {"pid": "PID", "offset": "MARK-x"},
        {"pid": 5},
        {"pid": None, "offset": {}},
        {"pid": ["PID"]},
        {"offset": "MARK-1"},
    ],
)
def test_who_knows_no_session_gets_a_new_one(kind: Kind, auth: dict[str, object]) -> None:
    with serving() as server:
        first = kind(server)
        told = enter(first)
        send(server, b"1")
        mark = heard(first, "1").rpartition("-")[0]
        text = json.dumps(auth).replace("PID", told["pid"]).replace("MARK", mark)
        second = kind(server)
        new = enter(second, **json.loads(text))
        assert (new["sid"] == told["sid"], new["pid"] == told["pid"]) == (False, False)
        assert len(server.registry.sessions) == 2
        send(server, b"first of this", server.registry.sessions[1])
        # The library tells the last offset that it has heard, whosever it was.
        heard(second, "first of this")
        assert enter(kind(server), pid=new["pid"], offset=f"{mark}-1") == new


def test_a_session_is_its_namespaces(kind: Kind) -> None:
    with serving() as server:
        told = enter(kind(server), "/one")
        assert enter(kind(server), "/two", pid=told["pid"])["pid"] != told["pid"]
        assert enter(kind(server), "/one", pid=told["pid"]) == told


def test_a_handler_may_refuse(kind: Kind) -> None:
    with serving() as server:
        told = enter(kind(server))
        server.registry.on_question = lambda session, question: question.answered(  # type: ignore[method-assign]
            Resumed(session.conn, question.number, 403, "not you", False)
        )
        client = kind(server)
        client.send("40" + json.dumps({"pid": told["pid"]}))
        refused = json.loads(client.receive()[2:])
        assert refused == {"message": "not you", "data": {"status": 403}}
        assert server.session.ended == []


def test_where_nobody_can_be_asked_there_is_a_new_one(kind: Kind) -> None:
    with serving() as server:
        told = enter(kind(server))
        server.registry.on_question = lambda _, question: question.lapse()  # type: ignore[method-assign]
        assert enter(kind(server), pid=told["pid"])["pid"] != told["pid"]
        assert server.registry.sessions[0].ended == [(1006, "no worker can take it up again")]


def test_one_of_two_who_come_back_at_once_gets_it(kind: Kind) -> None:
    questions: list[Returning] = []
    with serving() as server:
        told = enter(kind(server))

        def ask(session: FakeSession, question: Returning) -> None:
            if questions:
                questions[-1].lapse(replaced=True)
            questions.append(question)

        server.registry.on_question = ask  # type: ignore[method-assign]
        loser, winner = kind(server), kind(server)
        for number, client in enumerate((loser, winner), 1):
            client.send("40" + json.dumps({"pid": told["pid"]}))
            wait_until(lambda number=number: len(questions) == number)
        assert json.loads(loser.receive()[2:])["data"] == {"status": 409}
        server.call(lambda: questions[1].answered(Resumed(1, questions[1].number, 0, "", False)))
        assert json.loads(winner.receive()[2:]) == told


def test_who_leaves_while_it_is_asked_about_gets_nothing(kind: Kind) -> None:
    questions: list[Returning] = []
    with serving() as server:
        told = enter(kind(server))
        server.registry.on_question = lambda _, question: questions.append(question)  # type: ignore[method-assign]
        client = kind(server)
        client.send("40" + json.dumps({"pid": told["pid"]}))
        wait_until(lambda: questions)
        client.send("41")
        wait_until(lambda: server.session.withdrawn == questions)
        assert server.session.ended == []
        assert len(server.registry.sessions) == 1


def test_without_the_setting_there_is_no_pid(kind: Kind) -> None:
    with gateway({"message_rate": 0}, socketio=True) as server:
        client = kind(server)
        assert enter(client, "/", pid="any", offset="x").keys() == {"sid"}
        assert json.loads(server.session.handshake.auth) == {"pid": "any", "offset": "x"}
        send(server, b"1")
        assert client.receive() == b'42["message","1"]'
        client.send("41")
        assert server.ended() == (1000, "")
