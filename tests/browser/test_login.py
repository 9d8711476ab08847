"""A room for those who are logged in."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from .conftest import NewPage
from .demo import Demo
from .people import TIMEOUT, log_in, open_page

pytestmark = pytest.mark.parametrize("demo", ["pool"], indirect=True)


def expect_refused(page: Page) -> None:
    expect(page.locator("#refused")).to_contain_text("logged in", timeout=TIMEOUT)
    expect(page.locator("#link")).to_have_text("closed")
    expect(page.locator("#say")).to_be_hidden()
    assert page.locator("#messages li").count() == 0


def test_strangers_are_told_why_they_stay_outside(new_page: NewPage, demo: Demo) -> None:
    ann, stranger = new_page(), new_page()
    log_in(ann, demo.url, "ann")
    open_page(ann, f"{demo.url}/members/")
    ann.fill("#text", "among us")
    ann.click("#say button")
    expect(ann.locator("#messages li").last).to_have_text("ann among us", timeout=TIMEOUT)
    stranger.goto(f"{demo.url}/members/")
    expect_refused(stranger)
    assert "among us" not in stranger.content()
    # There is no way in by the rooms that are open, either.
    open_page(stranger, f"{demo.url}/chat/members/")
    assert "among us" not in stranger.content()


def test_the_link_leads_back_into_the_room(page: Page, demo: Demo) -> None:
    page.goto(f"{demo.url}/members/")
    page.click("#refused a")
    page.fill("#id_username", "bob")
    page.fill("#id_password", "demo")
    page.click(".fields button")
    expect(page).to_have_url(f"{demo.url}/members/")
    expect(page.locator("#link")).to_have_text("connected", timeout=TIMEOUT)
    expect(page.locator("#people li")).to_have_text(["bob"], timeout=TIMEOUT)


def test_who_logs_out_in_one_tab_is_out_in_all(new_page: NewPage, demo: Demo) -> None:
    ann, bob = new_page(), new_page()
    log_in(ann, demo.url, "ann")
    log_in(bob, demo.url, "bob")
    first, second = (
        open_page(page, f"{demo.url}/members/") for page in (bob, bob.context.new_page())
    )
    open_room = open_page(bob.context.new_page(), f"{demo.url}/chat/open/")
    expect(open_room.locator("#people li")).to_have_text(["bob"], timeout=TIMEOUT)
    open_page(ann, f"{demo.url}/members/")
    first.goto(f"{demo.url}/counter/")
    first.click("#logout")
    expect_refused(second)
    # An open room goes on with a guest.
    expect(open_room.locator("#people li")).to_have_text([re.compile("Guest")], timeout=TIMEOUT)
    expect(open_room.locator("#link")).to_have_text("connected", timeout=TIMEOUT)
    # Another user's stays.
    expect(ann.locator("#people li")).to_have_text(["ann"], timeout=TIMEOUT)
    expect(ann.locator("#link")).to_have_text("connected")
