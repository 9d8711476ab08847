"""A list of a model that changes while somebody edits it in the admin."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from .conftest import NewPage
from .demo import Demo
from .people import TIMEOUT, log_in, open_page

PATHS = ("/orders/", "/orders/htmx/")


def lines(page: Page) -> list[str]:
    return [re.sub(r"\s+", " ", line) for line in page.locator("#orders li").all_inner_texts()]


def edit(admin: Page, demo: Demo, label: str) -> None:
    admin.goto(f"{demo.url}/admin/orders/order/")
    admin.get_by_role("link", name=label).click()


@pytest.mark.parametrize("demo", ["pool", "multiprocess"], indirect=True)
def test_both_lists_follow_the_admin(new_page: NewPage, demo: Demo) -> None:
    admin = new_page()
    log_in(admin, demo.url, "ann")
    pages = [open_page(new_page(), demo.url + path) for path in PATHS]
    before = lines(pages[0])
    assert len(before) >= 4
    assert lines(pages[1]) == before

    admin.goto(f"{demo.url}/admin/orders/order/add/")
    admin.fill("#id_table", "12")
    admin.fill("#id_dish", "Gnocchi <3")
    admin.click("[name=_save]")
    name = "Table 12: Gnocchi <3"
    for page in pages:
        expect(page.locator("#orders li").last).to_have_text(f"{name} ordered", timeout=TIMEOUT)

    edit(admin, demo, name)
    admin.select_option("#id_status", "ready")
    admin.click("[name=_save]")
    for page in pages:
        item = page.locator("#orders li").last
        expect(item).to_have_text(f"{name} ready", timeout=TIMEOUT)
        expect(item).to_have_attribute("data-status", "ready")
        assert page.locator("#orders li").count() == len(before) + 1

    edit(admin, demo, name)
    admin.get_by_role("link", name="Delete").click()
    admin.get_by_role("button", name="Yes").click()
    for page in pages:
        expect(page.locator("#orders li")).to_have_count(len(before), timeout=TIMEOUT)
        assert lines(page) == before


@pytest.mark.parametrize("demo", ["pool"], indirect=True)
def test_several_changed_at_once_all_arrive(new_page: NewPage, demo: Demo) -> None:
    admin = new_page()
    log_in(admin, demo.url, "ann")
    pages = [open_page(new_page(), demo.url + path) for path in PATHS]
    admin.goto(f"{demo.url}/admin/orders/order/")
    for select in admin.locator("select[name$=status]").all():
        select.select_option("ready")
    admin.click("[name=_save]")
    for page in pages:
        expect(page.locator("#orders li:not([data-status=ready])")).to_have_count(
            0, timeout=TIMEOUT
        )


@pytest.mark.parametrize("demo", ["pool"], indirect=True)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("code", [1001, 1012])
def test_a_lost_connection_comes_back_with_a_new_page(
    page: Page, demo: Demo, path: str, code: int
) -> None:
    sockets: list[WebSocketRoute] = []

    def pass_on(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    page.route_web_socket(re.compile("/ws/orders/"), pass_on)
    open_page(page, demo.url + path)
    page.evaluate("window.old = true")
    sockets[0].close(code=code)
    page.wait_for_function("!window.old")
    expect(page.locator("#link")).to_have_text("connected", timeout=TIMEOUT)
    assert len(sockets) >= 2
