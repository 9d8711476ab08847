"""Pages whose network comes and goes miss nothing."""

from __future__ import annotations

import asyncio
import json

import pytest

from .flapping import flap
from .server import Project, Server

pytestmark = [pytest.mark.system, pytest.mark.load]

GROUPS = {"flapping": {"history_size": 10_000, "history_ttl": 300}}


@pytest.mark.parametrize("history", [True, False], ids=["history", "no-history"])
def test_every_page_has_everything_once_and_in_order(tmp_path, history):
    project = Project(tmp_path)
    own = {"GROUPS": GROUPS if history else {}, "SUB_SOCKET": project.flags[3]}
    (project.directory / "local.json").write_text(json.dumps({"DJANGO_WS": own}))
    try:
        server = Server(project, "--pool", "--workers=2")
        outcome = asyncio.run(flap(server, pages=50, rate=50, seconds=4, up=1, down=0.5))
        server.stop()
    finally:
        project.remove()
    assert outcome.kept, outcome
    assert outcome.whole == outcome.pages, outcome
    assert outcome.cuts >= outcome.pages
