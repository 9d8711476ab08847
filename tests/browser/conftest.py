"""A Chromium, and the demo in each mode."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.missing import missing

from .demo import Demo, run_demo

ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGE_TIMEOUT = 20_000  # milliseconds

NewPage = Callable[..., Page]
StartDemo = Callable[..., Demo]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where it is."""
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        missing(f"none of {', '.join(names)} is installed")
    return executable


# Not for the session: while Playwright runs, the main thread has a running event loop.
@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def start_demo(browser: Browser) -> Iterator[StartDemo]:
    """Start a demo of the test's own, with the flags that it needs."""
    with ExitStack() as stack:

        def start(*flags: str) -> Demo:
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="ws-demo-"))
            return stack.enter_context(run_demo(Path(home), *flags))

        yield start


@pytest.fixture
def new_page(browser: Browser, start_demo: StartDemo) -> Iterator[NewPage]:
    """Open pages; none may report an error, or ask another host for anything.

    They are closed before the test's own demo stops.
    """
    errors: list[str] = []

    def new_page(**options: object) -> Page:
        page = browser.new_context(**options).new_page()
        page.set_default_timeout(PAGE_TIMEOUT)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        return page

    hosts: set[str | None] = set()
    yield new_page
    for context in browser.contexts:
        context.close()
    assert errors == []
    assert hosts <= {"127.0.0.1"}


@pytest.fixture
def page(new_page: NewPage) -> Page:
    return new_page()


@pytest.fixture(scope="package", params=["pool", "threaded", "gevent", "multiprocess"])
def demo(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Demo]:
    with (
        tempfile.TemporaryDirectory(prefix="ws-demo-") as home,
        run_demo(Path(home), f"--{request.param}", "--noreload") as demo,
    ):
        yield demo
