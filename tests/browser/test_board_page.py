"""The page of Socket.IO, with that project's own client."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from .conftest import NewPage
from .demo import EXAMPLES, Demo

TIMEOUT = 20_000  # milliseconds

pytestmark = pytest.mark.parametrize("demo", ["pool", "gevent"], indirect=True)


def open_board(page: Page, demo: Demo) -> None:
    page.goto(f"{demo.url}/socketio/")
    expect(page.locator("#link")).to_have_text("connected", timeout=TIMEOUT)


def test_what_one_says_all_hear(new_page: NewPage, demo: Demo) -> None:
    one, two = new_page(), new_page()
    for page in (one, two):
        open_board(page, demo)
        expect(page.locator("#transport")).to_have_text("websocket", timeout=TIMEOUT)
    one.fill("#text", "Grüße")
    one.click("#say button")
    for page in (one, two):
        expect(page.locator("#log .received span")).to_have_text(["Grüße"], timeout=TIMEOUT)
    expect(one.locator("#log .note span").last).to_have_text("published", timeout=TIMEOUT)


def test_bytes_by_either_transport(page: Page, demo: Demo) -> None:
    open_board(page, demo)
    for name, number in (("websocket", 1), ("polling", 2)):
        expect(page.locator("#transport")).to_have_text(name, timeout=TIMEOUT)
        page.click("#reverse")
        received = page.locator("#log .received span")
        expect(received).to_have_count(number, timeout=TIMEOUT)
        sent = page.locator("#log .sent span").last.inner_text()
        assert received.last.inner_text().split() == sent.split()[::-1]
        if name == "websocket":
            page.check("#polling")
            expect(page.locator("#log .note span")).to_have_text(
                ["connected", "reconnecting", "connected"], timeout=TIMEOUT
            )


def test_the_client_is_vendored_with_its_license(demo: Demo) -> None:
    vendor = EXAMPLES / "showcase" / "static" / "showcase" / "vendor"
    assert b"Released under the MIT License" in (vendor / "socket.io.min.js").read_bytes()[:200]
    assert "MIT License" in (vendor / "socket.io.LICENSE").read_text()
