"""Bodies in memory: how many bytes, and how slowly they may come."""

from __future__ import annotations

import pytest

from django_ws.gateway.http import bodies
from django_ws.gateway.http.bodies import Body, Held, Unacceptable


def receive(body: Body, size: int) -> None:
    body.received += size
    body.keep(bytes(size))


def test_what_is_taken_is_not_held() -> None:
    held = Held()
    one, other = Body(10, held), Body(None, held)
    receive(one, 4)
    receive(other, 3)
    assert held.size == 7
    assert one.take() == bytes(4)
    assert one.take() == b""
    assert held.size == 3


def test_a_body_is_awaited_elsewhere_once_a_good_part_is_there() -> None:
    body = Body(10 * bodies.AHEAD, Held())
    receive(body, bodies.AHEAD - 1)
    assert not body.suffices
    receive(body, 1)
    assert body.suffices


@pytest.mark.parametrize("length", [None, bodies.AHEAD])
def test_a_body_that_is_there_or_has_no_length_is_awaited_here(length: int | None) -> None:
    body = Body(length, Held())
    receive(body, bodies.AHEAD)
    assert not body.suffices


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_CHUNKED", 10)
    monkeypatch.setattr(bodies, "MAX_HELD", 20)
    held = Held()
    body = Body(None, held)
    receive(body, 10)
    with pytest.raises(Unacceptable) as one_too_long:
        receive(body, 1)
    assert one_too_long.value.status == 413
    body.take()
    other = Body(100, held)
    receive(other, 20)
    with pytest.raises(Unacceptable) as all_too_long:
        receive(other, 1)
    assert all_too_long.value.status == 503


def test_a_body_goes_on_or_is_late() -> None:
    body = Body(10 * bodies.PACE, Held())
    assert not body.is_late()  # it has just begun
    body.received += bodies.PACE
    assert not body.is_late()
    body.received += bodies.PACE - 1
    assert body.is_late()
