"""What a visitor with Firefox sees."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from .demo import Demo
from .firefox import Firefox, Tab, run_firefox


@pytest.fixture(scope="module")
def firefox() -> Iterator[Firefox]:
    names = ("firefox-esr", "firefox")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        reason = f"none of {', '.join(names)} is installed"
        if os.environ.get("DJANGO_WS_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with run_firefox(executable) as firefox:
        yield firefox


@pytest.fixture
def tab(firefox: Firefox) -> Tab:
    return firefox.new_tab()


def test_a_plain_socket(tab: Tab, demo: Demo) -> None:
    tab.open(f"{demo.url}/counter/")
    tab.wait_for("Number(document.querySelector('#draws').textContent) >= 3")
