"""A chat between tabs, in every mode."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from .conftest import NewPage
from .demo import Demo
from .people import TIMEOUT, log_in, open_page

only_pool = pytest.mark.parametrize("demo", ["pool"], indirect=True)


@pytest.fixture
def room(demo: Demo, request: pytest.FixtureRequest) -> str:
    """URL of a room of the test's own."""
    return f"{demo.url}/chat/{re.sub(r'[^a-z-]+', '-', request.node.name)}/"


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.click("#say button")


def expect_said(page: Page, *lines: str) -> None:
    expect(page.locator("#messages li")).to_have_text(lines, timeout=TIMEOUT)


def expect_online(page: Page, *names: str) -> None:
    expect(page.locator("#people li")).to_have_text(names, timeout=TIMEOUT)


def tab_beside(page: Page) -> Page:
    """Another tab of the same browser."""
    tab = page.context.new_page()
    tab.set_default_timeout(TIMEOUT)
    return tab


def test_what_one_says_all_tabs_hear_and_the_database_keeps(
    new_page: NewPage, demo: Demo, room: str
) -> None:
    ann, bob = new_page(), new_page()
    log_in(ann, demo.url, "ann")
    log_in(bob, demo.url, "bob")
    open_page(ann, room)
    open_page(bob, room)
    for number in range(3):
        say(ann, f"<b>{number}</b>")
    say(bob, "Grüße")
    said = [*(f"ann <b>{number}</b>" for number in range(3)), "bob Grüße"]
    expect_said(ann, *said)
    expect_said(bob, *said)
    later = open_page(new_page(), room)
    expect_said(later, *said)


@pytest.mark.parametrize("demo", ["pool", "multiprocess"], indirect=True)
def test_people_are_online_once_whatever_the_number_of_their_tabs(
    new_page: NewPage, demo: Demo, room: str
) -> None:
    ann, bob = new_page(), new_page()
    log_in(ann, demo.url, "ann")
    log_in(bob, demo.url, "bob")
    open_page(ann, room)
    expect_online(ann, "ann")
    first, second = open_page(bob, room), open_page(tab_beside(bob), room)
    for page in (ann, first, second):
        expect_online(page, "ann", "bob")
    guest = open_page(new_page(), room)
    name = guest.locator("#room").get_attribute("data-me") or ""
    for page in (ann, first, second, guest):
        expect_online(page, name, "ann", "bob")
    guest.close()
    second.close()
    for page in (ann, first):
        expect_online(page, "ann", "bob")
    first.close()
    expect_online(ann, "ann")


@only_pool
def test_others_see_who_is_writing_and_it_is_not_kept(
    new_page: NewPage, demo: Demo, room: str
) -> None:
    ann, bob = new_page(), new_page()
    log_in(ann, demo.url, "ann")
    log_in(bob, demo.url, "bob")
    open_page(ann, room)
    open_page(bob, room)
    other = open_page(tab_beside(bob), room)
    bob.locator("#text").press_sequentially("hel")
    expect(ann.locator("#writing")).to_have_text("bob is writing …", timeout=TIMEOUT)
    assert other.inner_text("#writing") == ""
    later = open_page(new_page(), room)
    bob.click("#say button")
    for page in (ann, later, other):
        expect_said(page, "bob hel")
        expect(page.locator("#writing")).to_be_empty()


@only_pool
def test_what_is_said_while_a_page_loads_is_in_it(new_page: NewPage, room: str) -> None:
    first, second = open_page(new_page(), room), new_page()
    name = first.locator("#room").get_attribute("data-me")
    held: list[Route] = []
    second.route("**/chat.js", lambda route: held.append(route))
    with second.expect_request("**/chat.js"):
        second.goto(room, wait_until="commit")
    say(first, "meanwhile")
    expect_said(first, f"{name} meanwhile")
    expect_said(second)
    held[0].continue_()
    expect_said(second, f"{name} meanwhile")


class Lines:
    """The sockets of a page, in between: they can be cut, and their hello changed."""

    def __init__(self, page: Page) -> None:
        self.sockets: list[WebSocketRoute] = []
        self.stranger = False
        page.route_web_socket(re.compile("/ws/chat/"), self._pass_on)

    def _pass_on(self, socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        self.sockets.append(socket)

        def say(message: str | bytes) -> None:
            if self.stranger and isinstance(message, str):
                message = re.sub(r'"token":"[^"]*"', '"token":"unknown"', message)
            server.send(message)

        socket.on_message(say)

    def cut(self) -> None:
        """As a broken network does."""
        self.sockets[-1].close(code=4000)


@only_pool
def test_a_page_that_was_away_has_missed_nothing(new_page: NewPage, demo: Demo, room: str) -> None:
    ann, away = new_page(), new_page()
    lines = Lines(away)
    log_in(ann, demo.url, "ann")
    open_page(ann, room)
    open_page(away, room)
    name = away.locator("#room").get_attribute("data-me") or ""
    say(ann, "first")
    expect_said(away, "ann first")
    away.fill("#text", "half a sent")
    away.evaluate("window.old = true")
    away.context.set_offline(True)
    lines.cut()
    expect(away.locator("#link")).to_have_text("reconnecting")
    delete_message(ann, demo, "ann: first")
    open_page(ann, room)
    say(ann, "second")
    expect_said(ann, "ann second")
    expect_online(ann, name, "ann")  # as nobody has given it up
    say(away, "while away")
    away.context.set_offline(False)
    expect_said(away, "ann second", f"{name} while away")
    expect_said(ann, "ann second", f"{name} while away")
    expect(away.locator("#link")).to_have_text("connected")
    assert away.evaluate("window.old")


@only_pool
def test_a_page_that_was_away_for_too_long_loads_anew(
    new_page: NewPage, demo: Demo, room: str
) -> None:
    ann, away = new_page(), new_page()
    lines = Lines(away)
    log_in(ann, demo.url, "ann")
    open_page(ann, room)
    open_page(away, room)
    say(ann, "first")
    say(ann, "second")
    expect_said(away, "ann first", "ann second")
    lines.stranger = True  # the session that it had is not found
    away.context.set_offline(True)
    lines.cut()
    expect(away.locator("#link")).to_have_text("reconnecting")
    delete_message(ann, demo, "ann: first")
    away.context.set_offline(False)
    expect(away.locator("#link")).to_have_text("connected", timeout=TIMEOUT)
    expect_said(away, "ann second")
    open_page(ann, room)
    say(ann, "third")
    expect_said(away, "ann second", "ann third")


@only_pool
def test_what_the_admin_deletes_is_gone_from_the_page(
    new_page: NewPage, demo: Demo, room: str
) -> None:
    ann = new_page()
    log_in(ann, demo.url, "ann")
    open_page(ann, room)
    say(ann, "good")
    say(ann, "bad")
    expect_said(ann, "ann good", "ann bad")
    delete_message(tab_beside(ann), demo, "ann: bad")
    expect_said(ann, "ann good")


def delete_message(page: Page, demo: Demo, label: str) -> None:
    page.goto(f"{demo.url}/admin/chat/message/")
    page.get_by_role("link", name=label.partition(": ")[2], exact=True).click()
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Yes").click()
    expect(page.locator(".messagelist")).to_contain_text("deleted successfully")


@only_pool
def test_rooms_have_urls_of_their_own(page: Page, demo: Demo) -> None:
    open_page(page, f"{demo.url}/chat/green-room/")
    say(page, "hello")
    expect(page.locator("#messages li")).to_have_count(1)
    page.goto(f"{demo.url}/chat/")
    page.fill("#room", "Blue Room")
    page.click(".line button")
    expect(page).to_have_url(f"{demo.url}/chat/blue-room/")
    expect(page.locator("#link")).to_have_text("connected", timeout=TIMEOUT)
    expect_said(page)
    page.goto(f"{demo.url}/chat/")
    page.click("text=green-room")
    expect(page.locator("#messages li")).to_have_count(1)
