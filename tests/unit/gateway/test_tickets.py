"""Used tickets are remembered for as long as they are good."""

from __future__ import annotations

from django_ws.gateway.tickets import UsedTickets


def test_a_ticket_is_good_once_and_forgotten_when_it_is_over() -> None:
    now = 100.0
    tickets = UsedTickets(lambda: now, limit=2)
    assert tickets.use("a", 110)
    assert not tickets.use("a", 110)
    assert tickets.use("b", 105)
    assert not tickets.use("c", 120)  # no room to remember it
    now = 105.0
    assert tickets.use("c", 120)
    assert not tickets.use("b", 105)  # forgotten, but over
    assert not tickets.use("a", 110)
