"""Nothing that lets somebody in reaches a log, whatever becomes of the handshake."""

from __future__ import annotations

import logging

import pytest

from django_ws.gateway.sessions import Saturated, UnknownNamespace
from django_ws.wire.messages import Refuse

from .gateway_harness import Client, Gateway, connected, gateway, request

SECRET = "the-secret-that-lets-in"

#: What is wrong with a handshake, or only in it as well.
CHANGES: list[dict[str, str | None]] = [
    {},
    {"Origin": None},
    {"Origin": "http://evil"},
    {"Host": "evil"},
    {"Sec__WebSocket__Version": "7"},
    {"Sec__WebSocket__Key": "x"},
    {"Content__Length": "-1"},
    {"Sec__WebSocket__Protocol": f"token, {SECRET}"},
]


def handshakes(running: Gateway, path: str) -> None:
    """Every way in which a handshake with secrets may end."""
    secret = {"Cookie": f"sessionid={SECRET}", "Authorization": f"Bearer {SECRET}"}
    for changed in CHANGES:
        with Client(running.port) as client:
            client.send(request(running.port, path, **{**secret, **changed}))
            client.head()


@pytest.mark.parametrize("debug", [True, False])
def test_nothing_of_a_handshake_that_lets_in_is_logged(
    caplog: pytest.LogCaptureFixture, debug: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    with gateway(debug=debug, socketio=True) as running:
        for path in ("/socket/", "/nowhere/", "/socket.io/"):
            query = f"?EIO=4&transport=websocket&ticket={SECRET}&token={SECRET}"
            handshakes(running, path + query)
        for error in (Saturated, UnknownNamespace):
            running.registry.error = error
            with Client(running.port) as client:
                client.send(request(running.port, f"/socket/?ticket={SECRET}"))
                client.head()
        running.registry.error, running.registry.answer = None, Refuse(0, 401, "bad ticket")
        handshakes(running, f"/socket/?ticket={SECRET}")
    assert caplog.text
    assert SECRET not in caplog.text


def test_nor_of_what_comes_first(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with gateway(debug=True) as running:
        for hello in (f'["hello",{{"auth":{{"ticket":"{SECRET}"}},"token":"{SECRET}"}}]', SECRET):
            with connected(running, Sec__WebSocket__Protocol="django-ws.v1") as client:
                client.frame(1, hello.encode())
                client.read()
    assert SECRET not in caplog.text
