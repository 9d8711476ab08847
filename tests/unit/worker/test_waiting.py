"""What a worker says while it has no gateway."""

from __future__ import annotations

import pytest

from django_ws.worker.waiting import AGAIN, PATIENCE, GatewayWait


class Socket:
    endpoint = "ipc:///run/sub"
    refusal = ""


@pytest.fixture
def socket() -> Socket:
    return Socket()


def test_a_gateway_that_comes_in_time_is_no_news(
    socket: Socket, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = GatewayWait(socket)
    for now in (100.0, 100.0 + PATIENCE - 0.1):
        waiting.note(False, now)
    waiting.note(True, 100.0 + PATIENCE)
    waiting.note(False, 200.0)
    assert caplog.messages == []


def test_after_a_while_it_asks_and_rarely_again(
    socket: Socket, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = GatewayWait(socket)
    for tenth in range(int(PATIENCE) * 20):
        waiting.note(False, 100.0 + tenth / 10)
    (message,) = caplog.messages
    assert "no gateway has answered at ipc:///run/sub for 5 s; does one run" in message
    waiting.note(False, 200.0 + AGAIN)
    assert len(caplog.messages) == 2


def test_what_is_refused_is_said_at_once(socket: Socket, caplog: pytest.LogCaptureFixture) -> None:
    waiting = GatewayWait(socket)
    socket.refusal = "it belongs to another user"
    waiting.note(False, 100.0)
    waiting.note(False, 101.0)
    assert caplog.messages == ["it belongs to another user"]


def test_a_cut_is_taken_once(socket: Socket) -> None:
    waiting = GatewayWait(socket)
    assert not waiting.take_lost()
    waiting.lost = True
    assert waiting.take_lost()
    assert not waiting.take_lost()
