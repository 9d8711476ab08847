"""The plugin of pytest, in small projects of their own, each with a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytest_plugins = ["pytester"]
# Each starts Python and Django anew, which on a busy machine takes long.
pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

SETTINGS = """
SECRET_KEY = "tests"
USE_TZ = True
ROOT_URLCONF = "site_urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django_ws",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_WS_HANDLERS = {
    "default": "site_handlers.Room",
    "room": {"handler": "site_handlers.Room", "url": "ws/<slug:room>/"},
}
DJANGO_WS = {"GROUPS": {"*": {"history_size": 10, "presence": True}}}
"""

URLS = """
from django.http import HttpResponse
from django.urls import path
from django_ws import publish


def say(request):
    publish("lobby", request.GET["message"])
    return HttpResponse("said")


urlpatterns = [path("say/", say)]
"""

HANDLERS = """
from django.contrib.auth.models import Group
from django_ws import WebSocketHandler


class Room(WebSocketHandler):
    def on_connect(self):
        self.join(self.kwargs.get("room", "lobby"))

    def on_message(self, message):
        Group.objects.create(name=message)
        self.publish("lobby", f"{Group.objects.count()} groups")

    def on_close(self):
        Group.objects.all().delete()
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project whose tests are still to be written."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    pytester.makepyfile(site_settings=SETTINGS, site_urls=URLS, site_handlers=HANDLERS)
    pytester.makeini("[pytest]\nDJANGO_SETTINGS_MODULE = site_settings\npythonpath = .\n")
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run the project's tests, with the plugin also where it was installed without one."""
    known = [each.value for each in entry_points(group="pytest11", name="django_ws")]
    plugin = [] if known else ["-p", "django_ws.testing.pytest"]
    options = ["-p", "no:cacheprovider", "-W", "error"]
    return project.runpytest_subprocess(*options, *plugin, *arguments, timeout=150)


def test_the_entry_point_is_declared() -> None:
    declared = '[project.entry-points.pytest11]\ndjango_ws = "django_ws.testing.pytest"\n'
    assert declared in (ROOT / "pyproject.toml").read_text()


def test_ws_client_and_publications_in_the_transaction_of_a_test(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        """
        import pytest
        from django.contrib.auth.models import Group
        from django_ws import history, publish
        from django_ws.testing import WebSocketClient

        @pytest.mark.parametrize("turn", [1, 2])
        def test_two_clients(ws_client, client, db, turn):
            other = WebSocketClient()
            assert other.connect("/socket/")
            assert ws_client.connect("/ws/lobby/")
            ws_client.send("a")
            assert ws_client.receive() == other.receive() == "1 groups"
            assert client.get("/say/?message=hello").content == b"said"
            assert other.receive() == "hello"
            assert Group.objects.count() == 1
            assert len(history("lobby").publications) == 2

        def test_publications(publications, client, db, django_capture_on_commit_callbacks):
            client.get("/say/?message=one")
            with django_capture_on_commit_callbacks(execute=True):
                publish("lobby", "two")
            assert [each.data for each in publications] == ["one", "two"]

        @pytest.mark.django_db
        def test_nothing_is_left(ws_client):
            assert not Group.objects.exists()
            assert history("lobby").publications == []
            with pytest.raises(AssertionError, match="sent nothing"):
                ws_client.connect("default")
                ws_client.receive()

        def test_failures_do_not_leak(ws_client, request):
            publish("lobby", "kept")
            request.config.kept = ws_client  # as a traceback does

        def test_after_it(ws_client):
            assert history("lobby").publications == []
        """
    )
    run(project).assert_outcomes(passed=6)


def test_under_xdist(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_client(ws_client, publications, client, db, number):
            assert ws_client.connect()
            client.get(f"/say/?message={number}")
            assert ws_client.receive() == str(number)
            assert len(publications) == 1
        """
    )
    run(project, "-n", "2").assert_outcomes(passed=4)


def test_ws_live_server(project: pytest.Pytester) -> None:
    """With a database that each thread opens for itself."""
    with (project.path / "site_settings.py").open("a") as settings:
        settings.write('\nDATABASES["default"]["TEST"] = {"NAME": "test.sqlite3"}\n')
    project.makepyfile(
        """
        import contextlib, os
        from urllib.request import urlopen
        import psutil
        from django.contrib.auth.models import Group
        from websockets.sync.client import connect

        def test_pages_and_sockets(ws_live_server):
            url = ws_live_server.websocket_url("room", room="lobby")
            with connect(url, origin=ws_live_server.url) as socket:
                with urlopen(ws_live_server + "/say/?message=hello") as answer:
                    assert answer.read() == b"said"
                assert socket.recv(5) == "hello"
                socket.send("a")
                assert socket.recv(5) == "1 groups"
                assert Group.objects.get().name == "a"

        def test_it_dies(ws_live_server):
            (gateway,) = psutil.Process().children()
            gateway.kill()
            with contextlib.suppress(ChildProcessError):  # the server has noticed it already
                os.waitid(os.P_PID, gateway.pid, os.WEXITED | os.WNOWAIT)
        """
    )
    result = run(project)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines("*the gateway was killed by SIGKILL*")


def test_a_project_without_django(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing_is_loaded():
            assert "django_ws.testing.pytest" in sys.modules
            assert not [name for name in sys.modules if name.partition(".")[0] == "django"]
        """
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    known = list(entry_points(group="pytest11", name="django_ws"))
    plugin = [] if known else ["-p", "django_ws.testing.pytest"]
    command = [sys.executable, "-m", "pytest", "-p", "no:django", "-p", "no:xdist", *plugin]
    done = subprocess.run(
        command, cwd=pytester.path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_clients_without_pytest_django(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\npythonpath = .\n")
    project.makeconftest(
        """
        import os, django
        os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"
        django.setup()
        """
    )
    project.makepyfile(
        """
        from django_ws import WebSocketHandler
        from django_ws.testing import WebSocketClient

        class Echo(WebSocketHandler):
            def on_message(self, message):
                self.send(message)

        def test_publications(publications, client=None):
            from django_ws import publish
            publish("x", 1)
            assert len(publications) == 1

        def test_client(ws_client):
            client = WebSocketClient(Echo)
            client.connect()
            client.send("x")
            assert client.receive() == "x"
        """
    )
    run(project, "-p", "no:django").assert_outcomes(passed=2)
