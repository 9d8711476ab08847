"""Which workers are let in, and what is said to those that are not."""

from __future__ import annotations

import logging

import pytest

from django_ws.gateway.introductions import REMEMBERED, Introductions
from django_ws.options import GatewayConfig
from django_ws.wire.messages import Hello

PUSH = "ipc:///run/shop/push"


def introductions(home: str = "/srv/shop settings") -> Introductions:
    return Introductions(
        GatewayConfig(
            project="shop", home=home, push_socket=PUSH, sub_socket="ipc:///run/shop/sub", host=""
        )
    )


def hello(endpoint: str = PUSH, home: str = "/srv/shop settings") -> Hello:
    return Hello(endpoint, link=1, pid=4711, started=0.0, namespaces={}, home=home)


@pytest.mark.parametrize("home", ["/srv/shop settings", ""])
@pytest.mark.parametrize("endpoint", [PUSH, f"{PUSH}.0123456789abcdef"])
def test_who_fits_is_let_in(home: str, endpoint: str, caplog: pytest.LogCaptureFixture) -> None:
    assert introductions().objection("w1", "shop", hello(endpoint, home)) is None
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("project", "said", "heard", "logged"),
    [
        ("blog", hello(), "this gateway serves 'shop'", "a worker of the project 'blog'"),
        (
            "shop",
            hello(home="/srv/blog settings"),
            "/srv/shop (settings 'settings')",
            "/srv/blog (settings 'settings')",
        ),
        (
            "shop",
            hello("tcp://evil.example:1"),
            f"not of {PUSH}",
            "a worker at tcp://evil.example:1",
        ),
    ],
)
def test_who_does_not_is_told_why_and_the_log_once(
    project: str, said: Hello, heard: str, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    known = introductions()
    for _ in range(2):
        objection = known.objection("w1", project, said)
        assert objection is not None
        assert heard in objection
    assert caplog.text.count("refused a worker") == 1
    assert logged in caplog.text
    # It may have been another one by that name.
    assert known.objection("w1", "shop", hello()) is None


def test_the_dead_stay_dead_as_long_as_they_are_remembered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    known = introductions()
    known.died("w1")
    assert known.objection("w1", "shop", hello()) == "it counts as dead here"
    assert caplog.text == ""
    for number in range(REMEMBERED):
        known.died(f"other{number}")
    assert known.objection("w1", "shop", hello()) is None
