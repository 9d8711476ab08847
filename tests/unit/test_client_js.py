"""client.js: its own tests in Node, its types, and that what is shipped was made from it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.missing import missing

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "src" / "django_ws" / "static" / "django_ws"
TOOLS = ROOT / "tests" / "node" / "node_modules" / ".bin"


def run(*command: str | Path, **env: str) -> None:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=50, env={**os.environ, **env}
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["client.js", "client.min.js"])
def test_in_node(name: str) -> None:
    if not shutil.which("node"):
        missing("node is not installed")
    run("node", "--test", "tests/node/client.test.mjs", CLIENT=(STATIC / name).as_uri())


def test_hashes_and_size() -> None:
    for name, integrity in json.loads((STATIC / "integrity.json").read_text()).items():
        digest = hashlib.sha384((STATIC / name).read_bytes()).digest()
        assert integrity == "sha384-" + base64.b64encode(digest).decode(), name
    assert len(gzip.compress((STATIC / "client.min.js").read_bytes())) <= 6 * 1024


def test_what_is_shipped_is_current(tmp_path: Path) -> None:
    if not (TOOLS / "esbuild").exists():
        missing("esbuild is not installed; scripts/build-client does it")
    run("scripts/build-client", tmp_path)
    for name in ("client.min.js", "integrity.json"):
        assert (tmp_path / name).read_bytes() == (STATIC / name).read_bytes(), name


def test_types() -> None:
    if not (TOOLS / "tsc").exists():
        missing("typescript is not installed; scripts/build-client does it")
    options = ["--noEmit", "--strict", "--target", "es2022", "--module", "esnext"]
    run(TOOLS / "tsc", *options, "--lib", "es2022,dom", "tests/node/use.ts")


@pytest.mark.parametrize("heading", ["React", "Vue", "HTMX"])
def test_examples_of_the_docs_have_the_right_types(heading: str) -> None:
    if not (TOOLS / "tsc").exists():
        missing("typescript is not installed; scripts/build-client does it")
    page = (ROOT / "docs" / "browser.md").read_text().partition(f"## {heading}\n")[2]
    block = r"```(?:js|django)\n(?:<script[^>]*>)?(.*?)(?:</script>\n)?```"
    found = re.search(block, page, re.DOTALL)
    assert found is not None
    client = STATIC / "client.js"
    options = ["--noEmit", "--allowJs", "--checkJs", "--strict", "false"]
    options += ["--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"]
    # Below tests/node, where the types of others are found.
    with tempfile.TemporaryDirectory(dir=TOOLS.parents[1], prefix=".docs-") as directory:
        example = Path(directory) / "example.js"
        text = re.sub(r"\"(django-ws|{% ws_client_url %})\"", f'"{client}"', found[1])
        example.write_text(text)
        globals_ = Path(directory) / "globals.d.ts"
        globals_.write_text("declare const htmx: { createWebSocket: (url: string) => WebSocket };")
        run(TOOLS / "tsc", *options, "--skipLibCheck", "--lib", "es2022,dom", example, globals_)
