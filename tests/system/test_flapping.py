"""Pages whose network comes and goes miss nothing."""

from __future__ import annotations

import asyncio

import pytest

from .flapping import flap
from .server import Project, Server

pytestmark = pytest.mark.system

GROUPS = {"flapping": {"history_size": 10_000, "history_ttl": 300}}


@pytest.mark.parametrize("history", [True, False], ids=["history", "no-history"])
def test_every_page_has_everything_once_and_in_order(tmp_path, history):
    project = Project(tmp_path, DJANGO_WS={"GROUPS": GROUPS if history else {}})
    try:
        server = Server(project, "--pool", "--workers=2")
        outcome = asyncio.run(flap(server, pages=50, rate=50, seconds=4))
        server.stop()
    finally:
        project.remove()
    assert outcome.kept, outcome
    assert outcome.whole == outcome.pages, outcome
    assert outcome.cuts >= outcome.pages
