"""How much of what is on its way leaves in one turn."""

from __future__ import annotations

from django_ws.gateway.deliveries import OVERHEAD, Deliveries, Turn
from django_ws.gateway.shared import Shared
from django_ws.wire.messages import BINARY


class Member:
    def __init__(self) -> None:
        self.got: list[bytes] = []

    def send_shared(self, message: Shared) -> None:
        self.got.append(message.data)


def message(data: bytes) -> Shared:
    return Shared("group", BINARY, data)


def test_a_turn_ends_with_its_deliveries_or_its_bytes() -> None:
    assert Turn(10, 10**6).take(3, 1) == 3
    assert Turn(2, 10**6).take(3, 1) == 2
    # The last one may go beyond the bytes, else a large message would never leave.
    assert Turn(10, OVERHEAD + 1).take(3, OVERHEAD) == 1
    turn = Turn(10, 2 * OVERHEAD)
    assert turn.take(5, 0) == 2
    assert turn.over
    assert turn.take(1, 0) == 0


def test_what_is_spent_otherwise_counts() -> None:
    turn = Turn(3, 1000)
    turn.spend(2, 0)
    assert not turn.over
    assert turn.take(5, 0) == 1


def test_messages_leave_in_order_over_several_turns() -> None:
    deliveries, members = Deliveries(), [Member() for _ in range(3)]
    deliveries.add(message(b"a"), members)
    deliveries.add(message(b"b"), members[:2])
    deliveries.add(message(b"to nobody"), [])
    assert not deliveries.deliver(Turn(2, 10**6))
    assert [member.got for member in members] == [[b"a"], [b"a"], []]
    assert not deliveries.deliver(Turn(2, 10**6))
    assert [member.got for member in members] == [[b"a", b"b"], [b"a"], [b"a"]]
    assert deliveries.deliver(Turn(2, 10**6))
    assert members[1].got == [b"a", b"b"]
    assert not deliveries.waiting
