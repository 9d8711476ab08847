"""What a visitor sees, in every mode."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from .conftest import NewPage, StartDemo
from .demo import Demo

TIMEOUT = 20_000  # milliseconds

PATHS = (
    "/",
    "/counter/",
    "/echo/",
    "/visitors/",
    "/chat/",
    "/chat/lobby/",
    "/members/",
    "/orders/",
    "/orders/htmx/",
    "/socketio/",
)


def expect_count(page: Page, count: int) -> None:
    expect(page.locator("#count")).to_have_text(str(count), timeout=TIMEOUT)


def test_twenty_block_together_and_the_echo_does_not_stutter(page: Page, demo: Demo) -> None:
    page.goto(demo.url)
    page.wait_for_selector("#block-total[data-seconds]")
    seconds = page.eval_on_selector_all(".bar", "bars => bars.map(bar => bar.dataset.seconds)")
    assert len(seconds) == 20
    assert min(map(float, seconds)) >= 0.95
    assert max(map(float, seconds)) <= 2.5
    assert float(page.get_attribute("#echo-worst", "data-ms") or "inf") < 400
    expect(page.locator("#link")).to_have_text("connected")


def test_counter_draws_numbers(page: Page, demo: Demo) -> None:
    page.goto(f"{demo.url}/counter/")
    expect(page.locator("#draws")).to_have_text(re.compile(r"^([3-9]|\d\d)$"), timeout=TIMEOUT)
    assert 1 <= int(page.inner_text("#number")) <= 100


def test_echo_returns_text_and_bytes_in_order(page: Page, demo: Demo) -> None:
    page.goto(f"{demo.url}/echo/")
    expect(page.locator("#link")).to_have_text("connected", timeout=TIMEOUT)
    received = page.locator("#log .received span")
    page.fill("#message", "Grüße, Django")
    page.click("#echo-form button")
    expect(received).to_have_text(["Grüße, Django"])
    page.fill("#message", "")
    page.click("#echo-form button")
    expect(received).to_have_text(["Grüße, Django", "(empty)"])
    page.fill("#message", "WS")
    page.check("[name=binary]")
    page.click("#echo-form button")
    expect(received).to_have_text(["Grüße, Django", "(empty)", "57 53"])
    page.click("#many")
    expect(page.locator("#many-said")).to_contain_text("all in order", timeout=TIMEOUT)


def test_visitors_are_counted_in_every_tab(new_page: NewPage, demo: Demo) -> None:
    tabs = [new_page() for _ in range(3)]
    for tab in tabs:
        tab.goto(f"{demo.url}/visitors/")
    for tab in tabs:
        expect_count(tab, 3)
    tabs.pop().close()
    for tab in tabs:
        expect_count(tab, 2)
    tabs[0].goto(f"{demo.url}/counter/")
    expect_count(tabs[1], 1)


@pytest.mark.parametrize("demo", ["pool"], indirect=True)
def test_the_front_page_links_all_others(page: Page, demo: Demo) -> None:
    page.goto(demo.url)
    links = page.eval_on_selector_all(".more a", "links => links.map(link => link.pathname)")
    assert {*PATHS, "/admin/"} - {"/", "/chat/lobby/"} == set(links)


def test_more_visitors_than_the_pool_has_threads(page: Page, start_demo: StartDemo) -> None:
    demo = start_demo("--pool", "4", "--noreload")
    page.goto(f"{demo.url}/visitors/")
    expect_count(page, 1)
    page.click("#more")
    page.click("#more")
    expect_count(page, 21)
    page.click("#fewer")
    expect_count(page, 1)


@pytest.mark.parametrize("demo", ["pool"], indirect=True)
@pytest.mark.parametrize("path", PATHS)
def test_dark_is_dark_and_light_is_light(new_page: NewPage, demo: Demo, path: str) -> None:
    def brightness(scheme: str) -> list[float]:
        page = new_page(color_scheme=scheme)
        page.goto(demo.url + path)
        script = """selector => {
            const style = getComputedStyle(document.querySelector(selector));
            const color = selector === "h1" ? style.color : style.backgroundColor;
            return color.match(/\\d+/g).slice(0, 3).reduce((sum, each) => sum + Number(each), 0);
        }"""
        return [page.evaluate(script, selector) / 765 for selector in ("body", ".card", "h1")]

    page_, card, text = brightness("light")
    assert min(page_, card) > 0.9
    assert text < 0.2
    page_, card, text = brightness("dark")
    assert max(page_, card) < 0.2
    assert text > 0.8


@pytest.mark.parametrize("demo", ["pool"], indirect=True)
def test_a_narrow_window_does_not_scroll_sideways(new_page: NewPage, demo: Demo) -> None:
    page = new_page(viewport={"width": 360, "height": 700})
    for path in (*PATHS, "/login/"):
        page.goto(demo.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
