"""The demo's users in a browser, and what they do in its admin."""

from __future__ import annotations

from playwright.sync_api import Page, expect

TIMEOUT = 20_000  # milliseconds


def log_in(page: Page, url: str, name: str) -> None:
    """Log in as one of the demo's users.

    Args:
        url: of the demo.
        name: ``ann``, who may use the admin, or ``bob``.
    """
    page.goto(f"{url}/login/?next=/counter/")
    page.fill("#id_username", name)
    page.fill("#id_password", "demo")
    page.click(".fields button")
    expect(page.locator(".user span")).to_have_text(name)


def open_page(page: Page, url: str) -> Page:
    """Open a page and see that its sockets are connected."""
    page.goto(url)
    expect(page.locator("#link")).to_have_text("connected", timeout=TIMEOUT)
    return page
