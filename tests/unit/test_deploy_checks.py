"""``manage.py check --deploy``: every insecure setting of ours."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import call_command

from django_ws.deploy_checks import check_deployment


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, settings: LazySettings) -> None:
    tmp_path.chmod(0o700)
    settings.DEFAULT_WS_HANDLERS = {"default": "tests.handlers.Echo"}


def found(settings: LazySettings, tmp_path: Path, **ours: Any) -> list[str]:
    settings.DJANGO_WS = {
        "ADDRESS": "127.0.0.1:8888",
        "PUSH_SOCKET": f"ipc://{tmp_path}/push",
        "SUB_SOCKET": f"ipc://{tmp_path}/sub",
        **ours,
    }
    return [str(each.id) for each in check_deployment()]


@pytest.mark.parametrize(
    ("ours", "ids"),
    [
        ({}, []),
        ({"ALLOWED_ORIGINS": ["*"]}, ["W020"]),
        ({"ALLOWED_ORIGINS": ["http://www.example.com"]}, ["W021"]),
        ({"ALLOWED_ORIGINS": ["https://www.example.com", "http://localhost:3000"]}, []),
        ({"ALLOW_MISSING_ORIGIN": True}, ["W022"]),
        ({"ADDRESS": "0.0.0.0:8888"}, ["W023"]),
        ({"ADDRESS": "[::]:8888"}, ["W023"]),
        ({"ADDRESS": "[::1]:8888"}, []),
        ({"PUBLIC_URL": "ws://ws.example.com"}, ["W024"]),
        ({"PUBLIC_URL": "wss://ws.example.com"}, []),
        ({"PUBLIC_URL": "ws://localhost:8888"}, []),
        ({"MESSAGE_RATE": None, "MAX_PENDING": 0}, ["W025"]),
        ({"MAX_CONNECTIONS_PER_USER": 0}, []),
        # As docs/deployment.md has it behind a web server.
        ({"MAX_CONNECTIONS_PER_IP": 0}, []),
        ({"ADDRESS": "0.0.0.0:8888", "MAX_CONNECTIONS_PER_IP": 0}, ["W023", "W025"]),
        ({"SUB_SOCKET": "tcp://127.0.0.1:5000"}, ["W026"]),
        ({"PUSH_SOCKET": "ipc:///tmp/ws_push"}, ["W027"]),
        ({"ENGINE": "redis://127.0.0.1:6379/0"}, []),
        ({"ENGINE": "unix:///run/valkey.sock"}, []),
        ({"ENGINE": "redis://:secret@10.0.0.1"}, ["W028"]),
        ({"ENGINE": "rediss://10.0.0.1"}, ["W028"]),
        ({"ENGINE": "rediss://:secret@10.0.0.1"}, []),
        ({"ENGINE": "rediss://:secret@10.0.0.1?ssl_cert_reqs=none"}, ["W028"]),
        ({"MESSAGE_RATE": "many"}, []),  # an error, but of other checks
    ],
    ids=str,
)
def test_what_is_insecure(
    settings: LazySettings, tmp_path: Path, ours: dict[str, Any], ids: list[str]
) -> None:
    assert found(settings, tmp_path, **ours) == [f"django_ws.{each}" for each in ids]


def test_a_directory_for_everybody(settings: LazySettings, tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    assert found(settings, tmp_path) == ["django_ws.W027"]


def test_every_setting_that_limits_a_client_is_known(
    settings: LazySettings, tmp_path: Path
) -> None:
    found(settings, tmp_path, MESSAGE_RATE=None, MAX_PENDING=0)
    (problem,) = check_deployment()
    assert "MAX_PENDING, MESSAGE_RATE" in problem.msg


def test_the_command_shows_them_only_when_asked(settings: LazySettings, tmp_path: Path) -> None:
    found(settings, tmp_path, ALLOWED_ORIGINS=["*"])
    for flags, shown in (([], False), (["--deploy"], True)):
        out = StringIO()
        call_command("check", "--tag", "django_ws", *flags, stderr=out, stdout=out)
        assert ("django_ws.W020" in out.getvalue()) is shown
