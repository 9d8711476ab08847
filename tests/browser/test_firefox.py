"""What a visitor with Firefox sees."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest

from tests.missing import missing

from .conftest import StartDemo
from .demo import Demo
from .firefox import Firefox, Tab, run_firefox


@pytest.fixture(scope="module")
def firefox() -> Iterator[Firefox]:
    names = ("firefox-esr", "firefox")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        missing(f"none of {', '.join(names)} is installed")
    with run_firefox(executable) as firefox:
        yield firefox


@pytest.fixture
def tab(firefox: Firefox) -> Tab:
    return firefox.new_tab()


def say(tab: Tab, text: str) -> None:
    tab.evaluate(
        f"(document.querySelector('#text').value = {json.dumps(text)},"
        " document.querySelector('#say button').click(), true)"
    )


def wait_for_lines(tab: Tab, *lines: str) -> None:
    """Wait until just these are said."""
    said = "[...document.querySelectorAll('#messages span')].map((each) => each.textContent)"
    tab.wait_for(
        f"JSON.stringify({said}) === {json.dumps(json.dumps(lines, separators=(',', ':')))}"
    )


@pytest.mark.parametrize("demo", ["pool"], indirect=True)
def test_a_plain_socket(tab: Tab, demo: Demo) -> None:
    tab.open(f"{demo.url}/counter/")
    tab.wait_for("Number(document.querySelector('#draws').textContent) >= 3")


@pytest.mark.parametrize("role", ["worker", "gateway"])
def test_a_chat_goes_on_when_processes_are_killed(
    firefox: Firefox, start_demo: StartDemo, role: str
) -> None:
    demo = start_demo("--pool", "--workers", "2")
    one, two = firefox.new_tab(), firefox.new_tab()
    for tab in (one, two):
        tab.open(f"{demo.url}/chat/firefox/")
        tab.wait_for("document.querySelector('#link').textContent === 'connected'")
    say(one, "first")
    wait_for_lines(two, "first")
    demo.kill(role)
    # What is said meanwhile waits in the page.
    say(one, "second")
    say(two, "third")
    for tab in (one, two):
        tab.wait_for(
            "document.querySelector('#messages').textContent.match(/second|third/g)?.length === 2"
        )
    say(two, "last")
    wait_for_last = "document.querySelector('#messages li:last-child span').textContent === 'last'"
    for tab in (one, two):
        tab.wait_for(wait_for_last)
        assert tab.evaluate("document.querySelectorAll('#messages li').length") == 4
