"""What is remembered of the last minute."""

from __future__ import annotations

from django_ws.gateway.recent import Recent


def test_words_are_remembered_for_a_time() -> None:
    now = 0.0
    recent = Recent(10, lambda: now)
    recent.add("a", 1)
    now = 9.9
    recent.add("b", 2)
    assert [recent.find(word) for word in "abc"] == [1, 2, None]
    now = 10.0
    assert [recent.find(word) for word in "ab"] == [None, 2]
    recent.add("b", 3)
    now = 19.95
    assert recent.find("b") == 3


def test_of_too_many_the_oldest_are_forgotten() -> None:
    recent = Recent(10, lambda: 0.0, limit=3)
    for word in ["a", "b", "a", "c", "d"]:
        recent.add(word)
    assert [word for word in "abcd" if recent.find(word) is not None] == ["a", "c", "d"]


def test_what_is_too_old_takes_no_room() -> None:
    now = 0.0
    recent = Recent(1, lambda: now)
    for number in range(1000):
        now = number / 10
        recent.add(str(number))
    assert len(recent._found) <= 11
