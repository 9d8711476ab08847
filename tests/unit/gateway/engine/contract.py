"""What any engine must do. A module that tests one has a fixture ``bench`` and inherits this.

An engine's answers may come late, so a test waits for each by :meth:`Bench.ask`, and for
deliveries by :meth:`Bench.heard`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from django_ws.gateway.engine.base import Done, Engine, Failure
from django_ws.wire.messages import (
    BINARY,
    TEXT,
    Expel,
    Position,
    Present,
    Publication,
    Publish,
    Recent,
)

#: What the engine of a bench must be made with. Seconds are what :meth:`Bench.pass_time` counts.
GROUPS: dict[str, dict[str, Any]] = {
    "kept-first": {"history_size": 1, "history_ttl": 60},
    "kept-*": {"history_size": 5, "history_ttl": 60},
    "who-*": {"presence": True},
    "loud-*": {"presence": True, "join_leave": True},
    "users-*": {"presence": True, "join_leave": "user"},
}


class Ears:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.publications: list[tuple[str, Publication, str]] = []
        self.messages: list[Publish | Expel] = []
        self.applies = 0
        self.gaps: list[str] = []
        self.missed_some = 0

    def published(self, group: str, publication: Publication, epoch: str, exclude: str) -> None:
        self.publications.append((group, publication, exclude))

    def missed(self, group: str, position: Position) -> None:
        self.gaps.append(group)

    def missed_spreads(self) -> None:
        self.missed_some += 1

    def spread(self, message: Publish | Expel) -> int:
        self.messages.append(message)
        return self.applies


class Bench(Protocol):
    """An engine with what a test needs around it."""

    engine: Engine
    ears: Ears

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Let the engine work until something holds; fails after a deadline."""

    def pass_time(self, seconds: float) -> None:
        """Let that time pass, and things expire."""

    def lose_memory(self) -> None:
        """The engine's memory is lost, as when its server is started anew without data."""


def ask(bench: Bench, operation: Callable[..., None], *args: Any, **options: Any) -> Any:
    """What an operation is answered."""
    answers: list[Any] = []
    done: Done[Any] = answers.append
    operation(*args, **options, done=done)
    bench.wait_for(lambda: bool(answers))
    assert len(answers) == 1
    assert not isinstance(answers[0], Failure)
    return answers[0]


def publish(bench: Bench, group: str, *texts: str) -> list[Position]:
    return [ask(bench, bench.engine.publish, group, TEXT, text.encode()) for text in texts]


def history(bench: Bench, group: str, since: Position | None = None, limit: int = 100) -> Recent:
    found = ask(bench, bench.engine.history, group, since, limit)
    assert isinstance(found, Recent)
    return found


def position(bench: Bench, group: str) -> Position:
    found = ask(bench, bench.engine.position, group)
    assert isinstance(found, Position)
    return found


def texts(publications: Sequence[Publication]) -> list[str]:
    return [publication.data.decode() for publication in publications]


def present(bench: Bench, group: str) -> list[str]:
    return [member.id for member in ask(bench, bench.engine.presence, group)]


def heard(bench: Bench, number: int) -> list[tuple[str, Publication, str]]:
    """So many publications, once they have come."""
    bench.wait_for(lambda: len(bench.ears.publications) >= number)
    assert len(bench.ears.publications) == number
    return bench.ears.publications


class Publications:
    def test_members_get_what_was_published(self, bench: Bench) -> None:
        bench.engine.subscribe("plain")
        bench.engine.publish(
            "plain", BINARY, b"\0data", event="moved", json=True, exclude="gateway-7"
        )
        ((group, publication, exclude),) = heard(bench, 1)
        assert (group, exclude) == ("plain", "gateway-7")
        assert (publication.opcode, publication.data) == (BINARY, b"\0data")
        assert (publication.event, publication.json) == ("moved", True)

    def test_they_come_in_the_order_of_the_calls(self, bench: Bench) -> None:
        bench.engine.subscribe("kept-1")
        for number in range(50):
            bench.engine.publish("kept-1", TEXT, b"%d" % number)
        publications = [publication for _, publication, _ in heard(bench, 50)]
        assert texts(publications) == [str(number) for number in range(50)]
        first = publications[0].offset
        assert [each.offset for each in publications] == list(range(first, first + 50))

    def test_without_history_offsets_are_0(self, bench: Bench) -> None:
        bench.engine.subscribe("plain")
        (answer,) = publish(bench, "plain", "a")
        assert answer.offset == 0
        assert position(bench, "plain").offset == 0
        assert heard(bench, 1)[0][1].offset == 0
        assert history(bench, "plain").publications == []
        assert not history(bench, "plain", answer).complete

    def test_what_concerns_all_gateways_reaches_this_one(self, bench: Bench) -> None:
        bench.ears.applies = 3
        message = Expel(0, "7", "", "", "", 4401, "logged out")
        assert ask(bench, bench.engine.spread, message) == 3
        assert bench.ears.messages == [message]


class History:
    def test_the_answer_is_the_publications_position(self, bench: Bench) -> None:
        bench.engine.subscribe("kept-1")
        before = position(bench, "kept-1")
        one, two = publish(bench, "kept-1", "a", "b")
        assert [one.offset, two.offset] == [before.offset + 1, before.offset + 2]
        assert one.epoch == two.epoch == before.epoch != ""
        assert position(bench, "kept-1") == two
        assert [each.offset for _, each, _ in heard(bench, 2)] == [one.offset, two.offset]

    def test_what_came_since_a_position(self, bench: Bench) -> None:
        start = position(bench, "kept-1")
        one, two = publish(bench, "kept-1", "a", "b")
        recent = history(bench, "kept-1", start)
        assert texts(recent.publications) == ["a", "b"]
        assert recent.complete
        assert recent.position == two
        assert texts(history(bench, "kept-1", one).publications) == ["b"]
        recent = history(bench, "kept-1", two)
        assert (recent.publications, recent.complete) == ([], True)

    def test_a_limit_takes_the_first_ones_since_a_position(self, bench: Bench) -> None:
        start = position(bench, "kept-1")
        publish(bench, "kept-1", "a", "b", "c")
        recent = history(bench, "kept-1", start, limit=2)
        assert texts(recent.publications) == ["a", "b"]
        assert recent.complete

    def test_a_limit_takes_the_newest_ones_without_a_position(self, bench: Bench) -> None:
        publish(bench, "kept-1", "a", "b", "c")
        recent = history(bench, "kept-1", limit=2)
        assert texts(recent.publications) == ["b", "c"]
        assert history(bench, "kept-1", limit=0).publications == []

    def test_no_more_is_kept_than_the_pattern_says(self, bench: Bench) -> None:
        start = position(bench, "kept-1")
        publish(bench, "kept-1", *"abcdefg")
        recent = history(bench, "kept-1", start)
        assert texts(recent.publications) == list("cdefg")
        assert not recent.complete  # a and b are gone

    def test_nothing_is_missing_as_long_as_the_next_one_is_kept(self, bench: Bench) -> None:
        one, two, *_ = publish(bench, "kept-1", *"abcdefg")
        assert not history(bench, "kept-1", one).complete
        assert history(bench, "kept-1", two).complete
        assert texts(history(bench, "kept-1", two).publications) == list("cdefg")

    def test_the_first_pattern_that_matches_counts(self, bench: Bench) -> None:
        publish(bench, "kept-first", "a", "b")
        assert texts(history(bench, "kept-first").publications) == ["b"]

    def test_groups_are_apart(self, bench: Bench) -> None:
        publish(bench, "kept-1", "a")
        publish(bench, "kept-2", "b")
        assert texts(history(bench, "kept-1").publications) == ["a"]

    def test_publications_expire(self, bench: Bench) -> None:
        publish(bench, "kept-1", "a")
        bench.pass_time(40)
        (two,) = publish(bench, "kept-1", "b")
        bench.pass_time(40)
        assert texts(history(bench, "kept-1").publications) == ["b"]
        bench.pass_time(61)
        recent = history(bench, "kept-1", two)
        assert recent.publications == []

    def test_a_position_outlives_what_was_published(self, bench: Bench) -> None:
        bench.engine.subscribe("kept-1")
        (one,) = publish(bench, "kept-1", "a")
        bench.pass_time(200)
        recent = history(bench, "kept-1", one)
        assert (recent.publications, recent.complete) == ([], True)
        (two,) = publish(bench, "kept-1", "b")
        assert two == Position(one.offset + 1, one.epoch)

    def test_a_position_that_was_told_is_exact_for_the_ttl(self, bench: Bench) -> None:
        publish(bench, "kept-other", *"abcdefgh")
        start = position(bench, "kept-1")
        bench.pass_time(50)
        publish(bench, "kept-1", "a")
        recent = history(bench, "kept-1", start)
        assert texts(recent.publications) == ["a"]
        assert recent.complete

    def test_offsets_never_come_twice_under_one_epoch(self, bench: Bench) -> None:
        last = publish(bench, "kept-1", *"abcdefgh")[-1]
        bench.pass_time(200)  # nobody is in it: it may be forgotten
        publish(bench, "kept-2", "z")
        again = publish(bench, "kept-1", "i")[0]
        assert again.epoch != last.epoch or again.offset > last.offset
        recent = history(bench, "kept-1", last)
        assert texts(recent.publications) == ["i"]

    def test_what_was_missed_while_a_group_was_forgotten_is_not_denied(self, bench: Bench) -> None:
        (one,) = publish(bench, "kept-1", "a")
        bench.pass_time(40)
        publish(bench, "kept-1", "missed")
        bench.pass_time(200)
        assert not history(bench, "kept-1", one).complete
        publish(bench, "kept-1", "b")
        assert not history(bench, "kept-1", one).complete

    def test_another_memory_has_another_epoch(self, bench: Bench) -> None:
        (one,) = publish(bench, "kept-1", "a")
        bench.lose_memory()
        assert position(bench, "kept-1").epoch != one.epoch
        (two,) = publish(bench, "kept-1", "b")
        recent = history(bench, "kept-1", one)
        assert not recent.complete
        assert texts(recent.publications) == ["b"]
        assert recent.position == two

    def test_a_position_from_nowhere_is_not_taken_for_one(self, bench: Bench) -> None:
        (one,) = publish(bench, "kept-1", "a")
        for since in (Position(one.offset + 5, one.epoch), Position(-1, one.epoch)):
            assert not history(bench, "kept-1", since).complete


def member(id: str, user: str = "", info: bytes = b"") -> Present:
    return Present(id, user, 1000.0, info)


class Presence:
    def test_who_is_there(self, bench: Bench) -> None:
        bench.engine.enter("who-1", member("g-1", "7", b'{"name":"Ann"}'))
        bench.engine.enter("who-1", member("g-2"))
        found = ask(bench, bench.engine.presence, "who-1")
        assert found == [Present("g-1", "7", 1000.0, b'{"name":"Ann"}'), member("g-2")]
        bench.engine.leave("who-1", "g-1")
        assert present(bench, "who-1") == ["g-2"]
        bench.engine.leave("who-1", "g-2")
        bench.engine.leave("who-1", "g-2")
        assert present(bench, "who-1") == []

    def test_another_info_keeps_since_and_place(self, bench: Bench) -> None:
        bench.engine.enter("who-1", member("g-1"))
        bench.engine.enter("who-1", member("g-2"))
        bench.engine.enter("who-1", Present("g-1", "", 2000.0, b'{"busy":true}'))
        found = ask(bench, bench.engine.presence, "who-1")
        assert found[0] == Present("g-1", "", 1000.0, b'{"busy":true}')
        assert len(found) == 2

    def test_none_is_kept_where_no_pattern_says_so(self, bench: Bench) -> None:
        bench.engine.enter("plain", member("g-1"))
        assert present(bench, "plain") == []

    def test_nobody_is_told_unless_asked_for(self, bench: Bench) -> None:
        bench.engine.subscribe("who-1")
        bench.engine.enter("who-1", member("g-1"))
        bench.engine.leave("who-1", "g-1")
        publish(bench, "who-1", "end")
        assert texts([each for _, each, _ in heard(bench, 1)]) == ["end"]

    def test_the_others_hear_who_joins_and_leaves(self, bench: Bench) -> None:
        bench.engine.subscribe("loud-1")
        bench.engine.enter("loud-1", member("g-1", "7", b'{"name":"Ann"}'))
        bench.engine.enter("loud-1", member("g-2", "7"))
        bench.engine.enter("loud-1", member("g-2", "7", b'{"busy":true}'))  # no news
        bench.engine.leave("loud-1", "g-1")
        bench.engine.leave("loud-1", "g-1")
        told = heard(bench, 3)
        assert [(each.event, exclude) for _, each, exclude in told] == [
            ("join", "g-1"),
            ("join", "g-2"),
            ("leave", "g-1"),
        ]
        ann = told[0][1]
        assert json.loads(ann.data) == {"id": "g-1", "user": "7", "info": {"name": "Ann"}}
        assert (ann.json, ann.offset) == (True, 0)
        assert json.loads(told[1][1].data)["info"] is None

    def test_once_per_user_if_the_pattern_says_so(self, bench: Bench) -> None:
        bench.engine.subscribe("users-1")
        for id in ("g-1", "g-2"):
            bench.engine.enter("users-1", member(id, "7"))
        bench.engine.enter("users-1", member("g-3", "8"))
        for id in ("g-1", "g-3", "g-2"):
            bench.engine.leave("users-1", id)
        told = [(each.event, json.loads(each.data)["user"]) for _, each, _ in heard(bench, 4)]
        assert told == [("join", "7"), ("join", "8"), ("leave", "8"), ("leave", "7")]

    def test_strangers_are_not_one_user(self, bench: Bench) -> None:
        bench.engine.subscribe("users-1")
        bench.engine.enter("users-1", member("g-1"))
        bench.engine.enter("users-1", member("g-2"))
        bench.engine.leave("users-1", "g-1")
        assert [each.event for _, each, _ in heard(bench, 3)] == ["join", "join", "leave"]
