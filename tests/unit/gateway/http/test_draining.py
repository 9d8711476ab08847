"""How fast a gateway that stops closes its clients."""

from __future__ import annotations

import pytest

from django_ws.gateway.http.draining import pace


@pytest.mark.parametrize(
    ("clients", "spread", "seconds", "pause", "batch"),
    [
        (0, 0.0, 30.0, 0.01, 100),
        (1_000, 0.0, 30.0, 0.01, 100),
        (100_000, 0.0, 30.0, 0.01, 200),
        (100_000, 0.0, 3.0, 0.01, 1_000),
        (0, 5.0, 30.0, 5.0, 1),
        (1, 5.0, 30.0, 5.0, 1),
        (10, 5.0, 30.0, 0.5, 1),
        (10_000, 5.0, 30.0, 0.01, 20),
        (10_000, 60.0, 30.0, 0.01, 7),
        (10, 60.0, 0.0, 0.01, 10),
    ],
)
def test_the_pace_keeps_to_the_span(
    clients: int, spread: float, seconds: float, pause: float, batch: int
) -> None:
    assert pace(clients, spread, seconds) == (pause, batch)
