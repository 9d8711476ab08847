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


@only_pool
def test_a_page_that_was_away_has_missed_nothing(new_page: NewPage, demo: Demo, room: str) -> None:
    ann = new_page()
    log_in(ann, demo.url, "ann")
    away = new_page()
    sockets: list[WebSocketRoute] = []
    hold: list[Route] = []

    def pass_on(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    away.route_web_socket(re.compile("/ws/chat/"), pass_on)
    open_page(ann, room)
    open_page(away, room)
    say(ann, "first")
    expect_said(away, "ann first")
    away.fill("#text", "half a sent")
    # It is away until its request for the page is let through.
    away.route(room, lambda route: hold.append(route))
    with away.expect_request(room):
        sockets[0].close(code=1012)
    delete_message(ann, demo, "ann: first")
    open_page(ann, room)
    say(ann, "second")
    expect_said(ann, "ann second")
    hold[0].continue_()
    expect(away.locator("#link")).to_have_text("connected", timeout=TIMEOUT)
    expect_said(away, "ann second")
    assert away.input_value("#text") == "half a sent"
    say(ann, "third")
    expect_said(away, "ann second", "ann third")


@only_pool
def test_one_line_takes_the_client_that_comes_back_by_itself(
    new_page: NewPage, demo: Demo, room: str
) -> None:
    ann, page = new_page(), new_page()
    log_in(ann, demo.url, "ann")
    script = (demo.directory / "chat/static/chat/chat.js").read_text()
    plain = "new WebSocket(`${url}?${new URLSearchParams(since)}`)"
    assert plain in script
    script = script.replace(plain, "new Socket(url, { since })")
    script = 'import { Socket } from "../django_ws/client.js";\n' + script
    page.route(
        "**/chat.js", lambda route: route.fulfill(body=script, content_type="text/javascript")
    )
    sockets: list[WebSocketRoute] = []

    def pass_on(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    page.route_web_socket(re.compile("/ws/chat/"), pass_on)
    open_page(ann, room)
    open_page(page, room)
    name = page.locator("#room").get_attribute("data-me") or ""
    expect_online(page, name, "ann")
    say(page, "hello")
    expect_said(ann, f"{name} hello")
    ann.locator("#text").press_sequentially("h")
    expect(page.locator("#writing")).to_have_text("ann is writing …", timeout=TIMEOUT)
    page.evaluate("window.old = true")
    sockets[0].close(code=1012)
    say(ann, "meanwhile")
    expect_said(page, f"{name} hello", "ann meanwhile")
    expect(page.locator("#link")).to_have_text("connected")
    assert page.evaluate("window.old")
    assert len(sockets) == 2


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
