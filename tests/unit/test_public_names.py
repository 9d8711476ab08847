"""The documented names exist, and the package costs nothing to import."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module

import pytest

import django_ws


@pytest.mark.parametrize("name", django_ws.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(django_ws, name) is not None
    assert name in dir(django_ws)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'publsh'"):
        django_ws.publsh  # noqa: B018


@pytest.mark.parametrize(
    "module",
    [
        "base",
        "checks",
        "conf",
        "conf_kinds",
        "conf_table",
        "deferral",
        "exceptions",
        "live",
        "options",
        "signals",
        "outlet",
        "publications",
        "publisher",
        "publisher_link",
        "publishing",
        "testing",
        "testing.client",
        "testing.commits",
        "testing.connection",
        "testing.databases",
        "testing.gateway",
        "testing.halves",
        "testing.handshakes",
        "testing.inbox",
        "testing.live",
        "testing.place",
        "testing.publications",
        "testing.pytest",
        "testing.server",
        "testing.session",
        "wire.codec",
        "wire.messages",
        "worker.hygiene",
        "worker.request",
    ],
)
def test_all_lists_what_exists(module: str) -> None:
    loaded = import_module(f"django_ws.{module}")
    assert loaded.__all__
    for name in loaded.__all__:
        assert hasattr(loaded, name)


def test_importing_the_package_does_not_load_django() -> None:
    program = (
        "import sys, django_ws, django_ws.options, django_ws.wire.codec\n"
        "sys.exit(any(name.partition('.')[0] == 'django' for name in sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], check=False, env=environment)
    assert done.returncode == 0
