"""Models that publish what becomes of their objects."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.utils.html import format_html

from django_ws import GatewayUnavailable, deferral
from django_ws.deferral import counters
from django_ws.live import live
from django_ws.outlet import set_outlet
from django_ws.testing import CapturedPublications, capture_publications


@live("teams", "team-{pk}")
class Team(Group):
    class Meta:
        proxy = True
        app_label = "auth"

    def live_message(self, change: str) -> object:
        if self.name == "secret":
            return None
        if self.name.startswith("html"):
            return format_html('<li id="team-{}">{}</li>', self.pk, self.name)
        return {"name": self.name, "change": change}


class Subteam(Team):
    class Meta:
        proxy = True
        app_label = "auth"


@live("plain")
class Plain(Group):
    class Meta:
        proxy = True
        app_label = "auth"


@live("html", method="live_html")
@live("json")
class Both(Group):
    class Meta:
        proxy = True
        app_label = "auth"

    def live_message(self, change: str) -> object:
        return {"name": self.name}

    def live_html(self, change: str) -> str:
        return format_html("<b>{}</b> {}", self.name, change)


@pytest.fixture
def published() -> Iterator[CapturedPublications]:
    with capture_publications() as captured:
        yield captured


def told(published: CapturedPublications) -> list[tuple[str, object]]:
    return [(each.group, each.data) for each in published]


@pytest.mark.django_db
def test_save_and_delete_publish_to_every_group(published: CapturedPublications) -> None:
    team = Team.objects.create(name="a")
    own = f"team-{team.pk}"
    team.name = "b"
    team.save()
    team.delete()
    assert told(published) == [
        ("teams", {"name": "a", "change": "created"}),
        (own, {"name": "a", "change": "created"}),
        ("teams", {"name": "b", "change": "updated"}),
        (own, {"name": "b", "change": "updated"}),
        ("teams", {"name": "b", "change": "deleted"}),
        (own, {"name": "b", "change": "deleted"}),
    ]


@pytest.mark.django_db
def test_html_goes_out_as_it_is(published: CapturedPublications) -> None:
    team = Team.objects.create(name="html <3")
    assert published[0].data == f'<li id="team-{team.pk}">html &lt;3</li>'


@pytest.mark.django_db
def test_decorated_twice_it_tells_groups_different_things(published: CapturedPublications) -> None:
    both = Both.objects.create(name="b")
    assert told(published) == [("json", {"name": "b"}), ("html", "<b>b</b> created")]
    both.delete()
    assert told(published)[2:] == [("json", {"name": "b"}), ("html", "<b>b</b> deleted")]


@pytest.mark.django_db
def test_none_publishes_nothing_and_without_the_method_the_key_is_told(
    published: CapturedPublications,
) -> None:
    Team.objects.create(name="secret")
    plain = Plain.objects.create(name="p")
    message = {"model": "auth.plain", "pk": plain.pk, "change": "created"}
    assert told(published) == [("plain", message)]


@pytest.mark.django_db
def test_subclasses_publish_once_and_deletions_of_many_do(published: CapturedPublications) -> None:
    Subteam.objects.create(name="s")
    Subteam.objects.filter(name="s").delete()
    changes = [each.data for each in published if each.group == "teams"]
    assert changes == [{"name": "s", "change": each} for each in ("created", "deleted")]


@pytest.mark.django_db
def test_others_and_bulk_operations_publish_nothing(published: CapturedPublications) -> None:
    Group.objects.create(name="g")
    Team.objects.bulk_create([Team(name="x")])
    Team.objects.filter(name="x").update(name="y")
    assert told(published) == []


@pytest.mark.django_db(transaction=True)
def test_it_waits_for_the_commit_and_a_rollback_drops_it(published: CapturedPublications) -> None:
    with transaction.atomic():
        Team.objects.create(name="a")
        transaction.set_rollback(True)
    with transaction.atomic():
        Team.objects.create(name="b")
        assert told(published) == []
    assert [each.data for each in published][:1] == [{"name": "b", "change": "created"}]


@pytest.mark.django_db(transaction=True)
def test_save_does_not_fail_for_want_of_a_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is logged once a second must not keep the next test's line back.
    monkeypatch.setattr(deferral, "_said", float("-inf"))

    class Nobody(CapturedPublications):
        def send(self, messages: object) -> None:
            raise GatewayUnavailable("none")

    before, lost = set_outlet(Nobody()), counters["publications_lost"]
    try:
        Team.objects.create(name="a")
    finally:
        set_outlet(before)
    assert Group.objects.filter(name="a").exists()
    assert counters["publications_lost"] == lost + 2


def test_a_group_is_needed() -> None:
    with pytest.raises(ValueError, match="needs a group"):
        live()
    with pytest.raises(TypeError, match="takes names of groups"):
        live(Group)  # type: ignore[arg-type]  # @live alone
    with pytest.raises(TypeError, match="is for models"):
        live("groups")(print)  # type: ignore[arg-type]


@pytest.mark.parametrize("group", ["a-{}", "a-{0}", "a-{", "a-}"])
def test_braces_that_name_nothing_are_refused_at_once(group: str) -> None:
    with pytest.raises(ValueError, match="name no attribute"):
        live(group)
