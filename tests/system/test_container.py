"""The example's Dockerfile: what it says is sound, and what it runs works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.missing import missing
from tests.ports import free_port

from .clients import Client
from .server import Command, Project, until

pytestmark = pytest.mark.system

DIRECTORY = Path(__file__).parents[2] / "examples" / "container"

#: https://docs.docker.com/reference/dockerfile, without what has no place in such an image.
KNOWN = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """Name and arguments of each; comments are left out, continued lines joined."""
    text = (DIRECTORY / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\\\n\s*", "", text)
    found = []
    for line in filter(None, text.splitlines()):
        name, _, arguments = line.partition(" ")
        found.append((name, arguments.strip()))
    return found


def of(name: str) -> list[str]:
    return [arguments for each, arguments in instructions() if each == name]


def command(arguments: str) -> list[str]:
    """The words of a ``CMD``."""
    words = json.loads(arguments[arguments.index("[") :])
    assert all(isinstance(word, str) for word in words)
    return list(words)


def test_a_linter_finds_nothing():
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if linter is None:
        missing("there is no hadolint for this platform")
    found = subprocess.run(
        [linter, str(DIRECTORY / "Dockerfile")], capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_what_no_linter_knows():
    names = [name for name, _ in instructions()]
    assert set(names) <= KNOWN
    for single in ("FROM", "HEALTHCHECK", "CMD", "USER", "WORKDIR"):
        assert names.count(single) == 1, single
    # By number, so that orchestrators can see that it is not root.
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", of("USER")[0])
    # The supervisor itself gets the signals.
    assert command(of("CMD")[0])[0] == "python"
    assert not any(secret in " ".join(of("ENV")) for secret in ("SECRET", "PASSWORD", "TOKEN"))
    port = of("EXPOSE")[0]
    assert f":{port}" in of("CMD")[0]
    assert f":{port}/-/ready" in of("HEALTHCHECK")[0]


def test_the_documentation_shows_the_same_file():
    _, text = (DIRECTORY / "Dockerfile").read_text().split("FROM", 1)
    page = DIRECTORY.parents[1] / "docs" / "deployment.md"
    assert f"```dockerfile\nFROM{text}```" in page.read_text()


def test_every_command_of_the_image_works(tmp_path, monkeypatch):
    port = str(free_port())
    project = Project(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(project.endpoints))
    project.endpoints.chmod(0o700)
    shutil.copy(DIRECTORY / "requirements.txt", project.directory)
    environment = {
        **os.environ,
        **dict(pair.split("=", 1) for pair in of("ENV")),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "DJANGO_SETTINGS_MODULE": "settings",
    }

    def run(words: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=project.directory, env=environment, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip

    for copy in of("COPY"):
        for source in copy.split()[:-1]:
            assert (project.directory / source).exists(), source
    for each in of("RUN"):
        done = run(["/bin/sh", "-c", each])
        assert done.returncode == 0, done.stdout + done.stderr
    healthcheck = command(of("HEALTHCHECK")[0].replace(of("EXPOSE")[0], port))
    assert run(healthcheck).returncode != 0
    python, manage, *arguments = command(of("CMD")[0].replace(of("EXPOSE")[0], port))
    assert (python, manage) == ("python", "manage.py")
    try:
        served = Command(project, *arguments)
        until(lambda: run(healthcheck).returncode == 0, 20, served.output)
        served.url = f"ws://127.0.0.1:{port}/socket/"
        with Client(served) as client:
            assert client.ask("hello") == "hello"
        served.stop()
        assert run(healthcheck).returncode != 0
    finally:
        project.remove()
