"""Django is replaced, killed and edited under a page that stays connected."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from .conftest import StartDemo
from .demo import Demo

TIMEOUT = 20_000  # milliseconds


@pytest.fixture
def demo(start_demo: StartDemo) -> Demo:
    return start_demo("--reload")


def connected_seconds(page: Page, part: str) -> int:
    minutes, seconds = page.inner_text(f"#{part}-time").split(":")
    return int(minutes) * 60 + int(seconds)


@pytest.mark.parametrize("button", ["Restart Django", "Kill the worker"])
def test_another_process_goes_on_and_nothing_is_lost(page: Page, demo: Demo, button: str) -> None:
    page.goto(demo.url)
    # At rest: a killed worker may close connections whose handlers it was running.
    page.wait_for_selector("#block-total[data-seconds]")
    pid = page.inner_text("#break-pid")
    before = connected_seconds(page, "break")
    page.click(f"text={button}")
    expect(page.locator("#break-said")).to_contain_text(f"{pid} is gone", timeout=TIMEOUT)
    answered = int(page.inner_text("#break-answered").replace(",", ""))
    page.wait_for_function(
        "least => Number(document.querySelector('#break-answered').textContent.replace(',', ''))"
        " > least",
        arg=answered + 20,
    )
    assert page.inner_text("#break-lost") == "0"
    assert connected_seconds(page, "break") >= before + 2
    expect(page.locator("#link")).to_have_text("connected")


def test_a_saved_handler_speaks_over_the_same_connection(page: Page, demo: Demo) -> None:
    page.goto(demo.url)
    text = page.locator("#edit-text")
    expect(text).to_have_text("Change this text and save the file.", timeout=TIMEOUT)
    file = demo.directory / "showcase" / "ws_handlers" / "edit.py"
    source = file.read_text()
    file.write_text(re.sub(r'send\(".*"\)', 'send("Changed")', source))
    expect(text).to_have_text("Changed", timeout=TIMEOUT)
    file.write_text(re.sub(r'send\(".*"\)', 'send("Changed again")', source))
    expect(text).to_have_text("Changed again", timeout=TIMEOUT)
    assert page.inner_text("#edit-reconnects") == "0"


def test_strangers_break_nothing(page: Page, demo: Demo) -> None:
    page.goto(demo.url)
    pid = page.locator("#break-pid")
    expect(pid).to_have_text(re.compile(r"\d+"), timeout=TIMEOUT)
    alive = pid.inner_text()
    token = page.input_value("#break-form [name=token]")
    csrf = {"csrfmiddlewaretoken": page.input_value("#break-form [name=csrfmiddlewaretoken]")}

    def status(path: str, **form: str) -> int:
        return page.request.post(demo.url + path, form=form).status

    assert page.request.get(f"{demo.url}/restart/").status == 405
    assert status("/restart/") == 403
    assert status("/kill/", token=token) == 403
    assert status("/kill/", **csrf, token="1") == 403
    expect(pid).to_have_text(alive)
    assert status("/kill/", **csrf, token=token) == 204
    expect(pid).not_to_have_text(alive, timeout=TIMEOUT)
