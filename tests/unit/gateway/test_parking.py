"""Sessions that wait for their clients: how long, how many, and who is given up."""

from __future__ import annotations

from collections import Counter

import pytest

from django_ws.gateway.parking import Parking
from tests.unit.gateway.fakes import FakeLoop


class Guest:
    def __init__(self, parking: Parking, token: str, address: str = "") -> None:
        self.parking, self.token, self.end = parking, token, ""
        self.address = address or token
        parking.admit(token, self)

    def give_up(self, reason: str) -> None:
        assert not self.end
        self.end = reason
        self.parking.forget(self.token)


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


def parking(loop: FakeLoop, ttl: float = 60.0, most: int = 0, per_address: int = 0) -> Parking:
    return Parking(loop, ttl, most, per_address, Counter())  # type: ignore[arg-type]


def test_each_waits_as_long_as_any(loop: FakeLoop) -> None:
    place = parking(loop)
    first, second = Guest(place, "a"), Guest(place, "b")
    assert place.park("a")
    loop.advance(30)
    assert place.park("b")
    loop.advance(29)
    assert not first.end
    loop.advance(2)
    assert first.end == "the client did not come back"
    assert place.find("a") is None
    assert not second.end
    loop.advance(30)
    assert second.end
    assert len(place) == 0
    assert not [timer for timer in loop.timers if not timer.cancelled]


def test_who_comes_back_is_not_given_up(loop: FakeLoop) -> None:
    place = parking(loop)
    guest = Guest(place, "a")
    place.park("a")
    loop.advance(59)
    place.unpark("a")
    loop.advance(10)
    assert place.find("a") is guest
    assert not guest.end
    place.park("a")
    loop.advance(59)
    assert not guest.end
    loop.advance(2)
    assert guest.end


def test_one_too_many_and_the_oldest_is_given_up(loop: FakeLoop) -> None:
    place = parking(loop, most=2)
    guests = [Guest(place, str(number)) for number in range(3)]
    for guest in guests:
        assert place.park(guest.token)
    assert [bool(guest.end) for guest in guests] == [True, False, False]
    assert len(place) == 2


def test_one_that_is_in_the_middle_of_something_is_given_up_behind_it(loop: FakeLoop) -> None:
    place = parking(loop)
    guest, back = Guest(place, "a"), Guest(place, "b")
    for token in "ab":
        place.park(token)
        place.give_up_soon(token, "too much")
    place.unpark("b")
    assert not guest.end
    loop.run()
    assert guest.end == "too much"
    assert not back.end


def test_without_a_time_nobody_waits(loop: FakeLoop) -> None:
    place = parking(loop, ttl=0)
    Guest(place, "a")
    assert not place.park("a")


def test_at_the_end_all_are_given_up_and_nobody_waits_any_more(loop: FakeLoop) -> None:
    place = parking(loop)
    parked, connected = Guest(place, "a"), Guest(place, "b")
    place.park("a")
    place.close()
    assert parked.end == "server shutting down"
    assert not connected.end
    assert not place.park("b")


def test_one_address_drives_out_only_its_own(loop: FakeLoop) -> None:
    place = parking(loop, per_address=2)
    other = Guest(place, "other", "b")
    guests = [Guest(place, f"a{number}", "a") for number in range(4)]
    place.park("other")
    for guest in guests[:3]:
        place.park(guest.token)
    assert [guest.end for guest in guests[:3]] == [
        "too many sessions wait for clients at one address", "", ""
    ]  # fmt: skip
    place.unpark("a1")
    place.park("a3")
    assert [each.end for each in (other, guests[1], guests[2])] == ["", "", ""]
    assert len(place) == 3
