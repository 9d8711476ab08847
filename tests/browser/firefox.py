"""A Firefox, driven by WebDriver BiDi, which it speaks over a WebSocket of its own.

Debian's Firefox comes without geckodriver, and Playwright drives only its own build of it. Neither
is needed: https://w3c.github.io/webdriver-bidi/ is JSON over a WebSocket.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from websockets.sync.client import ClientConnection, connect

TIMEOUT = 30.0  # seconds, for anything

_REMOTE = ("--remote-debugging-port", "0")
_LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")


class Tab:
    """One tab of a :class:`Firefox`."""

    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox = firefox
        self._context = context

    def open(self, url: str) -> None:
        """Go to a page, and wait until it has loaded."""
        self._firefox.call(
            "browsingContext.navigate", {"context": self._context, "url": url, "wait": "complete"}
        )

    def evaluate(self, script: str) -> object:
        """What an expression comes to, after its promise if it is one; as JSON takes it."""
        found = self._firefox.call(
            "script.evaluate",
            {
                "expression": f"(async () => JSON.stringify(await ({script})))()",
                "target": {"context": self._context},
                "awaitPromise": True,
            },
        )
        if found["type"] == "exception":
            raise AssertionError(json.dumps(found["exceptionDetails"], indent=1))
        result = found["result"]
        assert isinstance(result, dict)
        return json.loads(result["value"]) if result["type"] == "string" else None

    def wait_for(self, script: str) -> object:
        """Wait until an expression is true, and return what it is then."""
        return self.evaluate(
            "new Promise((yes, no) => {"
            f" const until = Date.now() + {TIMEOUT * 500};"
            f" (function look() {{ const found = ({script});"
            "  if (found) yes(found);"
            f"  else if (Date.now() > until) no(new Error({json.dumps('in vain: ' + script)}));"
            "  else setTimeout(look, 20); })(); })"
        )


class Firefox:
    """A running Firefox; see :func:`run_firefox`."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.call("session.new", {"capabilities": {}})

    def new_tab(self) -> Tab:
        """Open an empty tab with cookies that it shares with no other."""
        user = self.call("browser.createUserContext", {})["userContext"]
        context = self.call("browsingContext.create", {"type": "tab", "userContext": user})
        return Tab(self, str(context["context"]))

    def call(self, method: str, params: Mapping[str, object]) -> Mapping[str, object]:
        """Send a command, and wait for its result."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        deadline = time.monotonic() + TIMEOUT
        while True:
            answer = json.loads(self._socket.recv(timeout=deadline - time.monotonic()))
            if answer.get("id") == number:
                break
        assert answer["type"] == "success", answer
        result = answer["result"]
        assert isinstance(result, dict)
        return result


@contextlib.contextmanager
def run_firefox(executable: str) -> Iterator[Firefox]:
    """Start a Firefox with an empty profile, and stop it on the way out."""
    with tempfile.TemporaryDirectory(prefix="ws-firefox-") as home:
        log = Path(home) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [executable, "--headless", "--no-remote", "--profile", home, *_REMOTE],
                env=os.environ | {"HOME": home},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            with connect(_listening(process, log), proxy=None, max_size=None) as socket:
                firefox = Firefox(socket)
                yield firefox
                firefox.call("browser.close", {})
            process.wait(TIMEOUT)
        finally:
            process.kill()
            process.wait()


def _listening(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        if match := _LISTENING.search(log.read_text()):
            return match[1] + "/session"
        time.sleep(0.05)
    raise AssertionError(f"Firefox did not start:\n{log.read_text()}")
