"""What the start-up text says."""

from __future__ import annotations

from io import StringIO

import pytest
from django.conf import LazySettings
from django.core.management.base import BaseCommand

from django_ws import conf
from django_ws.management.screen import Screen

HANDLER = "tests.handlers.Echo"


def said(host: str = "127.0.0.1", port: int = 8000, verbosity: int = 1, **flags: object) -> str:
    command = BaseCommand(stdout=StringIO(), stderr=StringIO(), no_color=True)
    Screen(command, conf.load(flags), verbosity).ready(host, port)
    return command.stdout.getvalue()  # type: ignore[attr-defined, no-any-return]


def addresses(**options: object) -> list[str]:
    text = said(**options)  # type: ignore[arg-type]
    return [line for line in text.splitlines() if line.startswith(("WebSockets", "Pages"))]


def test_it_says_where_each_namespace_is(settings: LazySettings) -> None:
    settings.DEFAULT_WS_HANDLERS = {
        "default": HANDLER,
        "chat": {"handler": HANDLER, "url": "ws/chat/<slug:room>/"},
        "news": {"handler": HANDLER, "url": "ws/news/"},
    }
    assert addresses() == [
        "WebSockets at ws://127.0.0.1:8000/socket",
        "WebSockets at ws://127.0.0.1:8000/ws/chat/<slug:room>/ (chat)",
        "WebSockets at ws://127.0.0.1:8000/ws/news/ (news)",
    ]


def test_nothing_is_said_of_an_address_that_serves_nobody(settings: LazySettings) -> None:
    settings.DEFAULT_WS_HANDLERS = {"chat": {"handler": HANDLER, "url": "ws/chat/"}}
    assert addresses(wsgi=True) == [
        "WebSockets at ws://127.0.0.1:8000/ws/chat/ (chat)",
        "Pages at http://127.0.0.1:8000/",
    ]


def test_another_expression_and_an_ipv6_address(settings: LazySettings) -> None:
    settings.DEFAULT_WS_HANDLERS = {"default": HANDLER}
    found = addresses(host="::1", websocket_url="/live/?")
    assert found == ["WebSockets at ws://[::1]:8000, paths /live/?"]


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({}, "1 worker, mode pool of at most 256 threads"),
        (
            {"workers": 2, "mode": "threaded", "reload": True},
            "2 workers, mode threaded, replaced when code changes",
        ),
    ],
)
def test_it_says_what_runs_the_handlers(flags: dict[str, object], line: str) -> None:
    assert line in said(**flags).splitlines()  # type: ignore[arg-type]


def test_no_address_without_a_gateway_and_nothing_at_verbosity_0() -> None:
    assert "WebSockets" not in said(port=0)
    assert said(verbosity=0) == ""


def test_what_does_not_start_goes_to_standard_error() -> None:
    command = BaseCommand(stdout=StringIO(), stderr=StringIO(), no_color=True)
    Screen(command, conf.load({}), 0).failed("SyntaxError")
    text = command.stderr.getvalue()  # type: ignore[attr-defined]
    assert text.startswith("SyntaxError\n\nThis could not be started")


class Gone(StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_nobody_needs_to_read_it() -> None:
    command = BaseCommand(stdout=Gone(), stderr=StringIO())  # type: ignore[arg-type]
    Screen(command, conf.load({}), 1).ready("127.0.0.1", 8000)
