"""Servers that many tests share: each start takes a second."""

from __future__ import annotations

import pytest

from .server import LINKS, MODES, Project, Server


def _serve(tmp_path_factory, mode, link):
    project = Project(
        tmp_path_factory.mktemp(mode),
        link,
        DJANGO_WS={"SEND_TIMEOUT": 1, "ALLOWED_ORIGINS": ["https://other.example"]},
    )
    try:
        server = Server(project, f"--{mode}")
        yield server
        server.stop()
    finally:
        project.remove()


@pytest.fixture(
    scope="session",
    params=[(mode, link) for mode in MODES for link in LINKS],
    ids=lambda variant: "-".join(variant),
)
def server(request, tmp_path_factory):
    """A server in each mode over each link; it has to stop in good order, too."""
    yield from _serve(tmp_path_factory, *request.param)


@pytest.fixture
def project(tmp_path):
    """A project that is not served yet."""
    project = Project(tmp_path)
    yield project
    project.remove()
