"""What pages get by ``{% load django_ws %}``; ``ws_url`` and ``ws_ticket`` are tested elsewhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.staticfiles import finders
from django.template import Context, Template, TemplateSyntaxError

from django_ws import publishing
from django_ws.exceptions import GatewayUnavailable
from django_ws.publications import Position


@pytest.fixture(autouse=True)
def positions(monkeypatch: pytest.MonkeyPatch) -> dict[str, Position]:
    """What the gateway says of groups; without one it is not there."""
    known = {"room-1": Position(17, "e"), "</script>&": Position(3, "e")}

    def position(group: str) -> Position:
        if group not in known:
            raise GatewayUnavailable("no gateway")
        return known[group]

    monkeypatch.setattr(publishing, "position", position)
    return known


def render(tag: str, **context: object) -> str:
    return Template("{% load django_ws %}{% " + tag + " %}").render(Context(context))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("here", {"offset": 5, "epoch": "f"}),
        ('"room-1"', {"group": "room-1", "offset": 17, "epoch": "e"}),
        (
            'here "room-1"',
            [{"offset": 5, "epoch": "f"}, {"group": "room-1", "offset": 17, "epoch": "e"}],
        ),
        ("pairs", {"group": "room-2", "offset": 5, "epoch": "f"}),
        ("nothing", []),
    ],
)
def test_a_position_is_what_since_takes(arguments: str, expected: Any) -> None:
    here = Position(5, "f")
    page = render(f"ws_position {arguments}", here=here, pairs=[("room-2", here)], nothing=[])
    assert json.loads(page) == expected


def test_it_ends_no_script(positions: dict[str, Position]) -> None:
    page = render("ws_position name", name="</script>&")
    assert not set(page) & set("<>&")
    assert json.loads(page)["group"] == "</script>&"


def test_without_a_gateway_the_page_will_hear_that_something_may_be_missing() -> None:
    assert json.loads(render('ws_position "room-9"'))["epoch"] == "unknown"


def test_other_things_are_no_positions() -> None:
    with pytest.raises(TemplateSyntaxError, match="not 5"):
        render("ws_position 5")


def test_the_client_is_a_static_file(settings: LazySettings) -> None:
    settings.STATIC_URL = "/static/"
    assert render("ws_client_url") == "/static/django_ws/client.min.js"
    assert finders.find("django_ws/client.min.js")
